"""The table of releases is made from a small invented index that a server on this machine offers."""

from __future__ import annotations

import errno
import html
import io
import json
import os
import random
import re
import socket
import threading
import time
import zipfile
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, cast

import pytest

from sgldoctor.cli.app import run as command

pytestmark = pytest.mark.allow_hosts(["127.0.0.1"])
Refresh = Callable[[int], tuple[int, str, str, dict[str, str]]]
PAGE = "/simple/sglang/"
JSON, HTML = "application/vnd.pypi.simple.v1+json", "text/html; charset=utf-8"
SPLIT, LINUX = "sglang-0.9.0-py3-none-any.whl", "sglang-0.10.0-cp310-abi3-manylinux2014_x86_64.whl"
ARM, YANKED = "sglang-0.10.0-cp310-abi3-manylinux2014_aarch64.whl", "sglang-0.10.1-py3-none-any.whl"
BESIDE, LINUX_URL, YANKED_URL = f"/files/{SPLIT}.metadata", f"/files/{LINUX}", f"/files/{YANKED}"
METADATA = "sglang-0.10.dist-info/METADATA"
DOWN = "the package index does not answer for sglang"
SOURCE = "the package index: file list of sglang and the METADATA of one wheel per release"
FILES: list[dict[str, str]] = [
    {"filename": YANKED, "yanked": "broken"},
    {"filename": LINUX, "requires-python": ">=3.10", "upload-time": "2025-03-05T01:00:00Z"},
    {"filename": ARM, "requires-python": ">=3.10", "upload-time": "2025-03-04T23:00:00Z"},
    {"filename": "sglang-0.9.1.tar.gz", "requires-python": ">=3.9,<4", "upload-time": "2025-02-02T00:00:00Z"},
    {"filename": SPLIT, "core-metadata": "sha256=0", "upload-time": "2025-01-01T00:00:00Z"},
    {"filename": "sglang-0.9.0.tar.gz", "upload-time": "2025-01-02T00:00:00Z"},
    {"filename": "sglang-0.8.0.win32.exe"},
]
REQUIRES = [
    "numpy", "requests==2.0", 'triton==3.0; sys_platform == "win32"', 'outlines==0.1; extra == "dev"',
    'sglang[runtime_common]; extra == "srt"', 'xgrammar==0.1.10; extra == "math"',
    'sglang[math]; sys_platform == "linux" and extra == "runtime-common"',
    'torch==2.5.1; platform_machine == "x86_64" and extra == "srt"', 'torch==2.5.0; platform_machine == "aarch64" and extra == "srt"',
    'vllm==0.6.0; sys_platform == "darwin" and extra == "srt"', 'transformers<5,>=4.40; extra == "runtime-common"',
]  # fmt: skip
HEAD = "Metadata-Version: 2.1\nName: sglang\nVersion: {}\nRequires-Python: {}\n"
EXTRAS = HEAD.format("0.9.0", ">=3.8") + "".join(
    [f"Provides-Extra: {name}\n" for name in ("srt", "Runtime_Common", "math", "dev")]
    + [f"Requires-Dist: {line}\n" for line in REQUIRES]
)
PLAIN = HEAD.format("0.10.0", ">=3.11") + "Provides-Extra: all\nRequires-Dist: torch==2.6.0\n"
PLAIN += 'Requires-Dist: sgl_kernel==0.0.5\nRequires-Dist: torchao==0.9; extra == "all"\n'
ANY = [{"abi": "none", "platform": "any", "python": "py3"}]
ROWS: dict[str, dict[str, Any]] = {
    "0.9.0": {
        "date": "2025-01-01", "yanked": False, "requires_python": ">=3.8", "wheels": ANY, "sdist": True,
        "extras": ["dev", "math", "runtime-common", "srt"], "pins": {"numpy": ""}, "runtime_extra": "srt",
        "extra_pins": {"torch": "==2.5.1", "transformers": "<5,>=4.40", "xgrammar": "==0.1.10"},
    },
    "0.9.1": {"date": "2025-02-02", "yanked": False, "requires_python": ">=3.9,<4", "sdist": True},
    "0.10.0": {
        "date": "2025-03-04", "yanked": False, "requires_python": ">=3.10", "sdist": False,
        "wheels": [{"abi": "abi3", "platform": f"manylinux2014_{chip}", "python": "cp310"} for chip in ("aarch64", "x86_64")],
        "extras": ["all"], "pins": {"sgl-kernel": "==0.0.5", "torch": "==2.6.0"},
    },
    "0.10.1": {
        "yanked": True, "requires_python": ">=3.11", "wheels": ANY, "sdist": False,
        "extras": ["all"], "pins": {"sgl-kernel": "==0.0.5", "torch": "==2.6.0"},
    },
}  # fmt: skip


def wheel(member: str, text: str, *, damaged: bool = False) -> bytes:
    load, whole = random.Random(0).randbytes(320_000), io.BytesIO()
    with zipfile.ZipFile(whole, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in (("sglang/load.bin", load), (member, text.encode()), ("sglang/tail.bin", load[:80_000])):
            archive.writestr(name, content)
        start = archive.getinfo(member).header_offset + 30 + len(member)
    data = whole.getvalue()
    return data[:start] + b"\xff" * 20 + data[start + 20 :] if damaged else data


def json_page(files: list[dict[str, str]], digest: str = "0") -> bytes:
    rows: list[dict[str, Any]] = [{"url": f"../../files/{file['filename']}", "hashes": {}, **file} for file in files]
    rows[4]["core-metadata"] = {"sha256": digest}
    return json.dumps({"meta": {"api-version": "1.1"}, "name": "sglang", "files": rows}).encode()


def html_page(files: list[dict[str, str]]) -> bytes:
    lines = ["<!DOCTYPE html><html><body><h1>Links for sglang</h1>"]
    for file in files:
        attributes = "".join(f' data-{key}="{html.escape(value)}"' for key, value in file.items() if key != "filename")
        lines.append('<a href="../../files/{0}#sha256=0"{1}>{0}</a><br/>'.format(file["filename"], attributes))
    return "\n".join(lines).encode()


@dataclass(frozen=True)
class Route:
    body: bytes
    kind: str = "application/octet-stream"
    ranges: bool = False
    statuses: tuple[int, ...] = ()  # answered first, one per request
    send: int | None = None  # bytes of each answer that are sent before the connection ends


class Index(ThreadingHTTPServer):
    daemon_threads = False  # closing waits for every answer; Handler.timeout bounds each

    def __init__(self, routes: dict[str, Route]) -> None:
        self.routes = routes
        self.answers: defaultdict[str, list[tuple[int, int]]] = defaultdict(list)
        super().__init__(("127.0.0.1", 0), Handler)

    def change(self, path: str, **changes: Any) -> None:
        self.routes[path] = replace(self.routes[path], **changes)


class Handler(BaseHTTPRequestHandler):
    timeout = 3

    def do_GET(self) -> None:
        index = cast("Index", self.server)
        route = index.routes.get(self.path, Route(b"", statuses=(404,) * 9))
        status, body, span = 200, route.body, re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range", ""))
        headers = [("Content-Type", route.kind), ("Retry-After", "86400")]
        if rest := route.statuses[len(index.answers[self.path]) :]:
            status, body = rest[0], b""
        elif route.ranges and span:
            status, body = 206, body[int(span[1]) : int(span[2]) + 1]
            headers.append(("Content-Range", f"bytes {span[1]}-{span[2]}/{len(route.body)}"))
        index.answers[self.path].append((status, len(body)))
        self.send_response(status)
        for header in [*headers, ("Content-Length", str(len(body)))]:
            self.send_header(*header)
        self.end_headers()
        with suppress(ConnectionError):
            self.wfile.write(body[: route.send])

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the name that is overridden
        pass


@pytest.fixture
def index() -> Iterator[Index]:
    routes = {
        PAGE: Route(json_page(FILES), JSON),
        BESIDE: Route(EXTRAS.encode()),
        LINUX_URL: Route(wheel(METADATA, PLAIN), ranges=True),
        YANKED_URL: Route(wheel(METADATA, PLAIN.replace("0.10.0", "0.10.1"))),
    }
    with Index(routes) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join(5)


@pytest.fixture(autouse=True)
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    monkeypatch.setattr(time, "sleep", (slept := list[float]()).append)
    return slept


@pytest.fixture
def refresh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Refresh:
    def run(port: int) -> tuple[int, str, str, dict[str, str]]:
        cache = tmp_path.with_name(f"{tmp_path.name}-cache")
        (tmp_path / "sglang.json").write_text("old")
        url = f"http://user:secret@127.0.0.1:{port}/simple"
        code, texts = (
            command(["rules", "refresh", "sglang", "--index-url", url, "--out", str(tmp_path), "--cache", str(cache)]),
            capsys.readouterr(),
        )
        files = {path.name: path.read_text() for path in tmp_path.iterdir() if path.is_file()}
        return code, texts.out, texts.err.removeprefix("sgldoctor: "), files

    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.delenv("PIP_CERT", raising=False)
    return run


@pytest.mark.parametrize(("page", "kind"), [(json_page, JSON), (html_page, HTML)])
def test_rows(page: Any, kind: str, index: Index, refresh: Refresh, tmp_path: Path) -> None:
    index.change(PAGE, body=page(FILES), kind=kind)
    *said, files = refresh(index.server_port)
    code, out, err = said
    assert (code, out, list(files)) == (0, f"wrote {tmp_path}/sglang.json\n", ["sglang.json"])
    sent = sum(size for answers in index.answers.values() for _, size in answers)
    assert re.fullmatch(rf"sglang: read {sent / 1e6:.1f} MB in \d+ s\n", str(err))
    table = json.loads(files["sglang.json"])
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", table.pop("generated_at"))
    assert table == {"schema_version": 1, "source": SOURCE, "releases": ROWS}
    assert list(table["releases"]) == list(ROWS)
    parts = index.answers.pop(LINUX_URL)
    assert {status for status, _ in parts} == {206}
    assert sum(size for _, size in parts) < len(index.routes[LINUX_URL].body) // 2
    assert index.answers[YANKED_URL] == [(200, len(index.routes[YANKED_URL].body))]
    assert {path: len(answers) for path, answers in index.answers.items()} == {PAGE: 1, BESIDE: 1, YANKED_URL: 1}


@pytest.mark.parametrize("path", [PAGE, BESIDE, LINUX_URL])
@pytest.mark.parametrize("status", [500, 503])
def test_passing_trouble(path: str, status: int, index: Index, refresh: Refresh, pauses: list[float]) -> None:
    index.change(path, statuses=(status, status))
    assert json.loads(refresh(index.server_port)[3]["sglang.json"])["releases"] == ROWS
    assert [status for status, _ in index.answers[path]][:2] == [status, status]
    assert pauses == [2]  # a server cannot ask for a day


BAD: dict[str, tuple[str, dict[str, Any], str]] = {
    "always 500": (PAGE, {"statuses": (500,) * 9}, f"{DOWN}: RetryError"),
    "no such project": (PAGE, {"statuses": (404,)}, "the package index answers 404 for sglang"),
    "half a page": (PAGE, {"send": 300}, f"{DOWN}: ChunkedEncodingError"),
    "no JSON": (PAGE, {"body": b'{"files": ['}, "the package index answers for sglang with what is no list of files"),
    "other JSON": (PAGE, {"body": b'{"projects": []}'}, "the package index answers for sglang with what is no list of files"),
    "a login page": (PAGE, {"body": b"<a href=/>Log in</a>", "kind": HTML}, "the package index lists no release of sglang"),
    "half a METADATA": (BESIDE, {"send": 99}, f"the package index does not answer for {SPLIT}.metadata: ChunkedEncodingError"),
    "no METADATA": (BESIDE, {"body": b"<html>Welcome</html>"}, f"the METADATA of {SPLIT} is not that of this release"),
    "other METADATA": (BESIDE, {"body": EXTRAS.replace("sglang", "other").encode()}, f"the METADATA of {SPLIT} is not that of this release"),
    "not its METADATA": (BESIDE, {"body": PLAIN.encode()}, f"the METADATA of {SPLIT} is not that of this release"),
    "bad requirement": (BESIDE, {"body": EXTRAS.encode() + b"Requires-Dist: torch=>2\n"}, f"the METADATA of {SPLIT} holds a bad requirement: torch=>2"),
    "half a wheel": (YANKED_URL, {"send": 999}, f"the package index does not answer for {YANKED}: ChunkedEncodingError"),
    "half a part": (LINUX_URL, {"send": 999}, f"the package index does not answer for {LINUX}: ChunkedEncodingError"),
    "another METADATA than listed": (PAGE, {"body": json_page(FILES, digest="0" * 64)}, f"the METADATA of {SPLIT} is not the file that the package index lists: its SHA-256 digest is another"),
    "no wheel": (YANKED_URL, {"body": b"x" * 99}, f"{YANKED} is no readable wheel: File is not a zip file"),
    "empty wheel": (YANKED_URL, {"body": wheel("a", "")}, f"{YANKED} holds no METADATA"),
    "damaged wheel": (YANKED_URL, {"body": wheel(METADATA, PLAIN, damaged=True)}, f"{YANKED} is no readable wheel: Error -3 while decompressing data: invalid block type"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_lasting_trouble(case: str, index: Index, refresh: Refresh, pauses: list[float]) -> None:
    path, changes, message = BAD[case]
    index.change(path, **changes)
    assert refresh(index.server_port) == (3, "", f"{message}\n", {"sglang.json": "old"})
    assert pauses == ([2, 4, 8] if case == "always 500" else [])


def test_server_down(refresh: Refresh, pauses: list[float]) -> None:
    with socket.socket() as deaf:
        deaf.bind(("127.0.0.1", 0))  # bound and not listening: every connection is refused
        assert refresh(deaf.getsockname()[1]) == (3, "", f"{DOWN}: ConnectionError\n", {"sglang.json": "old"})
    assert pauses == [2, 4, 8]


def test_no_room(index: Index, refresh: Refresh, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write = Path.write_text

    def full(path: Path, text: str, *arguments: Any) -> int:
        if path.name.startswith("sglang.json."):  # the new table, before it takes the place of the old one
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return write(path, text, *arguments)

    monkeypatch.setattr(Path, "write_text", full)
    message = f"The tables of sglang cannot be written to {tmp_path}: No space left on device.\n"
    assert refresh(index.server_port)[:3] == (3, "", message)
    assert (tmp_path / "sglang.json").read_text() != ""
    assert [path.name for path in tmp_path.iterdir()] == ["sglang.json"]


def test_rows_that_would_be_lost_stop_the_run(
    index: Index, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    old = json.dumps({"generated_at": "2026-01-01T00:00:00Z", "releases": {"0.0.1": {"date": "2024-01-01"}}})
    (tmp_path / "sglang.json").write_text(old)
    url = f"http://127.0.0.1:{index.server_port}/simple"
    arguments = ["rules", "refresh", "sglang", "--index-url", url, "--out", str(tmp_path)]
    arguments += ["--cache", str(tmp_path / "cache")]
    assert command(arguments) == 1
    assert capsys.readouterr().err == (
        "sgldoctor: sglang.json was not written: 1 of its rows would be lost or changed.\n"
        "  releases.0.0.1 is lost\nIf that is right, run again with --accept-changes.\n"
    )
    assert (tmp_path / "sglang.json").read_text() == old
    assert command([*arguments, "--accept-changes"]) == 0
    assert "0.0.1" not in json.loads((tmp_path / "sglang.json").read_text())["releases"]
