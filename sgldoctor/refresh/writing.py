"""How a generated table stands in its file: stable, and one row per line, so that a change shows as few lines."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


def lined(head: Mapping[str, Any], tables: Mapping[str, Mapping[str, Any]]) -> str:
    """Return a JSON document: the fields of the head as they are, then each table with one row per line.

    Rows stand in the order given, the keys within them in that of the alphabet.
    """
    parts = [f"{json.dumps(key)}:{_compact(value)}" for key, value in head.items()]
    parts += [f"{json.dumps(key)}:{rows(table)}" for key, table in tables.items()]
    return "{" + ",\n".join(parts) + "}\n"


def rows(table: Mapping[str, Any]) -> str:
    """Return one table as JSON with one row per line."""
    lines = (f"{json.dumps(name)}:{_compact(row)}" for name, row in table.items())
    return f"{{\n{(',' + chr(10)).join(lines)}\n}}"


def replace(path: Path, text: str) -> Path:
    """Write a file whole or not at all, and return its path."""
    beside = path.with_name(f"{path.name}.new")
    beside.write_text(text, "utf-8")
    return beside.replace(path)


def _compact(value: object) -> str:
    return json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
