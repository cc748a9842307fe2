"""The versions and symbols that `Process` misses are those that the real loader misses, in its order."""

from __future__ import annotations

from pathlib import Path

import pytest

from sgldoctor.probes.loader import DRIVER, Failure
from sgldoctor.system import RealSystem
from tests.binary.libraries import build, needs_compiler, tag_offset, with_bytes
from tests.probes.loading import agreed, process, symbols

pytestmark = needs_compiler

VERSIONS = "V1 { global: old; local: *; }; V2 { global: fresh; } V1;"


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
