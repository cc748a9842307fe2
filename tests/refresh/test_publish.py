"""Knowledge is published as one file and taken only as its digest and its schema say."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import shutil
import zipfile
from pathlib import Path
from typing import Any

import pytest

from sgldoctor.cli.app import run
from sgldoctor.refresh import publish
from sgldoctor.rules.load import rules_folder
from tests.refresh.test_members import serving

pytestmark = pytest.mark.allow_hosts(["127.0.0.1"])
SHIPPED = rules_folder() / "knowledge"
OLD = "2025-01-01T00:00:00Z"


@pytest.fixture
def here(tmp_path: Path) -> Path:
    """Return a folder of tables in which one is old."""
    folder = tmp_path / "knowledge"
    folder.mkdir()
    for name in publish.tables():
        shutil.copy(SHIPPED / name, folder)
    change(folder / "health.json", generated_at=OLD)
    return folder


def change(path: Path, **fields: Any) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **fields}))


def files(folder: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in folder.iterdir()}


def packed(tables: dict[str, Any], version: int = 1) -> bytes:
    return gzip.compress(json.dumps({"schema_version": version, "tables": tables}).encode())


def digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def health(**fields: Any) -> dict[str, Any]:
    return {"health.json": {**json.loads((SHIPPED / "health.json").read_text()), **fields}}


def test_what_is_exported_is_taken_where_it_is_newer(
    here: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "knowledge.json.gz"
    assert run(["rules", "export", str(file)]) == 0
    told = digest(file.read_bytes())
    assert file.with_name("knowledge.json.gz.sha256").read_text() == f"{told}  knowledge.json.gz\n"
    assert capsys.readouterr().out == f"wrote {file}\nSHA-256 {told}\n"
    assert run(["rules", "update", str(file), "--out", str(here)]) == 0
    assert capsys.readouterr().out == f"wrote {here}/health.json\n"
    assert files(here) == {name: (SHIPPED / name).read_text("utf-8") for name in publish.tables()}
    assert run(["rules", "update", str(file), "--out", str(here)]) == 0
    assert capsys.readouterr().out == f"Nothing in {file} is newer than what is here.\n"


def test_from_a_url(here: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    content = packed(health())
    beside = f"{digest(content)}  k.json.gz\n".encode()
    with serving({"/k.json.gz": content, "/k.json.gz.sha256": beside}) as server:
        assert run(["rules", "update", f"http://127.0.0.1:{server.server_port}/k.json.gz", "--out", str(here)]) == 0
    assert capsys.readouterr().out == f"wrote {here}/health.json\n"


def test_from_the_newest_release_on_the_index(
    here: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    whole = io.BytesIO()
    with zipfile.ZipFile(whole, "w") as archive:
        archive.writestr("sgldoctor/data/rules/knowledge/health.json", json.dumps(health()["health.json"]))
        archive.writestr("sgldoctor/data/rules/problems/kernel/evil.yaml", "id: evil")
    names = ["sgldoctor-9.10-py3-none-any.whl", "sgldoctor-9.9-py3-none-any.whl"]
    rows = [{"filename": n, "url": f"/files/{n}", "hashes": {"sha256": digest(whole.getvalue())}} for n in names]
    page = {"/simple/sgldoctor/": json.dumps({"files": rows}).encode(), f"/files/{names[0]}": whole.getvalue()}
    before = set(files(here))
    with serving(page) as server:
        url = ["--index-url", f"http://127.0.0.1:{server.server_port}/simple"]
        assert run(["rules", "update", *url, "--out", str(here)]) == 0
        assert capsys.readouterr().out == f"wrote {here}/health.json\n"
        server.files[f"/files/{names[0]}"] = whole.getvalue() + b" "
        assert run(["rules", "update", *url, "--out", str(here)]) == 3
        problem = f"{names[0]} is not the file that the package index lists: its SHA-256 digest is another"
        assert capsys.readouterr().err == f"sgldoctor: {problem}\n"
        server.files["/simple/sgldoctor/"] = b'{"files": []}'
        assert run(["rules", "update", *url, "--out", str(here)]) == 3
        problem = "The package index lists no wheel of sgldoctor. Name a file or a URL instead."
        assert capsys.readouterr().err == f"sgldoctor: {problem}\n"
    assert set(files(here)) == before


RELEASE = "0.5.9"
BAD_ROW = {"pythons": ["3.12"], "resolves": True, "works": False, "versions": {}, "reason": None, "override": ["a; rm"]}
BAD: dict[str, tuple[bytes, str]] = {
    "no archive": (b"hello", "{} is no file of knowledge: Not a gzipped file (b'he')"),
    "half a file": (packed(health())[:-9], "{} is no file of knowledge: Compressed file ended before the end-of-stream marker was reached"),
    "no JSON": (gzip.compress(b"{"), "{} is no file of knowledge: Expecting property name enclosed in double quotes: line 1 column 2 (char 1)"),
    "for another version": (packed(health(), 2), "{} is no file of knowledge: it was written for another version of sgldoctor"),
    "too large": (gzip.compress(b" " * (publish.LARGEST + 1)), "{} is no file of knowledge: it unpacks to more than 64 MiB"),
    "nothing": (packed({}), "{} holds no tables."),
    "a rule": (packed({"problems/evil.yaml": {}}), "{} is not as its schema says: the file: Additional properties are not allowed ('problems/evil.yaml' was unexpected)"),
    "another path": (packed({"../health.json": {}}), "{} is not as its schema says: the file: Additional properties are not allowed ('../health.json' was unexpected)"),
    "a command": (
        packed(health(releases={RELEASE: {"x86_64": [BAD_ROW]}})),
        "{} is not as its schema says: health.json.releases.0.5.9.x86_64.0.override: ['a; rm'] is not valid under any of the given schemas",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_what_is_no_knowledge_is_refused(
    case: str, here: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    content, message = BAD[case]
    (file := tmp_path / "k.json.gz").write_bytes(content)
    before = files(here)
    assert run(["rules", "update", str(file), "--sha256", digest(content), "--out", str(here)]) == 3
    assert capsys.readouterr().err == f"sgldoctor: {message.format(file)}\n"
    assert files(here) == before


def test_a_digest_is_asked_for_and_must_be_right(
    here: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (file := tmp_path / "k.json.gz").write_bytes(packed(health()))
    place = ["--out", str(here)]
    assert run(["rules", "update", str(file), *place]) == 2
    assert capsys.readouterr().err == (
        f"sgldoctor: No digest is known for {file}. Name it with --sha256, or put {file}.sha256 beside it.\n"
    )
    assert run(["rules", "update", str(file), "--sha256", "0" * 64, *place]) == 3
    assert capsys.readouterr().err == (
        f"sgldoctor: {file} is not the file that was announced: its SHA-256 digest is another.\n"
    )
    assert json.loads((here / "health.json").read_text())["generated_at"] == OLD


def test_rows_that_would_be_lost_stop_the_update(
    here: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    known = health()["health.json"]["releases"]
    fewer = packed(health(releases={release: row for release, row in known.items() if release != RELEASE}))
    (file := tmp_path / "k.json.gz").write_bytes(fewer)
    arguments = ["rules", "update", str(file), "--sha256", digest(fewer), "--out", str(here)]
    assert run(arguments) == 1
    assert f"  releases.{RELEASE} is lost\n" in capsys.readouterr().err
    assert json.loads((here / "health.json").read_text())["generated_at"] == OLD
    assert run([*arguments, "--accept-changes"]) == 0
    assert RELEASE not in json.loads((here / "health.json").read_text())["releases"]
