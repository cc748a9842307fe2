"""Writing files so that nobody ever sees half of one."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from sgldoctor.errors import OutputError

if TYPE_CHECKING:
    from pathlib import Path


def write_text(path: Path, text: str) -> None:
    """Write a file under a temporary name beside its place, then rename it.

    Raises:
        OutputError: the folder is missing, not writable, or full.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        temporary.write_text(text, encoding="utf-8")
        temporary.replace(path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise OutputError(f"Cannot write {path}: {error.strerror}. Name another file.") from error
