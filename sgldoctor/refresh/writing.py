"""How a generated table stands in its file: stable, and one row per line, so that a change shows as few lines."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


def lined(document: Mapping[str, Any]) -> str:
    """Return a table as JSON: its fields in the order given, and each row of those that hold rows on a line."""
    parts = (f"{json.dumps(key)}:{_rows(value)}" for key, value in document.items())
    return "{" + ",\n".join(parts) + "}\n"


def _rows(value: Any) -> str:  # noqa: ANN401 - any JSON value
    if isinstance(value, dict) and any(isinstance(row, dict | list) for row in value.values()):
        return "{\n" + ",\n".join(f"{json.dumps(name)}:{_row(row)}" for name, row in value.items()) + "\n}"
    if isinstance(value, list) and any(isinstance(row, dict | list) for row in value):
        return "[\n" + ",\n".join(map(_compact, value)) + "\n]"
    return _compact(value)


def replace(path: Path, text: str) -> Path:
    """Write a file whole or not at all, and return its path."""
    beside = path.with_name(f"{path.name}.new")
    beside.write_text(text, "utf-8")
    return beside.replace(path)


def _row(row: Any) -> str:  # noqa: ANN401 - any JSON value
    holds_rows = isinstance(row, dict) and row and all(isinstance(value, dict) for value in row.values())
    return _rows(row) if holds_rows else _compact(row)


def _compact(value: object) -> str:
    """Return JSON on one line, keys in the order of the alphabet."""
    return json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
