"""The matrix of releases, as text, JSON, or one HTML page."""

from __future__ import annotations

import json
import textwrap
from html import escape
from typing import TYPE_CHECKING, Any

from sgldoctor.matrix import Status, as_record, cuda_of
from sgldoctor.rules.knowledge import OLD_AFTER

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sgldoctor.matrix import Cell, Target

SCHEMA_VERSION = 1
_COLOURS = {
    Status.WORKS: "#c8e6c9", Status.OVERRIDE: "#fff3c4", Status.BROKEN: "#ffd8b8", Status.DEAD: "#f5c2c2",
    Status.UNKNOWN: "#e3e3e3",
}  # fmt: skip
_MARKS = {
    Status.WORKS: "ok", Status.OVERRIDE: "override", Status.BROKEN: "no", Status.DEAD: "dead", Status.UNKNOWN: "?",
}  # fmt: skip


def described(target: Target) -> str:
    """Return a machine in words."""
    parts = [target.gpu.name if target.gpu else "any GPU", f"Python {target.python}", target.arch]
    parts += [f"driver {target.driver}"] if target.driver else []
    parts += [f"glibc {target.glibc}"] if target.glibc else []
    return ", ".join(parts)


def headline(cells: list[Cell], newest: Cell | None, target: Target) -> str:
    """Return the answer in a sentence: what to install, or that nothing works and why the newest does not."""
    if newest:
        return f"sglang {newest.release} is the newest release that works on {described(target)}."
    why = next((f": {cell.reason}" for cell in cells if cell.reason), "")
    return f"No release is known to work on {described(target)}{why}."


def lines(
    cells: list[Cell], newest: Cell | None, target: Target, width: int, age: dict[str, Any]
) -> Iterator[tuple[str, str]]:
    """Yield the lines of the table, each with its style; neighbours that fail for one reason share a row."""
    yield from ((line, "bold") for line in textwrap.wrap(headline(cells, newest, target), width))
    yield "", ""
    styles = {Status.WORKS: "green", Status.OVERRIDE: "yellow", Status.BROKEN: "red", Status.DEAD: "red"}
    for row in _runs(cells):
        first, last = row[0], row[-1]
        name = first.release if first is last else f"{last.release} to {first.release}"
        text = _installs(first) if first.status is Status.WORKS else first.reason
        if first.override:
            text = f"with {', '.join(first.override)}: {text}"
        head = f"{name:<26} {_MARKS[first.status]:<9}"
        room = max(width - len(head), 30)
        wrapped = textwrap.wrap(text, room, break_long_words=False, break_on_hyphens=False) or [""]
        for number, part in enumerate(wrapped):
            yield f"{head if number == 0 else ' ' * len(head)}{part}".rstrip(), styles.get(first.status, "")
    yield "", ""
    old = age["days"] > OLD_AFTER
    advice = ", which is long ago: newer releases are missing. Read them with: sgldoctor rules refresh" if old else ""
    yield f"Resolved on {age['generated_at'][:10]}{advice}.", "yellow" if old else "dim"


def _runs(cells: list[Cell]) -> list[list[Cell]]:
    runs: list[list[Cell]] = []
    for cell in cells:
        last = runs[-1][-1] if runs else None
        alike = last and last.status is cell.status and last.status is not Status.WORKS
        if alike and last and (last.reason, last.override) == (cell.reason, cell.override):
            runs[-1].append(cell)
        else:
            runs.append([cell])
    return runs


def _installs(cell: Cell) -> str:
    names = ("torch", "flashinfer-python", "sglang-kernel", "sgl-kernel", "transformers")
    return ", ".join(f"{name} {cell.versions[name]}" for name in names if name in cell.versions)


def as_json(cells: list[Cell], newest: Cell | None, target: Target, age: dict[str, Any]) -> str:
    """Return the matrix as a JSON document."""
    document = {
        "schema_version": SCHEMA_VERSION,
        "knowledge": age,
        "target": {
            "gpu": target.gpu.name if target.gpu else None,
            "capability": target.gpu.capability if target.gpu else None,
            "python": target.python, "arch": target.arch, "driver": target.driver, "glibc": target.glibc,
        },
        "newest": newest.release if newest else None,
        "releases": [as_record(cell) for cell in cells],
    }  # fmt: skip
    return json.dumps(document, indent=1, ensure_ascii=False) + "\n"


def as_html(title: str, columns: list[str], rows: list[list[Cell]], age: dict[str, Any]) -> str:
    """Return one self-contained page: a row per release, a column per machine, the reason on each cell.

    Args:
        title: the page's heading.
        columns: the machines.
        rows: per release its cell on each of them.
        age: of the tables, for the foot of the page.
    """
    head = "".join(f"<th>{escape(name)}</th>" for name in columns)
    body = "\n".join(
        f"<tr><th>{escape(row[0].release)}</th><th>{cuda_of(row) or ''}</th>{''.join(map(_cell, row))}</tr>"
        for row in rows
    )
    legend = " ".join(
        f'<span style="background:{colour}">{escape(status.value)}</span>' for status, colour in _COLOURS.items()
    )
    return _PAGE.format(title=escape(title), legend=legend, head=head, body=body, age=escape(str(age["generated_at"])))


def _cell(cell: Cell) -> str:
    text = _installs(cell) if cell.status is Status.WORKS else cell.reason
    if cell.override:
        text = f"with {', '.join(cell.override)}: {text}"
    return f'<td style="background:{_COLOURS[cell.status]}" title="{escape(text)}">{_MARKS[cell.status]}</td>'


_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{title}</title>
<style>
body {{ font: 14px system-ui, sans-serif; margin: 2em; color: #222 }}
table {{ border-collapse: collapse }}
th, td {{ border: 1px solid #fff; padding: 2px 8px; text-align: center; font-weight: normal }}
thead th {{ position: sticky; top: 0; background: #fff; font-weight: 600 }}
tbody th {{ text-align: left; font-weight: 600 }}
span {{ padding: 2px 8px; margin-right: 4px }}
</style></head><body>
<h1>{title}</h1>
<p>{legend} &mdash; point at a cell for what would be installed, or why not.</p>
<table><thead><tr><th>sglang</th><th>CUDA</th>{head}</tr></thead>
<tbody>
{body}
</tbody></table>
<p>Resolved on {age}.</p>
</body></html>
"""
