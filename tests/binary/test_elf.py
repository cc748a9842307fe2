"""What `Elf` reads equals what readelf prints, of small libraries and of this interpreter's own."""

from __future__ import annotations

import re
import shutil
import subprocess
import sysconfig
from pathlib import Path

import pytest

from sgldoctor.binary.elf import Elf, ElfError, gnu_hash
from tests.binary.libraries import build, needs_compiler, tag_offset, with_bytes

pytestmark = [
    needs_compiler,
    pytest.mark.skipif(shutil.which("readelf") is None, reason="no readelf is here"),
]

SOURCE = """
#include <stdio.h>
extern int elsewhere; int *kept = &elsewhere; __thread int own;
void gone(void); void weak(void) __attribute__((weak)); static void local(void) { gone(); }
void old(void) { puts("old"); local(); } void fresh(void) { if (weak) weak(); fprintf(stderr, "%d", own); }
__attribute__((visibility("hidden"))) void hidden(void) {} __attribute__((weak)) void spare(void) { hidden(); }
__attribute__((visibility("protected"))) void guarded(void) {}
"""
VERSIONS = "V1 { global: old; own; }; V2 { global: fresh; } V1;"
STYLES = {
    "plain": (),
    "gnu": ("--hash-style=gnu", "-soname,liba.so.1", "--enable-new-dtags", "-rpath,$ORIGIN/x:/y"),
    "sysv": ("--hash-style=sysv", "--disable-new-dtags", "-rpath,/z", "-z,now"),
    "both": ("--hash-style=both", "--version-script={}"),
    "separate": ("-z,separate-code", "-z,relro", "--build-id"),
    "together": ("-z,noseparate-code", "-z,norelro", "-z,nocombreloc"),
}
DYNAMIC = {"needed": "NEEDED", "soname": "SONAME", "rpath": "RPATH", "runpath": "RUNPATH"}
SYMBOL = re.compile(
    r"^ *\d+: ([0-9a-f]+) +\S+ (\S+) +(\S+) +(\S+) +(\S+)(?: +\[.*\])? +(\S+)(?: \(\d+\))?$", re.MULTILINE
)


def readelf(path: Path, what: str) -> str:
    return subprocess.run(["readelf", "-W", what, str(path)], capture_output=True, text=True, check=True).stdout


def symbols(path: Path) -> list[tuple[str, ...]]:
    """Return value, kind, binding, visibility, section and name (without its version) of each symbol."""
    return [(*row[:5], row[5].split("@")[0]) for row in SYMBOL.findall(readelf(path, "--dyn-syms"))]


def versions(path: Path) -> tuple[dict[str, list[str]], list[str]]:
    needed: dict[str, list[str]] = {}
    defined, library = set(), ""
    for line in readelf(path, "-V").splitlines():
        if match := re.search(r"Version: \d+  File: (\S+)  Cnt", line):
            library = match[1]
            needed[library] = []
        elif match := re.search(r"Name: (\S+)  Flags: (\w+)  Version", line):
            needed[library] += [] if match[2] == "WEAK" else [match[1]]
        elif match := re.search(r"Rev: 1  Flags: .*  Name: (\S+)", line):
            defined.add(match[1])
    return needed, sorted(defined)


def agrees(path: Path) -> Elf:
    """Read a library and hold everything against readelf."""
    elf = Elf(path.read_bytes())
    dynamic = readelf(path, "-d")
    told = {key: re.findall(rf"\({tag}\) .*\[(.*)\]", dynamic) for key, tag in DYNAMIC.items()}
    assert elf.needed == told["needed"]
    assert [elf.soname, elf.rpath, elf.runpath] == [(told[key] or [None])[0] for key in ("soname", "rpath", "runpath")]
    assert (elf.versions_needed, elf.versions_defined) == versions(path)
    rows = symbols(path)
    undefined = [name for _, _, binding, _, section, name in rows if section == "UND" and binding == "GLOBAL"]
    assert sorted(elf.undefined()) == sorted(undefined)
    taken = {
        name
        for value, kind, binding, visibility, section, name in rows
        if section != "UND" and binding in {"GLOBAL", "WEAK", "UNIQUE"} and visibility in {"DEFAULT", "PROTECTED"}
        and kind not in {"SECTION", "FILE"} and (int(value, 16) or section == "ABS" or kind == "TLS")
    }  # fmt: skip
    names = {row[-1] for row in rows} | {"nothing", "", "_ZN2at6nothingEv"}
    assert {name for name in names if elf.exports(name.encode(), gnu_hash(name.encode()))} == taken
    asked = re.findall(r"^[0-9a-f]+ +[0-9a-f]+ \S+ +[0-9a-f]+ ([^\s@]+)", readelf(path, "-r"), re.MULTILINE)
    assert elf.bound(undefined) == list(dict.fromkeys(name for name in asked if name in undefined))
    return elf


@pytest.mark.parametrize("style", STYLES)
def test_a_library_is_read_as_readelf_reads_it(style: str, tmp_path: Path) -> None:
    (tmp_path / "versions").write_text(VERSIONS)
    flags = [flag.format(tmp_path / "versions") for flag in STYLES[style]]
    elf = agrees(build(tmp_path / "liba.so", SOURCE, *flags, "-lc", "-lm"))
    assert elf.undefined() != []
    assert elf.machine in {"x86_64", "aarch64"}


def test_libraries_of_this_interpreter_are_read_as_readelf_reads_them() -> None:
    folder = Path(sysconfig.get_path("platstdlib")) / "lib-dynload"
    paths = sorted(folder.glob("*.so"))[:6] + [
        path for name in ("c.so.6", "m.so.6", "stdc++.so.6", "z.so.1")
        for path in Path("/lib").glob(f"*-linux-gnu/lib{name}")
    ]  # fmt: skip
    if not paths:
        pytest.skip("this interpreter has no libraries of its own")
    for path in paths:
        agrees(path)


def test_a_library_that_exports_nothing_is_read(tmp_path: Path) -> None:
    path = build(
        tmp_path / "liba.so",
        "void gone(void); static void f(void) { gone(); } static void *kept __attribute__((used)) = f;",
    )
    assert agrees(path).undefined() == ["gone"]


def test_section_headers_are_not_needed(tmp_path: Path) -> None:
    path = build(tmp_path / "liba.so", SOURCE, "-soname,liba.so.1", "-lc")
    whole = Elf(path.read_bytes())
    for name, edits in {
        "stripped": {40: bytes(8), 60: bytes(4)},
        "wild": {40: b"\xff" * 8},
        "many": {60: b"\xff\xff"},
    }.items():
        elf = Elf(with_bytes(path, edits, tmp_path / name).read_bytes())
        assert (elf.soname, elf.needed, elf.undefined()) == ("liba.so.1", whole.needed, whole.undefined())
        assert elf.exports(b"old", gnu_hash(b"old"))
    assert Elf((tmp_path / "stripped").read_bytes()).gpu_code() == []
    with pytest.raises(ElfError, match="past the end of the file"):
        Elf((tmp_path / "wild").read_bytes()).gpu_code()


def test_sections_lie_where_readelf_says(tmp_path: Path) -> None:
    path = build(tmp_path / "liba.so", SOURCE, "-lc")
    elf = Elf(path.read_bytes())
    rows = re.findall(r"\] (\.\S+) +(\w+) +[0-9a-f]+ ([0-9a-f]+) ([0-9a-f]+)", readelf(path, "-S"))
    found = {name: (int(at, 16), int(at, 16) + int(size, 16)) for name, kind, at, size in rows if kind != "NOBITS"}
    assert {name: elf.section(name) for name in found} == found
    assert [elf.section(name) for name in (".bss", ".nothing", "")] == [None, None, (0, 0)]


def test_what_the_loader_adds_up_counts_once(tmp_path: Path) -> None:
    # An old linker counts the relocations of calls among the others too.
    path = build(tmp_path / "liba.so", "void b(void); void a(void); void *kept = a; void f(void) { b(); a(); }")
    size, calls = tag_offset(path, 8), tag_offset(path, 2)
    data = path.read_bytes()
    total = sum(int.from_bytes(data[at : at + 8], "little") for at in (size, calls))
    assert Elf(with_bytes(path, {size: total.to_bytes(8, "little")}).read_bytes()).bound(["a", "b"]) == ["a", "b"]
