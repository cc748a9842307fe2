"""Holding an installed distribution against its own RECORD: what is missing, cut short or changed."""

from __future__ import annotations

import csv
import os
import re
import struct
from typing import Any

# Shared libraries, and the module that an import runs first; the other files change what works, not whether.
_DECISIVE = re.compile(
    r"^(?:.*\.so(?:\.\d+)*|[^/]+/__init__\.py|(?:sgl_kernel|torch|torchgen)/[^/]+\.py|torch/cuda/__init__\.py)$"
)
_ELF_HEADER = struct.Struct("<16s HHIQQQIHHHHHH")


def damage(record: str) -> list[dict[str, Any]]:
    """Return ``{path, problem}`` for each decisive file that is not as it was installed.

    Problems: ``missing``, ``module missing`` (a Python module that is gone or empty), ``changed`` (a module of another
    size), ``truncated`` (a library whose section table lies beyond its end) and ``resized`` (a whole library of another
    size, which is no fault by itself: ``strip`` and ``patchelf`` leave such behind).

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
    module = path.endswith(".py")
    try:
        actual = os.stat(path).st_size
    except FileNotFoundError:
        return "module missing" if module and not path.endswith("/__init__.py") else "missing"
    except OSError:
        return None
    if not size.isdigit() or actual == int(size):
        return None
    if module:
        return "module missing" if actual == 0 else "changed"
    return "truncated" if _is_truncated(path, actual) else "resized"


def _is_truncated(path: str, actual: int) -> bool:
    with open(path, "rb") as file:
        header = file.read(_ELF_HEADER.size)
    if len(header) < _ELF_HEADER.size or header[:4] != b"\x7fELF":
        return True
    fields = _ELF_HEADER.unpack(header)
    section_table, entry_size, entries = fields[6], fields[11], fields[12]
    return bool(section_table + entry_size * entries > actual)
