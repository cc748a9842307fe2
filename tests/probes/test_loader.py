"""Which file `Process` finds for each library equals what the real loader finds."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from sgldoctor.probes.loader import Failure, Process
from sgldoctor.system import RealSystem
from tests.binary.libraries import build, needs_compiler, really_load, with_bytes
from tests.probes.loading import agreed, process

pytestmark = needs_compiler


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
        ({18: b"\xf3\x00"}, True),  # another machine
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
