"""Writing files so that nobody ever sees half of one."""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING

from sgldoctor.errors import OutputError

if TYPE_CHECKING:
    from pathlib import Path


def write_text(path: Path, text: str) -> None:
    """Write a file under a temporary name beside its place, then rename it.

    Links are followed; a device or a pipe is written to as it stands, and never replaced.

    Raises:
        OutputError: there is no such place, or it is not writable, or full.
    """
    try:
        if path.is_dir() or not path.name:
            raise OutputError(f"Cannot write {path}: it is a folder. Name a file.")
        if path.exists() and not path.is_file():
            path.write_text(text, encoding="utf-8")
            return
        place = path.resolve()
        temporary = place.with_name(f".{place.name}.{os.getpid()}.tmp")
        try:
            temporary.write_text(text, encoding="utf-8")
            temporary.replace(place)
        finally:
            with suppress(OSError):
                temporary.unlink(missing_ok=True)
    except OSError as error:
        raise OutputError(f"Cannot write {path}: {error.strerror}. Name another file.") from None
