"""Fat binaries: the targets of real libraries and of small compiled ones equal cuobjdump's; hostile bytes are named."""

from __future__ import annotations

import base64
import json
import mmap
import re
import struct
import time
import zlib
from pathlib import Path
from typing import Any

import pytest

from sgldoctor.binary.fatbin import targets

FIXTURES = Path(__file__).parents[2] / "fixtures" / "gpu_code"
PTX, CUBIN, LTO_IR = 1, 2, 8
A, F = 0x100000, 0x200000


def fixture(name: str) -> list[dict[str, Any]]:
    return json.loads((FIXTURES / name).read_text("utf-8"))  # type: ignore[no-any-return]


def identity(row: dict[str, Any]) -> str:
    return row["name"] if "name" in row else f"{row['distribution']} {row['file']}"


HEADERS = {identity(row): row for row in fixture("headers.json")}


def entry(
    kind: int = CUBIN,
    architecture: int = 90,
    flags: int = 0x11,
    header: int = 64,
    size: int | None = None,
    payload: bytes = b"payload.",
) -> bytes:
    told = len(payload) if size is None else size
    return struct.pack("<HHIQIIIIQQQQ", kind, 0x101, header, told, 0, 0, 0, architecture, 0, flags, 0, 0) + payload


def fatbin(
    *entries: bytes, magic: int = 0xBA55ED50, version: int = 1, header: int = 16, size: int | None = None
) -> bytes:
    body = b"".join(entries)
    return struct.pack("<IHHQ", magic, version, header, len(body) if size is None else size) + body


def whole(data: bytes) -> list[str]:
    return targets(data, 0, len(data))


@pytest.mark.parametrize("row", fixture("cuobjdump.json"), ids=identity)
def test_real_libraries_hold_what_cuobjdump_lists(row: dict[str, Any], tmp_path: Path) -> None:
    # The headers stand at their offsets in the library; every payload is a hole of zeros.
    skeleton = HEADERS[identity(row)]
    pieces = zlib.decompress(base64.b64decode(skeleton["headers"]))
    library = tmp_path / "library.so"
    with library.open("wb") as file:
        file.truncate(skeleton["end"])
        at, read = skeleton["start"], 0
        while read < len(pieces):
            gap, length = struct.unpack_from("<QB", pieces, read)
            file.seek(at + gap)
            file.write(pieces[read + 9 : read + 9 + length])
            at, read = at + gap + length, read + 9 + length
    with library.open("rb") as source, mmap.mmap(source.fileno(), 0, access=mmap.ACCESS_READ) as data:
        assert targets(data, skeleton["start"], skeleton["end"]) == row["targets"]


def test_enough_libraries_of_both_machines_are_recorded() -> None:
    rows = fixture("cuobjdump.json")
    assert sum(row["distribution"].endswith("x86_64") for row in rows) == 18
    assert sum(row["distribution"].endswith("aarch64") for row in rows) == 5
    assert {identity(row) for row in rows} == set(HEADERS)


@pytest.mark.parametrize("row", fixture("compiled.json"), ids=identity)
def test_compiled_sections_hold_what_cuobjdump_lists(row: dict[str, Any]) -> None:
    section = base64.b64decode(row["bytes"])
    assert whole(section) == row["targets"]
    assert targets(memoryview(b"before.." + section + b"after"), 8, 8 + len(section)) == row["targets"]


@pytest.mark.parametrize(
    ("section", "expected"),
    [
        (b"", []),
        (bytes(255), []),
        (fatbin(entry()), ["sm_90"]),
        (fatbin(entry(), entry(), entry(flags=A | 0x11)), ["sm_90", "sm_90a"]),
        (fatbin(entry(architecture=100, flags=F), entry(architecture=100, flags=A), entry(architecture=100)), ["sm_100", "sm_100a", "sm_100f"]),
        (fatbin(entry(PTX, 80), entry(CUBIN, 120), entry(PTX, 90, A), entry(CUBIN, 75)), ["sm_75", "sm_120", "compute_80", "compute_90a"]),
        (fatbin(entry(LTO_IR, 80)), []),
        (fatbin(entry(LTO_IR, 0, A | F), entry()), ["sm_90"]),
        (fatbin(entry(payload=fatbin(entry(architecture=80)))), ["sm_90"]),
        (fatbin(entry(header=80, size=16, payload=bytes(32))), ["sm_90"]),
        (bytes(8) + fatbin(entry()) + bytes(255) + fatbin(entry(architecture=80)) + bytes(8), ["sm_80", "sm_90"]),
    ],
)  # fmt: skip
def test_made_sections(section: bytes, expected: list[str]) -> None:
    assert whole(section) == expected


HUGE = 2**64 - 1
ONE = fatbin(entry())  # 88 bytes
HOSTILE = [
    (b"\x50\xed\x55\xba", "the header of a fat binary at offset 0x0 runs past the end of its section"),
    (ONE + b"\x50", "the header of a fat binary at offset 0x58 runs past the end of its section"),
    (fatbin(entry(), magic=0x466243B1), "no fat binary begins at offset 0x0: 0x466243b1 is not 0xba55ed50"),
    (ONE + b"\xff" * 16, "no fat binary begins at offset 0x58: 0xffffffff is not 0xba55ed50"),
    (ONE + bytes(256) + ONE, "more than 255 zero bytes stand at offset 0x58"),
    (bytes(4096), "more than 255 zero bytes stand at offset 0x0"),
    (fatbin(entry(), version=2), "a fat binary at offset 0x0 says it has version 2; only 1 is known"),
    (fatbin(entry(), header=0), "a fat binary at offset 0x0 says its header is 0 bytes long"),
    (fatbin(entry(), size=0), "a fat binary at offset 0x0 says it is 0 bytes long"),
    (ONE + fatbin(), "a fat binary at offset 0x58 says it is 0 bytes long"),
    (fatbin(entry(), size=HUGE), f"a fat binary at offset 0x0 says it is {HUGE} bytes long, past the end of its section"),
    (fatbin(entry(), size=73), "a fat binary at offset 0x0 says it is 73 bytes long, past the end of its section"),
    (fatbin(entry(), header=65535), "a fat binary at offset 0x0 says it is 72 bytes long, past the end of its section"),
    (fatbin(bytes(63)), "the header of an entry at offset 0x10 runs past the end of its fat binary"),
    (fatbin(entry(), b"rest"), "the header of an entry at offset 0x58 runs past the end of its fat binary"),
    (fatbin(bytes(64)), "an entry at offset 0x10 says its header is 0 bytes long"),
    (fatbin(entry(header=63)), "an entry at offset 0x10 says its header is 63 bytes long"),
    (fatbin(entry(payload=b"")), "an entry at offset 0x10 says it is 0 bytes long"),
    (fatbin(entry(LTO_IR, payload=b"")), "an entry at offset 0x10 says it is 0 bytes long"),
    (fatbin(entry(size=9)), "an entry at offset 0x10 says it is 9 bytes long, past the end of its fat binary"),
    (fatbin(entry(size=9)) + ONE, "an entry at offset 0x10 says it is 9 bytes long, past the end of its fat binary"),
    (fatbin(entry(size=HUGE)), f"an entry at offset 0x10 says it is {HUGE} bytes long, past the end of its fat binary"),
    (fatbin(entry(header=2**32 - 1)), "an entry at offset 0x10 says it is 8 bytes long, past the end of its fat binary"),
    (fatbin(entry(architecture=0)), "an entry at offset 0x10 says it is for architecture 0"),
    (fatbin(entry(architecture=1000)), "an entry at offset 0x10 says it is for architecture 1000"),
    (fatbin(entry(flags=A | F)), "an entry at offset 0x10 says it is both architecture-specific and family-specific: flags 0x300000"),
    (fatbin(entry(payload=b"x")) * 100_001, "more than 100000 entries stand before offset 0x7b98b0"),
    (fatbin(entry(payload=b"x") * 100_001), "more than 100000 entries stand before offset 0x632eb0"),
]  # fmt: skip


@pytest.mark.parametrize(("section", "reason"), HOSTILE, ids=[reason for _, reason in HOSTILE])
def test_hostile_bytes_are_refused_with_their_reason(section: bytes, reason: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(reason)}$"):
        whole(section)


@pytest.mark.parametrize(("start", "end"), [(-1, 8), (8, 0), (0, 89), (89, 89)])
def test_a_section_outside_the_file_is_refused(start: int, end: int) -> None:
    with pytest.raises(ValueError, match="does not lie in a file of 88 bytes"):
        targets(ONE, start, end)


def test_every_cut_and_every_changed_byte_ends_in_an_answer_or_a_reason() -> None:
    section = base64.b64decode(next(row["bytes"] for row in fixture("compiled.json") if row["name"] == "ptx-lz4"))
    cuts = [section[:length] for length in range(len(section))]
    changes = [
        section[:at] + bytes([value]) + section[at + 1 :] for at in range(len(section)) for value in (0, 1, 0x7F, 0xFF)
    ]
    refused = 0
    began = time.monotonic()
    for data in cuts + changes:
        try:
            assert isinstance(whole(data), list)
        except ValueError:
            refused += 1
    assert refused >= len(cuts) - 1  # only nothing at all is a section too
    assert time.monotonic() - began < 10
