"""Holding an installed distribution against its own RECORD: what is missing, cut short or changed."""

from __future__ import annotations

import csv
import os
import re
import struct
from typing import Any

# Shared libraries, and the module that an import runs first; the other files change what works, not whether.
_DECISIVE = re.compile(r"^(?:.*\.so(?:\.\d+)*|[^/]+/__init__\.py)$")
_ELF_HEADER = struct.Struct("<16s HHIQQQIHHHHHH")


def damage(record: str) -> list[dict[str, Any]]:
    """Return ``{path, problem}`` for each decisive file that is ``missing``, ``truncated`` or ``changed``.

    A library whose size differs is truncated only if its section table lies beyond its end; ``strip`` and
    ``patchelf`` change sizes too and leave it whole.

    Args:
        record: the RECORD file, lines such as ``torch/__init__.py,sha256=...,104539``.

    Raises:
        OSError: the RECORD cannot be read.
    """
    base = os.path.dirname(os.path.dirname(record))
    with open(record, encoding="utf-8", errors="replace", newline="") as file:
        rows = [row for row in csv.reader(file) if len(row) == 3 and _DECISIVE.match(row[0])]
    found = []
    for name, _digest, size in rows:
        problem = _problem(os.path.join(base, name), size)
        if problem:
            found.append({"path": name, "problem": problem})
    return found


def _problem(path: str, size: str) -> str | None:
    try:
        actual = os.stat(path).st_size
    except FileNotFoundError:
        return "missing"
    except OSError:
        return None
    if not size.isdigit() or actual == int(size):
        return None
    if path.endswith(".py"):
        return "changed"
    return "truncated" if _is_truncated(path, actual) else None


def _is_truncated(path: str, actual: int) -> bool:
    with open(path, "rb") as file:
        header = file.read(_ELF_HEADER.size)
    if len(header) < _ELF_HEADER.size or header[:4] != b"\x7fELF":
        return True
    fields = _ELF_HEADER.unpack(header)
    section_table, entry_size, entries = fields[6], fields[11], fields[12]
    return bool(section_table + entry_size * entries > actual)
