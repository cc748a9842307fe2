"""What `Process` works out equals what the real loader does, for libraries that the compiler makes."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from sgldoctor.probes.loader import DRIVER, Failure, Process
from sgldoctor.system import RealSystem
from tests.binary.libraries import build, needs_compiler, really_load, tag_offset, with_bytes

pytestmark = needs_compiler

VERSIONS = "V1 { global: old; local: *; }; V2 { global: fresh; } V1;"


def process(library_path: str = "") -> Process:
    system = RealSystem()
    return Process(system, system.real_path(sys.executable), library_path)


def told(failure: Failure) -> str:
    """Return how the loader's message begins for a failure."""
    return {
        "library": f"{failure.name}: cannot open shared object file",
        "file": f"{failure.library or failure.needed_by}: ",
        "version": f"{failure.library}: version `{failure.name}' not found (required by {failure.needed_by})",
        "symbol": f"{failure.needed_by}: undefined symbol: {failure.name}",
    }[failure.kind]


def agreed(folder: Path, *loads: Path, library_path: str = "", shared: tuple[Path, ...] = ()) -> list[Failure]:
    """Load one after the other, here and for real; return what stands in the way of the last, once both agree."""
    real = really_load(folder, *loads, library_path=library_path, shared=shared)
    model = process(library_path)
    failures: list[Failure] = []
    for path in loads:
        assert failures == []
        failures = model.load(str(path), for_all=path in shared)
    if real.error is None:
        assert failures == []
        where = model.where()  # the child's own modules bring libraries of the system
        ours = {name: path for name, path in real.where.items() if name in where or path.startswith(str(folder))}
        assert {name: where.get(name) for name in ours} == ours
    else:
        assert failures
        # A library of which only a 32-bit one is there is missing too.
        assert real.error.replace("wrong ELF class", "cannot open shared object file").startswith(told(failures[0]))
    return failures


def symbols(failures: list[Failure]) -> list[tuple[str, str]]:
    return [(Path(failure.needed_by).name, failure.name) for failure in failures if failure.kind == "symbol"]


def two(tmp_path: Path, *flags: str, folder: str = "far") -> tuple[Path, Path]:
    """Return a library and the one that it needs, which lies elsewhere."""
    far = build(tmp_path / folder / "libfar.so.1", "int far(void) { return 1; }", "-soname,libfar.so.1")
    return build(
        tmp_path / "near/libnear.so", "int far(void); int near(void) { return far(); }", *flags, needs=(far,)
    ), far


@pytest.mark.parametrize("kind", ["--disable-new-dtags", "--enable-new-dtags"])
@pytest.mark.parametrize(
    "rpath", ["{}/far", "$ORIGIN/../far", "${{ORIGIN}}/../far/", "/nowhere:{}/far", "$ORIGINAL:{}/far"]
)
def test_a_library_is_found_by_rpath_and_runpath(kind: str, rpath: str, tmp_path: Path) -> None:
    near, far = two(tmp_path, kind, f"-rpath,{rpath.format(tmp_path)}")
    assert agreed(tmp_path, near) == []
    model = process()
    model.load(str(near))
    assert model.where()["libfar.so.1"] == str(far)


def test_a_library_that_no_path_leads_to_is_missing(tmp_path: Path) -> None:
    near, _far = two(tmp_path)
    assert agreed(tmp_path, near) == [Failure("library", "libfar.so.1", str(near))]


def test_nothing_of_a_library_that_does_not_load_stays_in_the_process(tmp_path: Path) -> None:
    near, far = two(tmp_path)
    model = process()
    before = model.where()
    assert model.load(str(near)) != []
    assert model.where() == before
    assert model.load(str(far)) == []
    assert model.load(str(near)) == []
    assert agreed(tmp_path, far, near) == []


@pytest.mark.parametrize(("kind", "folder"), [("--disable-new-dtags", "far"), ("--enable-new-dtags", "variable")])
def test_the_variable_comes_after_rpath_and_before_runpath(kind: str, folder: str, tmp_path: Path) -> None:
    near, far = two(tmp_path, kind, f"-rpath,{tmp_path}/far")
    with_bytes(far, {}, tmp_path / "variable/libfar.so.1")
    assert agreed(tmp_path, near, library_path=f"{tmp_path}/variable") == []
    model = process(f"{tmp_path}/variable")
    model.load(str(near))
    assert model.where()["libfar.so.1"] == f"{tmp_path}/{folder}/libfar.so.1"


@pytest.mark.parametrize("separator", [":", ";"])
def test_the_variable_may_name_the_current_folder_and_the_programs_own(
    separator: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    near, far = two(tmp_path)
    monkeypatch.chdir(far.parent)
    assert agreed(tmp_path, near, library_path=f"/nowhere{separator}") == []
    up = os.path.relpath(far.parent, os.path.dirname(os.path.realpath(sys.executable)))
    monkeypatch.chdir(tmp_path)
    assert agreed(tmp_path, near, library_path=f"/nowhere{separator}$ORIGIN/{up}") == []


@pytest.mark.parametrize(
    ("kind", "missing"),
    [("--disable-new-dtags", []), ("--enable-new-dtags", ["libdeep.so.1"])],
)
def test_rpath_serves_what_is_needed_further_on_and_runpath_does_not(
    kind: str, missing: list[str], tmp_path: Path
) -> None:
    deep = build(tmp_path / "far/libdeep.so.1", "int deep(void) { return 1; }", "-soname,libdeep.so.1")
    far = build(
        tmp_path / "far/libfar.so.1",
        "int deep(void); int far(void) { return deep(); }",
        "-soname,libfar.so.1",
        needs=(deep,),
    )
    near = build(
        tmp_path / "near/libnear.so", "", kind, f"-rpath,{tmp_path}/far", "-rpath-link," + str(far.parent), needs=(far,)
    )
    assert [failure.name for failure in agreed(tmp_path, near)] == missing


def test_a_runpath_shuts_out_the_rpath_of_those_who_asked_for_the_library(tmp_path: Path) -> None:
    deep = build(tmp_path / "far/libdeep.so.1", "", "-soname,libdeep.so.1")
    far = build(
        tmp_path / "far/libfar.so.1", "", "-soname,libfar.so.1", "--enable-new-dtags", "-rpath,/nowhere", needs=(deep,)
    )
    near = build(
        tmp_path / "near/libnear.so",
        "",
        "--disable-new-dtags",
        f"-rpath,{far.parent}",
        f"-rpath-link,{far.parent}",
        needs=(far,),
    )
    assert agreed(tmp_path, near) == [Failure("library", "libdeep.so.1", str(far))]


def test_a_link_before_two_dots_leads_where_the_system_says(tmp_path: Path) -> None:
    near, _far = two(tmp_path, "-rpath,$ORIGIN/link/../far", folder="other/far")
    (tmp_path / "other/inner").mkdir()
    (near.parent / "link").symlink_to(tmp_path / "other/inner")
    real = really_load(tmp_path, near)
    model = process()
    assert (real.error, model.load(str(near))) == (None, [])
    assert os.path.realpath(model.where()["libfar.so.1"]) == f"{tmp_path}/other/far/libfar.so.1"


def test_the_same_soname_in_the_process_serves_whatever_its_file(tmp_path: Path) -> None:
    near, _far = two(tmp_path, f"-rpath,{tmp_path}/far")
    other = build(tmp_path / "other/anything.so", "int far(void) { return 2; }", "-soname,libfar.so.1")
    assert agreed(tmp_path, other, near) == []
    model = process()
    model.load(str(other))
    model.load(str(near))
    assert model.where()["libfar.so.1"] == str(other)


def test_the_same_file_under_two_names_is_one_library(tmp_path: Path) -> None:
    near, far = two(tmp_path, f"-rpath,{tmp_path}/link")
    (tmp_path / "link").mkdir()
    (tmp_path / "link/libfar.so.1").symlink_to(far)
    assert agreed(tmp_path, far, near, tmp_path / "link/libfar.so.1") == []
    assert agreed(tmp_path, near, far) == []


def test_libraries_may_need_each_other(tmp_path: Path) -> None:
    first = build(tmp_path / "libone.so", "int one(void) { return 1; }", "-soname,libone.so")
    second = build(
        tmp_path / "libtwo.so",
        "int one(void); int two(void) { return one(); }",
        "-soname,libtwo.so",
        "-rpath,$ORIGIN",
        needs=(first,),
    )
    build(
        first, "int two(void); int one(void) { return two(); }", "-soname,libone.so", "-rpath,$ORIGIN", needs=(second,)
    )
    assert agreed(tmp_path, first) == []
    assert agreed(tmp_path, second) == []


@pytest.mark.parametrize(
    ("edits", "loads"),
    [
        ({4: b"\x01"}, True),  # 32-bit
        ({18: b"\xb7\x00"}, True),  # another machine
        ({0: b"NOPE"}, False),
        ({5: b"\x02"}, False),  # big-endian
        ({6: b"\x02"}, False),  # ELF version 2
        ({7: b"\x09"}, False),  # for FreeBSD
        ({16: b"\x01\x00"}, False),  # an object file
        ({54: b"\x20\x00"}, False),  # segment headers of another size
    ],
)
def test_the_search_passes_over_other_machines_and_stops_at_other_files(
    edits: dict[int, bytes], loads: bool, tmp_path: Path
) -> None:
    near, far = two(tmp_path)
    wrong = with_bytes(far, edits, tmp_path / "wrong/libfar.so.1")
    failures = agreed(tmp_path, near, library_path=f"{wrong.parent}:{far.parent}")
    assert [failure.library for failure in failures] == ([] if loads else [str(wrong)])
    assert [failure.kind for failure in agreed(tmp_path, wrong)] == ["file"] or loads
    assert [failure.kind for failure in agreed(tmp_path, near, library_path=str(wrong.parent))] == [
        "library" if loads else "file"
    ]


def test_a_text_and_an_empty_file_end_the_search(tmp_path: Path) -> None:
    near, far = two(tmp_path)
    wrong = tmp_path / "wrong/libfar.so.1"
    wrong.parent.mkdir()
    for content in ("", "INPUT(libfar.so.1.0)", "version https://git-lfs.github.com/spec/v1\n" * 9):
        wrong.write_text(content)
        (failure,) = agreed(tmp_path, near, library_path=f"{wrong.parent}:{far.parent}")
        assert (failure.kind, failure.library) == ("file", str(wrong))


def test_a_folder_with_the_name_of_the_library_ends_the_search(tmp_path: Path) -> None:
    near, far = two(tmp_path)
    (tmp_path / "wrong/libfar.so.1").mkdir(parents=True)
    (failure,) = agreed(tmp_path, near, library_path=f"{tmp_path}/wrong:{far.parent}")
    assert failure == Failure("file", "libfar.so.1: it is no file", str(near), f"{tmp_path}/wrong/libfar.so.1")


def test_a_link_to_nothing_is_passed_over(tmp_path: Path) -> None:
    near, far = two(tmp_path)
    (tmp_path / "wrong").mkdir()
    (tmp_path / "wrong/libfar.so.1").symlink_to("nothing")
    assert agreed(tmp_path, near, library_path=f"{tmp_path}/wrong:{far.parent}") == []


@pytest.mark.skipif(os.geteuid() == 0, reason="the administrator may read everything")
def test_a_file_that_may_not_be_read_is_passed_over(tmp_path: Path) -> None:
    near, far = two(tmp_path)
    with_bytes(far, {}, tmp_path / "wrong/libfar.so.1").chmod(0)
    assert agreed(tmp_path, near, library_path=f"{tmp_path}/wrong:{far.parent}") == []


def versioned(tmp_path: Path) -> tuple[Path, Path]:
    script = tmp_path / "versions"
    script.write_text(VERSIONS)
    far = build(
        tmp_path / "far/libfar.so.1",
        "void old(void) {} void fresh(void) {}",
        "-soname,libfar.so.1",
        f"--version-script={script}",
    )
    near = build(
        tmp_path / "libnear.so",
        "void old(void); void fresh(void); void near(void) { old(); fresh(); }",
        "-rpath,$ORIGIN/far",
        needs=(far,),
    )
    return near, far


def test_a_version_that_the_library_does_not_define_is_told(tmp_path: Path) -> None:
    near, far = versioned(tmp_path)
    assert agreed(tmp_path, near) == []
    (tmp_path / "versions").write_text("V1 { global: old; local: *; };")
    build(far, "void old(void) {}", "-soname,libfar.so.1", f"--version-script={tmp_path}/versions")
    assert agreed(tmp_path, near) == [Failure("version", "V2", str(near), str(far))]


def test_a_library_that_defines_no_versions_serves_those_who_ask_for_them(tmp_path: Path) -> None:
    near, far = versioned(tmp_path)
    build(far, "int puts(const char *); void old(void) { puts(0); } void fresh(void) {}", "-soname,libfar.so.1", "-lc")
    assert agreed(tmp_path, near) == []


def test_the_first_missing_version_is_the_first_of_the_file(tmp_path: Path) -> None:
    names = ["Z", "A", "M"]
    script = tmp_path / "versions"
    script.write_text("".join(f"{name} {{ global: f{name}; }};" for name in names))
    far = build(
        tmp_path / "libfar.so.1",
        "".join(f"void f{name}(void) {{}}" for name in names),
        "-soname,libfar.so.1",
        f"--version-script={script}",
    )
    code = (
        "".join(f"void f{name}(void);" for name in names)
        + "void near(void) {"
        + "".join(f"f{name}();" for name in names)
        + "}"
    )
    near = build(tmp_path / "libnear.so", code, "-rpath,$ORIGIN", needs=(far,))
    script.write_text("OTHER { global: f*; };")
    build(
        far, "".join(f"void f{name}(void) {{}}" for name in names), "-soname,libfar.so.1", f"--version-script={script}"
    )
    assert sorted(failure.name for failure in agreed(tmp_path, near)) == ["A", "M", "Z"]


@pytest.mark.parametrize("style", ["gnu", "sysv", "both"])
def test_symbols_that_nothing_exports_are_told_in_the_loaders_order(style: str, tmp_path: Path) -> None:
    # Addresses in data are bound before calls, whatever the order in the list of symbols.
    code = "void b(void); void a(void); void c(void); void *kept = c; void near(void) { b(); a(); }"
    near = build(tmp_path / "libnear.so", code, f"--hash-style={style}")
    assert symbols(agreed(tmp_path, near)) == [("libnear.so", "c"), ("libnear.so", "b"), ("libnear.so", "a")]


def test_a_library_that_exports_nothing_still_asks(tmp_path: Path) -> None:
    near = build(
        tmp_path / "libnear.so",
        "void gone(void); static void f(void) { gone(); } static void *kept __attribute__((used)) = f;",
    )
    assert symbols(agreed(tmp_path, near)) == [("libnear.so", "gone")]


def test_a_weak_symbol_may_lack(tmp_path: Path) -> None:
    code = "void gone(void) __attribute__((weak)); void near(void) { if (gone) gone(); }"
    assert agreed(tmp_path, build(tmp_path / "libnear.so", code)) == []


def test_a_symbol_that_is_never_bound_may_lack(tmp_path: Path) -> None:
    near = build(tmp_path / "libnear.so", "void gone(void); void near(void) { gone(); }")
    assert symbols(agreed(tmp_path, near)) == [("libnear.so", "gone")]
    with_bytes(near, {tag_offset(near, 2): bytes(8)})  # the size of the relocations
    assert RealSystem().undefined(str(near), "") == ["gone"]
    assert agreed(tmp_path, near) == []


@pytest.mark.parametrize("style", ["gnu", "sysv"])
def test_a_symbol_comes_from_what_the_library_needs_and_from_further_on(style: str, tmp_path: Path) -> None:
    deep = build(tmp_path / "libdeep.so", "void deep(void) {}", "-soname,libdeep.so", f"--hash-style={style}")
    far = build(tmp_path / "libfar.so", "void far(void) {}", "-soname,libfar.so", "-rpath,$ORIGIN", needs=(deep,))
    near = build(
        tmp_path / "libnear.so",
        "void far(void); void deep(void); void near(void) { far(); deep(); }",
        "-rpath,$ORIGIN",
        needs=(far,),
    )
    assert agreed(tmp_path, near) == []


def test_a_symbol_comes_from_a_library_loaded_before_only_if_that_was_for_all(tmp_path: Path) -> None:
    far = build(tmp_path / "libfar.so", "void far(void) {}")
    near = build(tmp_path / "libnear.so", "void far(void); void near(void) { far(); }")
    assert symbols(agreed(tmp_path, far, near)) == [("libnear.so", "far")]
    assert agreed(tmp_path, far, near, shared=(far,)) == []


def test_a_library_loaded_again_for_all_serves_all(tmp_path: Path) -> None:
    deep = build(tmp_path / "libdeep.so", "void deep(void) {}", "-soname,libdeep.so")
    far = build(tmp_path / "libfar.so", "void far(void) {}", "-rpath,$ORIGIN", needs=(deep,))
    link = tmp_path / "libagain.so"
    link.symlink_to(far)
    near = build(tmp_path / "libnear.so", "void far(void); void deep(void); void near(void) { far(); deep(); }")
    assert agreed(tmp_path, far, link, near, shared=(link,)) == []


@pytest.mark.parametrize(
    ("code", "served"),
    [
        ("void far(void) {}", True),
        ("void far(void) __attribute__((weak)); void far(void) {}", True),
        ('void far(void) __attribute__((visibility("protected"))); void far(void) {}', True),
        ('asm(".globl far; .set far, 0x1234");', True),  # an absolute value
        ('asm(".globl far; .set far, 0");', True),  # an absolute nought
        ("int far = 1;", True),
        (
            'asm(".globl far; .type far, @gnu_indirect_function; .set far, real"); void *real(void) { return real; }',
            True,
        ),
    ],
)
@pytest.mark.parametrize("style", ["gnu", "sysv"])
def test_exports_are_those_that_the_loader_takes(code: str, served: bool, style: str, tmp_path: Path) -> None:
    far = build(tmp_path / "libfar.so", code, "-soname,libfar.so", f"--hash-style={style}")
    near = build(tmp_path / "libnear.so", "void far(void); void near(void) { far(); }", "-rpath,$ORIGIN", needs=(far,))
    assert (agreed(tmp_path, near) == []) is served


@pytest.mark.parametrize(
    "edit",
    [
        {4: bytes([0x02])},  # STB_LOCAL
        {5: bytes([2])},  # STV_HIDDEN
        {5: bytes([1])},  # STV_INTERNAL
        {4: bytes([0x13])},  # STT_SECTION
        {8: bytes(8)},  # no value
        {6: bytes(2)},  # SHN_UNDEF
    ],
    ids=["local", "hidden", "internal", "section", "no value", "undefined"],
)
def test_symbols_that_the_loader_passes_over_serve_nobody(edit: dict[int, bytes], tmp_path: Path) -> None:
    far = build(tmp_path / "libfar.so", "void far(void) {}", "-soname,libfar.so")
    near = build(tmp_path / "libnear.so", "void far(void); void near(void) { far(); }", "-rpath,$ORIGIN", needs=(far,))
    assert agreed(tmp_path, near) == []
    table = int.from_bytes(far.read_bytes()[tag_offset(far, 6) :][:8], "little")
    with_bytes(far, {table + 24 + at: piece for at, piece in edit.items()})
    assert symbols(agreed(tmp_path, near)) == [("libnear.so", "far")]


def test_what_a_library_needs_is_bound_before_it(tmp_path: Path) -> None:
    deep = build(
        tmp_path / "libdeep.so", "void cudnnDeep(void); void deep(void) { cudnnDeep(); }", "-soname,libdeep.so"
    )
    far = build(
        tmp_path / "libfar.so",
        "void cublasFar(void); void far(void) { cublasFar(); }",
        "-soname,libfar.so",
        "-rpath,$ORIGIN",
        needs=(deep,),
    )
    more = build(tmp_path / "libmore.so", "void ncclMore(void); void more(void) { ncclMore(); }", "-soname,libmore.so")
    near = build(
        tmp_path / "libnear.so",
        "void cufftNear(void); void near(void) { cufftNear(); }",
        "-rpath,$ORIGIN",
        needs=(far, more),
    )
    assert symbols(agreed(tmp_path, near)) == [
        ("libdeep.so", "cudnnDeep"), ("libmore.so", "ncclMore"), ("libfar.so", "cublasFar"), ("libnear.so", "cufftNear"),
    ]  # fmt: skip


def test_a_cycle_is_bound_with_the_first_library_last(tmp_path: Path) -> None:
    first = build(tmp_path / "libone.so", "", "-soname,libone.so")
    second = build(
        tmp_path / "libtwo.so",
        "void ncclTwo(void); void two(void) { ncclTwo(); }",
        "-soname,libtwo.so",
        "-rpath,$ORIGIN",
        needs=(first,),
    )
    build(
        first,
        "void ncclOne(void); void one(void) { ncclOne(); }",
        "-soname,libone.so",
        "-rpath,$ORIGIN",
        needs=(second,),
    )
    assert symbols(agreed(tmp_path, first)) == [("libtwo.so", "ncclTwo"), ("libone.so", "ncclOne")]


def test_a_missing_library_comes_before_a_missing_version_and_a_missing_symbol(tmp_path: Path) -> None:
    near, far = versioned(tmp_path)
    gone = build(tmp_path / "gone/libgone.so", "", "-soname,libgone.so")
    top = build(
        tmp_path / "libtop.so",
        "void _ZN3c104goneEv(void); void top(void) { _ZN3c104goneEv(); }",
        "-rpath,$ORIGIN",
        needs=(near, gone),
    )
    build(far, "void old(void) {}", "-soname,libfar.so.1", f"--version-script={tmp_path}/versions")
    (tmp_path / "versions").write_text("V1 { global: old; local: *; };")
    build(far, "void old(void) {}", "-soname,libfar.so.1", f"--version-script={tmp_path}/versions")
    assert [(failure.kind, failure.name) for failure in agreed(tmp_path, top)] == [
        ("library", "libgone.so"), ("version", "V2"), ("symbol", "_ZN3c104goneEv"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    "name", ["libz.so.1", "libm.so.6", "libstdc++.so.6", "libnuma.so.1", "libgomp.so.1", "libdl.so.2"]
)
def test_libraries_of_the_system_are_found_where_the_loader_finds_them(name: str, tmp_path: Path) -> None:
    real = really_load(tmp_path, name)
    found = process().find(name)
    if real.error is not None:
        assert found is None
    else:  # in the process already: the loader does not search
        assert found == real.where.get(name, found)
        assert found is not None
        model = process()
        assert model.load(found) == []
        where = model.where()
        assert {soname: where[soname] for soname in real.where if soname in where} == {
            soname: path for soname, path in real.where.items() if soname in where
        }


def test_the_program_itself_has_the_libraries_that_it_has(tmp_path: Path) -> None:
    real = really_load(tmp_path)
    where = process().where()
    assert {name: path for name, path in where.items() if name in real.where} == {
        name: path for name, path in real.where.items() if name in where
    }


def test_a_missing_driver_is_passed_over_with_its_functions_alone(tmp_path: Path) -> None:
    if process().find(DRIVER):
        pytest.skip("this machine has a driver")
    driver = build(tmp_path / "far/libcuda.so.1", "void cuInit(void) {}", f"-soname,{DRIVER}")
    near = build(
        tmp_path / "libnear.so",
        "void cuInit(void); void cublasGone(void); void near(void) { cuInit(); cublasGone(); }",
        needs=(driver,),
    )
    assert process().load(str(near)) == [Failure("symbol", "cublasGone", str(near))]
    alone = build(tmp_path / "libalone.so", "void cuInit(void); void near(void) { cuInit(); }")
    assert symbols(agreed(tmp_path, alone)) == [("libalone.so", "cuInit")]


def test_a_library_with_stripped_section_headers_loads(tmp_path: Path) -> None:
    near, far = two(tmp_path, "-rpath,$ORIGIN/../far")
    for path in (near, far):
        with_bytes(path, {40: bytes(8), 60: bytes(4)})
    assert agreed(tmp_path, near) == []


def test_a_need_with_a_path_is_not_searched(tmp_path: Path) -> None:
    far = build(tmp_path / "libfar.so", "void far(void) {}")  # without a soname, its path becomes NEEDED
    near = build(tmp_path / "libnear.so", "", needs=(far,))
    assert agreed(tmp_path, near) == []
    far.unlink()
    assert agreed(tmp_path, near) == [Failure("library", str(far), str(near))]


def test_a_program_that_is_none_is_told(tmp_path: Path) -> None:
    (tmp_path / "python").write_text("#!/bin/sh\n" * 9)
    with pytest.raises(OSError, match="it is no ELF file"):
        Process(RealSystem(), f"{tmp_path}/python", "")
