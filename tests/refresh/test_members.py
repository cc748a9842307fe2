"""Libraries inside wheels on a server read as the files themselves, without what nobody looks at."""

from __future__ import annotations

import io
import mmap
import random
import re
import shutil
import struct
import subprocess
import threading
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, cast

import pytest

from sgldoctor.binary import fatbin
from sgldoctor.binary.elf import Elf, gnu_hash
from sgldoctor.refresh import members
from sgldoctor.refresh.index import PackageIndex, PackageIndexError
from sgldoctor.refresh.members import Wheel, _Sieve, open_wheel

pytestmark = [
    pytest.mark.allow_hosts(["127.0.0.1"]),
    pytest.mark.skipif(not shutil.which("gcc"), reason="builds libraries"),
]
NAME, LIBRARY, LARGE = "k-1-py3-none-any.whl", "k/ops.so", 300_000
WHAT = f"{LIBRARY} in {NAME}"
LINK = ["-shared", "-fPIC", "-nostdlib", "-Wl,--no-as-needed", "-Wl,--hash-style=gnu"]
CODE = """
extern int asked(void) __asm__("_ZN3c104cuda9SetDeviceEab");
extern int weakly(void) __attribute__((weak));
int exported(void) { return asked() + weakly(); }
__asm__(".pushsection .nv_fatbin,\\"a\\"; .balign 8; .incbin \\"fat.bin\\"; .popsection");
"""


def build(folder: Path, name: str, code: str, *options: str, needs: tuple[Path, ...] = ()) -> Path:
    (folder / "code.c").write_text(code)
    library = folder / name
    command = ["gcc", *LINK, f"-Wl,-soname,{name}", *options, "-o", name, "code.c", *map(str, needs)]
    subprocess.run(command, cwd=folder, check=True)
    return library


def fat(*architectures: int, payload: bytes) -> bytes:
    """Return a fat binary with a cubin per architecture."""
    body = b"".join(
        struct.pack("<HHIQIIIIQQQQ", 2, 0x101, 64, len(payload), 0, 0, 0, number, 0, 0x11, 0, 0) + payload
        for number in architectures
    )
    return struct.pack("<IHHQ", 0xBA55ED50, 1, 16, len(body)) + body


def wheel(contents: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    whole = io.BytesIO()
    with zipfile.ZipFile(whole, "w", method) as archive:
        for name, content in contents.items():
            archive.writestr(name, content)
    return whole.getvalue()


class Server(ThreadingHTTPServer):
    daemon_threads = False

    def __init__(self, files: dict[str, bytes]) -> None:
        self.files, self.asked = files, list[tuple[str, str]]()
        self.ranges, self.cut = True, False
        super().__init__(("127.0.0.1", 0), Handler)

    def index(self) -> PackageIndex:
        return PackageIndex(f"http://127.0.0.1:{self.server_port}/simple", 2)

    def open(self) -> Wheel:
        return open_wheel(self.index(), f"http://127.0.0.1:{self.server_port}/{NAME}")


class Handler(BaseHTTPRequestHandler):
    timeout = 3

    def do_GET(self) -> None:
        server, span = cast("Server", self.server), self.headers.get("Range", "")
        server.asked.append((self.path, span))
        body, total = server.files.get(self.path), 0
        self.send_response(404 if body is None else 206 if span and server.ranges else 200)
        body = body or b""
        if found := re.fullmatch(r"bytes=(\d*)-(\d+)", span) if server.ranges else None:
            total, first = len(body), int(found[1]) if found[1] else max(len(body) - int(found[2]), 0)
            body = body[first : int(found[2]) + 1] if found[1] else body[first:]
            self.send_header("Content-Range", f"bytes {first}-{first + len(body) - 1}/{total}")
        self.send_header("Content-Length", str(len(body)))
        kind = "application/vnd.pypi.simple.v1+json" if "/simple/" in self.path else "application/octet-stream"
        self.send_header("Content-Type", kind)
        self.end_headers()
        with suppress(ConnectionError):
            self.wfile.write(body[:500] if server.cut and not span.startswith("bytes=-") else body)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the name that is overridden
        pass


@contextmanager
def serving(files: dict[str, bytes]) -> Iterator[Server]:
    with Server(files) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join(5)


@pytest.fixture(autouse=True)
def direct(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


@pytest.fixture(scope="module", params=["separate-code", "noseparate-code"])
def layout(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def library(layout: str, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    folder, noise = tmp_path_factory.mktemp("library"), random.Random(0)
    binaries = fat(80, 90, payload=noise.randbytes(LARGE)) + fat(103, payload=noise.randbytes(4096))
    (folder / "fat.bin").write_bytes(binaries)
    needs = build(
        folder, "libneeded.so.1", 'int asked(void) __asm__("_ZN3c104cuda9SetDeviceEab"); int asked(void) { return 1; }'
    )
    return build(folder, "ops.so", CODE, f"-Wl,-z,{layout}", needs=(needs,)).read_bytes()


def facts(data: bytes | mmap.mmap) -> Any:
    read = Elf(data)
    names = (b"exported", b"weakly", b"_ZN3c104cuda9SetDeviceEab", b"other")
    section = read.section(".nv_fatbin")
    assert section
    exports = [read.exports(name, gnu_hash(name)) for name in names]
    return read.needed, read.undefined(), exports, read.section(".dynsym"), section, fatbin.targets(data, *section)


@pytest.mark.parametrize("method", [zipfile.ZIP_DEFLATED, zipfile.ZIP_STORED])
def test_reads_as_the_file(method: int, library: bytes, layout: str) -> None:
    contents = {"k/first.bin": random.Random(1).randbytes(99_999), LIBRARY: library, "k/METADATA": b"Name: k"}
    with serving({f"/{NAME}": wheel(contents, method)}) as server:
        opened = server.open()
        assert (opened.names(), opened.size(LIBRARY)) == (list(contents), len(library))
        assert opened.read("k/METADATA") == b"Name: k"
        assert len(server.asked) == 2  # the end, and the size of the whole
        data = opened.library(LIBRARY)
        assert len(server.asked) == 4  # where the member begins, and the member
    expected = (["libneeded.so.1"], ["_ZN3c104cuda9SetDeviceEab"], [True, False, False, False])
    targets = ["sm_80", "sm_90", "sm_103"]
    assert facts(data) == facts(library)
    assert facts(data)[:3] == expected
    assert facts(data)[-1] == targets
    code = Elf(library).section(".text")
    assert code
    changed = [at for at in range(len(library)) if data[at] != library[at]]
    assert len(changed) > 2 * LARGE  # the payloads
    assert not any(data[at] for at in changed)
    assert any(data[slice(*code)]) == (layout == "noseparate-code")


def sieved(data: bytes, size: int) -> bytes:
    buffer = mmap.mmap(-1, len(data))
    sieve = _Sieve(buffer)
    for at in range(0, len(data), size):
        sieve.feed(data[at : at + size], last=at + size >= len(data))
    return bytes(buffer)


def test_any_size_of_pieces_leaves_the_same(library: bytes) -> None:
    assert {sieved(library, size) for size in (4096, 5003, 70_001)} == {sieved(library, len(library))}


BINARY = fat(80, payload=b"p" * 99)
LEFT = fat(80, payload=b"\0" * 99)
SIEVED: dict[str, tuple[bytes, bytes]] = {
    "a payload": (BINARY, LEFT),
    "after other things": (b"x" * 8000 + BINARY + b"y" * 9, b"x" * 8000 + LEFT + b"y" * 9),
    "not aligned": (b"x" * 8001 + BINARY, b"x" * 8001 + BINARY),
    "two": (BINARY + b"\0" * 5 + BINARY + b"z", LEFT + b"\0" * 5 + LEFT + b"z"),
    "longer than the file": (BINARY[:-1], BINARY[:-1]),
    "another version": (BINARY[:4] + b"\2" + BINARY[5:], BINARY[:4] + b"\2" + BINARY[5:]),
    "a payload past its end": (BINARY[:24] + b"\xff" + BINARY[25:], BINARY[:24] + b"\xff" + BINARY[25:]),
    "a short header": (BINARY[:20] + b"\x10" + BINARY[21:], BINARY[:20] + b"\x10" + BINARY[21:]),
    "cut within the header": (BINARY[:12], BINARY[:12]),
    "cut within the magic": (b"x" * 8 + BINARY[:3], b"x" * 8 + BINARY[:3]),
    "small": (b"\x7fELF", b"\x7fELF"),
}  # fmt: skip


@pytest.mark.parametrize("case", SIEVED)
@pytest.mark.parametrize("size", [1, 13, 5000, 1 << 20])
def test_only_sane_payloads_are_left_out(case: str, size: int) -> None:
    data, expected = SIEVED[case]
    assert sieved(data, size) == expected


def changed(whole: bytes, offset: int, layout: str, number: int) -> bytes:
    """Return a wheel with another number in the last row of its table of contents."""
    at = whole.rindex(b"PK\1\2") + offset
    return whole[:at] + struct.pack(layout, number) + whole[at + struct.calcsize(layout) :]


PLAIN = wheel({LIBRARY: random.Random(2).randbytes(9999)})
NO_BEGINNING = f"{WHAT} is damaged: it does not begin where the table of contents says"
BAD: dict[str, tuple[bytes, str]] = {
    "wrong checksum": (changed(PLAIN, 16, "<I", 1), f"{WHAT} is damaged: its checksum is wrong"),
    "larger": (changed(PLAIN, 24, "<I", 9000), f"{WHAT} is larger than it says"),
    "smaller": (changed(PLAIN, 24, "<I", 10_000), f"{WHAT} is cut off"),
    "half of it": (changed(PLAIN, 20, "<I", 5000), f"{WHAT} is cut off"),
    "empty": (changed(PLAIN, 24, "<I", 0), f"{WHAT} says it is 0 bytes large"),
    "too large": (changed(PLAIN, 24, "<I", 4_000_000), f"{WHAT} says it is 4000000 bytes large"),
    "other method": (changed(PLAIN, 10, "<H", 14), f"{WHAT} is damaged: unknown method 14"),
    "elsewhere": (changed(PLAIN, 42, "<I", 9), NO_BEGINNING),
    "no deflate": (PLAIN[:38] + b"\xff" * 9 + PLAIN[47:], f"{WHAT} is damaged: Error -3 while decompressing data: invalid block type"),
    "no library": (wheel({"other": b""}), f"{NAME} holds no {LIBRARY}"),
    "no wheel": (b"x" * 99, f"{NAME} is no readable wheel: File is not a zip file"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_bad_wheels(case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(members, "_LARGEST", 3_999_999)
    with serving({f"/{NAME}": BAD[case][0]}) as server, pytest.raises(PackageIndexError) as error:
        server.open().library(LIBRARY)
    assert str(error.value) == BAD[case][1]


def test_the_connection_ends() -> None:
    with serving({f"/{NAME}": PLAIN}) as server:
        opened, server.cut = server.open(), True
        with pytest.raises(PackageIndexError, match=f"^the package index does not answer for {NAME}: Chunked"):
            opened.library(LIBRARY)


def test_a_server_without_parts() -> None:
    with serving({f"/{NAME}": PLAIN}) as server:
        server.ranges = False
        with pytest.raises(PackageIndexError, match=f"^the package index answers 200 for a part of {NAME}$"):
            server.open()
