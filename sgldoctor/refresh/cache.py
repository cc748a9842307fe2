"""What files of the package index said, kept by their digests: a file that changes under its name is read again."""

from __future__ import annotations

import gzip
import json
import zlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

    from sgldoctor.refresh.index import IndexFile

_DIGITS = 16  # of a digest: enough to tell the few files that ever had one name


def place(folder: Path, file: IndexFile, reader: str) -> Path:
    """Return where the answer of a file is kept.

    Args:
        folder: the cache, which must exist.
        file: as the index lists it.
        reader: who read it, with a number that is raised whenever it reads otherwise.
    """
    return folder / f"{file.name}.{(file.sha256 or 'nodigest')[:_DIGITS]}.{reader}.json.gz"


def load(path: Path) -> Any:  # noqa: ANN401 - any JSON value
    """Return what is kept, or None where nothing is, or nothing that can be read."""
    try:
        return json.loads(gzip.decompress(path.read_bytes()))
    except (FileNotFoundError, gzip.BadGzipFile, EOFError, zlib.error, ValueError):
        return None


def store(path: Path, answer: Any) -> None:  # noqa: ANN401 - any JSON value
    """Keep an answer, whole or not at all."""
    beside = path.with_suffix(".new")
    beside.write_bytes(gzip.compress(json.dumps(answer).encode()))
    beside.replace(path)
