"""Damaged and hostile files: a plain reason or a right answer, within 5 seconds of work and 200 MB, whatever they say."""

from __future__ import annotations

import json
import os
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sgldoctor.binary.elf import Elf, ElfError
from sgldoctor.system import RealSystem
from tests.binary.libraries import build, needs_compiler, tag_offset, with_bytes

SOURCE = "int puts(const char *); extern int gone; int *kept = &gone; void old(void) { puts(0); } void fresh(void) { old(); }"
VERSIONS = "V1 { global: old; }; V2 { global: fresh; } V1;"
DOORS = ("library", "undefined", "unresolved", "gpu_code", "cached_libraries")

_CHILD = """
import json, resource, sys
resource.setrlimit(resource.RLIMIT_AS, (16 << 30, 16 << 30))
resource.setrlimit(resource.RLIMIT_CPU, (5, 5))
from sgldoctor.system import RealSystem
path, good = sys.argv[1:]
system, told = RealSystem(), {}
for door, args in {
    "library": (), "undefined": ("",), "unresolved": ([good], ""), "gpu_code": (), "cached_libraries": ("libz.so.1", "x86_64"),
}.items():
    try:
        told[door] = getattr(system, door)(path, *args)
    except OSError as error:
        told[door] = f"refused: {error}"
try:
    system.unresolved(good, [path], "")
except OSError as error:
    told["supplies"] = f"refused: {error}"
told["megabytes"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
print(json.dumps(told))
"""


@pytest.fixture
def good(tmp_path: Path) -> Path:
    (tmp_path / "versions").write_text(VERSIONS)
    return build(
        tmp_path / "good.so",
        SOURCE,
        "-soname,good.so",
        "--hash-style=gnu",
        f"--version-script={tmp_path}/versions",
        "-lc",
    )


def answers(path: Path, good: Path) -> dict[str, Any]:
    """Return what each door answers, in a child whose means are limited."""
    done = subprocess.run(
        [sys.executable, "-c", _CHILD, str(path), str(good)],
        capture_output=True, text=True, check=True, env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
    )  # fmt: skip
    told: dict[str, Any] = json.loads(done.stdout)
    assert told.pop("megabytes") < 200
    return told


def value(path: Path, tag: int) -> int:
    return int.from_bytes(path.read_bytes()[(at := tag_offset(path, tag)) : at + 8], "little")


def u32(number: int) -> bytes:
    return struct.pack("<I", number)


def u64(number: int) -> bytes:
    return struct.pack("<Q", number)


def put(tag: int, edit: Callable[[int], dict[int, bytes]]) -> Callable[[Path], dict[int, bytes]]:
    """Change what an entry of the dynamic section points to; in small libraries addresses are offsets."""
    return lambda path: edit(value(path, tag))


def entry(tag: int, new: int) -> Callable[[Path], dict[int, bytes]]:
    """Change an entry of the dynamic section."""
    return lambda path: {tag_offset(path, tag): u64(new)}


NO_LIBRARY = {
    "32-bit": ({4: b"\x01"}, {"problem": "it is no 64-bit file", "machine": "other"}),
    "big-endian": ({5: b"\x02"}, {"problem": "it is no little-endian ELF file for Linux"}),
    "an object file": ({16: b"\x01"}, {"problem": "it is an ELF file, but no shared library"}),
    "no segments": ({56: b"\0\0"}, {"problem": "it has nothing for the loader to load"}),
    "segment headers of no size": ({54: b"\0\0"}, {"problem": "it is an ELF file, but no shared library"}),
    "a segment past the end": ({64 + 32: u64(1 << 40)}, None),
}


@needs_compiler
@pytest.mark.parametrize("name", NO_LIBRARY)
def test_what_the_loader_refuses_has_a_problem(name: str, good: Path, tmp_path: Path) -> None:
    edits, problem = NO_LIBRARY[name]
    told = answers(with_bytes(good, edits, tmp_path / "bad.so"), good)
    size = good.stat().st_size
    assert told.pop("library") == (problem or {"problem": f"it is cut off: {size} bytes are left of a larger file"})
    assert {door: answer[:8] for door, answer in told.items()} == dict.fromkeys((*DOORS[1:], "supplies"), "refused:")


PAST, CHAIN, VERSION = "past the end of the file", "its hash table is damaged", "its table of versions has no end"
DAMAGED: dict[str, tuple[Callable[[Path], dict[int, bytes]], dict[str, str]]] = {
    "segment headers past the end": (lambda path: {32: u64(1 << 50)}, {"library": PAST}),
    "segment headers beyond all numbers": (lambda path: {32: u64((1 << 64) - 1)}, {"library": PAST}),
    "65535 segments": (lambda path: {56: b"\xff\xff"}, {}),
    "no strings": (entry(5, 1 << 40), {"library": "its tables point to the address 0x10000000000, which is not in the file"}),
    "a name past the end": (entry(14, 1 << 63), {"library": "its string table has no end"}),
    "no GNU buckets": (put(0x6FFFFEF5, lambda at: {at: u32(0)}), {"undefined": CHAIN, "supplies": CHAIN}),
    "no bloom words": (put(0x6FFFFEF5, lambda at: {at + 8: u32(0)}), {"undefined": CHAIN, "supplies": CHAIN}),
    "all symbols undefined": (put(0x6FFFFEF5, lambda at: {at: u32(2), at + 4: u32(1 << 31)}), {"undefined": "it asks for 2147483648 symbols, more than any library does"}),
    "a bloom filter past the end": (put(0x6FFFFEF5, lambda at: {at + 8: u32((1 << 32) - 1)}), {}),
    "symbols past the end": (entry(6, 1 << 40), {"undefined": "its tables point to the address 0x10000000000, which is not in the file"}),
    "endless relocations": (entry(8, (1 << 64) - 1), {"unresolved": "it says that it has 768614336404564650 relocations, more than any library"}),
    "relocations past the end": (entry(8, 1 << 20), {"unresolved": PAST}),
    "needed versions that go round": (put(0x6FFFFFFE, lambda at: {at + 8: u32(0), at + 12: u32((1 << 32) - 1)}), {"library": PAST}),
    "defined versions past the end": (put(0x6FFFFFFC, lambda at: {at + 12: u32(1 << 31)}), {"library": PAST}),
}  # fmt: skip


@needs_compiler
@pytest.mark.parametrize("name", DAMAGED)
def test_damaged_tables_are_told(name: str, good: Path, tmp_path: Path) -> None:
    edit, reasons = DAMAGED[name]
    told = answers(with_bytes(good, edit(good), tmp_path / "bad.so"), good)
    for door, reason in reasons.items():
        assert told[door].startswith("refused: bad.so: ")
        assert reason in told[door]


def appended(path: Path, new: Path, blob: bytes, entries: dict[int, int]) -> Path:
    """Write a copy with a blob at its end, loaded with the rest, to which entries of the dynamic section point."""
    data = path.read_bytes()
    data += bytes(-len(data) % 16)
    segments = {struct.unpack_from("<I", data, at)[0]: at for at in range(64, 64 + 56 * data[56], 56)}
    edits = {
        64 + 32: u64(len(data) + len(blob)), 64 + 40: u64(len(data) + len(blob)),
        segments[2] + 16: data[segments[2] + 8 :][:8],  # addresses are offsets now
        **{tag_offset(path, tag): u64(len(data) + at) for tag, at in entries.items()},
    }  # fmt: skip
    new.write_bytes(data + blob)
    return with_bytes(new, edits)


@needs_compiler
def test_a_dynamic_section_without_an_end_is_told(good: Path, tmp_path: Path) -> None:
    bad = appended(good, tmp_path / "bad.so", struct.pack("<QQ", 24, 0) * 5000, {})
    data = bad.read_bytes()
    start = u64(len(data) - 16 * 5000)
    segment = next(at for at in range(64, 64 + 56 * data[56], 56) if data[at : at + 4] == u32(2))
    told = answers(with_bytes(bad, {segment + 8: start, segment + 16: start}), good)
    assert told["library"] == "refused: bad.so: its dynamic section has no end"


@needs_compiler
@pytest.mark.parametrize("field", [4, 8, 12])
def test_versions_that_point_to_themselves_are_told(field: int, good: Path, tmp_path: Path) -> None:
    # The distance is a number without a sign: the shortest way round a table is one byte further.
    bad = with_bytes(good, {value(good, 0x6FFFFFFE) + field: u32(1)}, tmp_path / "bad.so")
    library = answers(bad, good)["library"]
    assert isinstance(library, dict) or library.startswith("refused: bad.so: its ")


@needs_compiler
def test_a_chain_of_hashes_without_an_end_is_told(good: Path, tmp_path: Path) -> None:
    table = struct.pack("<IIIIQI", 1, 1, 1, 0, (1 << 64) - 1, 1) + bytes(4 * 5000)
    bad = appended(good, tmp_path / "bad.so", table, {0x6FFFFEF5: 0})
    assert answers(bad, good)["supplies"] == f"refused: bad.so: {CHAIN}"


@needs_compiler
def test_a_chain_of_the_older_hashes_that_goes_round_is_told(tmp_path: Path) -> None:
    path = build(tmp_path / "a.so", SOURCE, "--hash-style=sysv")
    at = value(path, 4)
    buckets, symbols = struct.unpack_from("<II", path.read_bytes(), at)
    rounds = {at + 8: u32(1) * buckets, at + 8 + 4 * buckets: u32(1) * symbols}
    with pytest.raises(ElfError, match=CHAIN):
        Elf(with_bytes(path, rounds).read_bytes()).exports(b"absent", 0)


@needs_compiler
def test_a_library_that_is_cut_off_anywhere_is_told_or_read_rightly(good: Path) -> None:
    data = good.read_bytes()
    whole = Elf(data)
    loaded = max(
        struct.unpack_from("<Q", data, at + 8)[0] + struct.unpack_from("<Q", data, at + 32)[0]
        for at in range(64, 64 + 56 * struct.unpack_from("<H", data, 56)[0], 56)
        if struct.unpack_from("<I", data, at)[0] == 1
    )
    for size in range(0, len(data), 8):
        if size < loaded:
            with pytest.raises(ElfError, match="^it is (?:no ELF file|cut off)|past the end of the file$"):
                Elf(data[:size])
        else:  # sections, which the loader does not read
            elf = Elf(data[:size])
            assert (elf.soname, elf.needed, elf.undefined()) == ("good.so", whole.needed, whole.undefined())


@needs_compiler
def test_names_that_overlap_do_not_fill_the_memory(good: Path, tmp_path: Path) -> None:
    # 200,000 symbols whose names are one text of 60,000 letters.
    count, name = 200_000, b"x" * 60_000
    table = struct.pack("<IIIIQI", 1, count, 1, 0, 0, count) + u32(1)
    symbols = bytes(24) + struct.pack("<IBBHQQ", 1, 0x12, 0, 0, 0, 0) * count
    strings = b"\0" + name + b"\0"
    places = {0x6FFFFEF5: 0, 6: len(table), 5: len(table) + len(symbols)}
    bad = appended(good, tmp_path / "bad.so", table + symbols + strings, places)
    with_bytes(bad, {tag_offset(good, tag): bytes(8) for tag in (1, 14)})
    told = answers(bad, good)
    assert told["undefined"] == told["unresolved"] == "refused: bad.so: its names are longer than any library's"


def fatbin(*, size: int | None = None, payload: int = 8) -> bytes:
    body = struct.pack("<HHIQIIIIQQQQ", 2, 0x101, 64, payload, 0, 0, 0, 90, 0, 0x11, 0, 0) + b"payload."
    return struct.pack("<IHHQ", 0xBA55ED50, 1, 16, len(body) if size is None else size) + body


@needs_compiler
@pytest.mark.parametrize(
    ("code", "told"),
    [
        (fatbin(), ["sm_90"]),
        (fatbin(size=0), "says it is 0 bytes long"),
        (fatbin(size=1 << 60), "past the end of its section"),
        (fatbin(payload=0), "says it is 0 bytes long"),
        (fatbin(payload=(1 << 64) - 1), "past the end of its fat binary"),
        (b"\0" * 5000, "more than 255 zero bytes"),
    ],
)
def test_gpu_code_of_any_size_is_told(code: bytes, told: Any, good: Path, tmp_path: Path) -> None:
    bytes_ = ",".join(map(str, code))
    path = build(tmp_path / "bad.so", f'asm(".pushsection .nv_fatbin,\\"a\\"\\n.byte {bytes_}\\n.popsection");')
    answer = answers(path, good)["gpu_code"]
    assert answer == told if isinstance(told, list) else told in answer


@needs_compiler
def test_a_sparse_file_of_10_gb_is_read_in_place(good: Path, tmp_path: Path) -> None:
    empty, real = tmp_path / "empty.so", with_bytes(good, {}, tmp_path / "real.so")
    empty.touch()
    for path in (empty, real):
        os.truncate(path, 10 << 30)
    assert answers(empty, good)["library"] == {"problem": "it is no ELF file"}
    assert answers(real, good)["library"]["soname"] == "good.so"
    with real.open("r+b") as file:
        file.seek(tag_offset(good, 8))
        file.write(u64(10 << 30))
    assert "relocations, more than any library" in answers(real, good)["unresolved"]


@needs_compiler
def test_what_is_no_regular_file_is_refused_at_once(good: Path, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.so")
    (tmp_path / "folder.so").mkdir()
    (tmp_path / "round.so").symlink_to("circle.so")
    (tmp_path / "circle.so").symlink_to("round.so")
    (tmp_path / "nowhere.so").symlink_to("nothing")
    for name in ("pipe.so", "folder.so", "round.so", "nowhere.so"):
        told = answers(tmp_path / name, good)
        assert {door: answer[:8] for door, answer in told.items()} == dict.fromkeys((*DOORS, "supplies"), "refused:")


def test_texts_and_empty_files_are_no_libraries(tmp_path: Path) -> None:
    for content in (
        b"",
        b"\x7f",
        b"\x7fELF",
        b"INPUT(libx.so.1)",
        b"\x7fELF" + bytes(59),
        b"#!/bin/sh\n" * 100,
        bytes(64),
    ):
        path = tmp_path / "x.so"
        path.write_bytes(content)
        assert RealSystem().library(str(path))["problem"].startswith("it is ")
        with pytest.raises(OSError, match="x.so: it is "):
            RealSystem().gpu_code(str(path))
        with pytest.raises(OSError, match="x.so: it "):
            RealSystem().cached_libraries(str(path), "libz.so.1", "x86_64")


@pytest.mark.skipif(os.geteuid() == 0, reason="the administrator may read everything")
def test_a_file_that_may_not_be_read_is_told(tmp_path: Path) -> None:
    path = tmp_path / "x.so"
    path.touch(mode=0)
    with pytest.raises(PermissionError):
        RealSystem().library(str(path))


@needs_compiler
def test_long_chains_of_hashes_are_followed_only_so_often(good: Path, tmp_path: Path) -> None:
    # 3,000 names are asked for, and each leads through a chain of 4,000 others.
    table = struct.pack("<IIIIQI", 1, 1, 1, 0, (1 << 64) - 1, 1) + bytes(4 * 4000) + u32(1)
    bad = appended(good, tmp_path / "bad.so", table, {0x6FFFFEF5: 0})
    names = "".join(f"void f{number}(void);" for number in range(3000))
    calls = "".join(f"f{number}();" for number in range(3000))
    asking = build(tmp_path / "asking.so", f"{names} void all(void) {{ {calls} }}")
    assert answers(bad, asking)["supplies"] == f"refused: bad.so: {CHAIN}"
