"""A file of published knowledge: all generated tables in one, taken only as its digest and its schema say.

It holds tables and nothing that is ever run: no rule, no command, no code.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import re
import zipfile
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from packaging.version import Version

from sgldoctor.errors import OutputError, SgldoctorError, UsageError
from sgldoctor.refresh.index import _UNREADABLE, PackageIndexError
from sgldoctor.refresh.sglang import version_of
from sgldoctor.refresh.writing import replace
from sgldoctor.schema import schema_text

if TYPE_CHECKING:
    from pathlib import Path

    from sgldoctor.refresh.index import PackageIndex

PROJECT = "sgldoctor"
LARGEST = 64 << 20
"""Bytes of a file of knowledge, unpacked: ninety times of what it had in November 2026."""

_DIGEST = re.compile(r"[0-9a-f]{64}")
_IN_WHEEL = re.compile(r"sgldoctor/data/rules/knowledge/([a-z_]+\.json)")


class KnowledgeError(SgldoctorError):
    """A file of knowledge cannot be taken: it is not the one that was announced, or no such file."""


def tables() -> list[str]:
    """Return the names of the generated tables, which alone are published."""
    return sorted(json.loads(schema_text("knowledge"))["properties"]["tables"]["properties"])


def export(folder: Path, path: Path) -> str:
    """Write the tables of a folder into one file, its digest beside it, and return the digest.

    Args:
        folder: of the tables.
        path: of the file; ``.sha256`` is appended for the digest.

    Raises:
        OutputError: it cannot be written.
        KnowledgeError: a table is missing or not as its schema says.
    """
    try:
        held = {name: json.loads((folder / name).read_text("utf-8")) for name in tables()}
    except (OSError, ValueError) as error:
        raise KnowledgeError(f"The tables in {folder} cannot be read: {error}") from error
    _check(held, str(folder))
    content = gzip.compress(json.dumps({"schema_version": 1, "tables": held}).encode(), mtime=0)
    digest = hashlib.sha256(content).hexdigest()
    try:
        path.write_bytes(content)
        replace(path.with_name(f"{path.name}.sha256"), f"{digest}  {path.name}\n")
    except OSError as error:
        raise OutputError(f"{path} cannot be written: {error.strerror or error}.") from error
    return digest


def read(content: bytes, digest: str, name: str) -> dict[str, Any]:
    """Return the tables of a file of knowledge, or of a wheel of this project.

    Args:
        content: the file.
        digest: its SHA-256 as it was announced.
        name: for errors.

    Raises:
        KnowledgeError: its digest is another, or it is damaged, or not as the schema says.
    """
    if hashlib.sha256(content).hexdigest() != digest.lower():
        raise KnowledgeError(f"{name} is not the file that was announced: its SHA-256 digest is another.")
    try:
        held = _of_wheel(content) if content[:2] == b"PK" else _of_file(content)
    except (*_UNREADABLE, OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise KnowledgeError(f"{name} is no file of knowledge: {error}") from error
    _check(held, name)
    return held


def announced(digest: str | None, beside: str | None, name: str) -> str:
    """Return the digest that was given, or that of the text beside a file.

    Raises:
        UsageError: there is none, or it is no digest.
    """
    text = (digest or "".join((beside or "").split(maxsplit=1)[:1])).lower()
    if not text:
        raise UsageError(f"No digest is known for {name}. Name it with --sha256, or put {name}.sha256 beside it.")
    if not _DIGEST.fullmatch(text):
        raise UsageError(f"{text[:80]!r} is no SHA-256 digest: it must be 64 hexadecimal digits.")
    return text


def newest_release(index: PackageIndex) -> tuple[str, bytes, str]:
    """Return name, content and digest of the newest wheel of this project on the package index.

    Raises:
        PackageIndexError: the index answers with another file than it lists.
        KnowledgeError: it lists none, or no digest of it, or does not answer.
    """
    try:
        files = index.files(PROJECT)
    except PackageIndexError as error:
        raise KnowledgeError(f"No release of {PROJECT} is found: {error}. Name a file or a URL instead.") from error
    listed = [file for file in files if file.name.endswith(".whl") and not file.yanked]
    found = max(listed, key=lambda file: version_of(file.name) or Version("0"), default=None)
    if found is None or found.sha256 is None:
        lacks = "no wheel" if found is None else f"no digest of {found.name}"
        raise KnowledgeError(f"The package index lists {lacks} of {PROJECT}. Name a file or a URL instead.")
    return found.name, index.whole(found), found.sha256


def _of_file(content: bytes) -> dict[str, Any]:
    with gzip.GzipFile(fileobj=io.BytesIO(content)) as packed:
        text = packed.read(LARGEST + 1)
    if len(text) > LARGEST:
        raise ValueError(f"it unpacks to more than {LARGEST >> 20} MiB")
    document = json.loads(text)
    if document.get("schema_version") != 1:
        raise ValueError("it was written for another version of sgldoctor")
    return dict(document["tables"])


def _of_wheel(content: bytes) -> dict[str, Any]:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        members = {match[1]: info for info in archive.infolist() if (match := _IN_WHEEL.fullmatch(info.filename))}
        if sum(info.file_size for info in members.values()) > LARGEST:
            raise ValueError(f"it unpacks to more than {LARGEST >> 20} MiB")
        return {name: json.loads(archive.read(info)) for name, info in members.items()}


def _check(held: dict[str, Any], name: str) -> None:
    import jsonschema  # noqa: PLC0415 - only here, and slow to import

    if not held:
        raise KnowledgeError(f"{name} holds no tables.")
    validator = jsonschema.Draft202012Validator(json.loads(schema_text("knowledge")))
    error = next(validator.iter_errors({"schema_version": 1, "tables": held}), None)
    if error is not None:
        place = ".".join(map(str, list(error.absolute_path)[1:])) or "the file"
        raise KnowledgeError(f"{name} is not as its schema says: {place}: {error.message[:200]}")


def is_url(source: str) -> bool:
    """Return whether a source is fetched rather than opened."""
    return urlsplit(source).scheme in {"http", "https"}
