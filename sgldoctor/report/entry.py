"""A label and what is said of it, as the lines of a text report."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


def entry(label: str, text: str, width: int, style: str, *, indent: int) -> Iterator[tuple[str, str]]:
    """Yield the lines of one entry, each with its style.

    Args:
        label: stands once, before the text.
        text: is wrapped, never within a word.
        width: of the report, in columns.
        style: of rich.
        indent: where the text begins, in columns.
    """
    first = f"  {label}".ljust(indent) if len(label) < indent - 2 else f"  {label}  "
    for line in textwrap.wrap(
        text, width, initial_indent=first, subsequent_indent=" " * indent, break_long_words=False,
        break_on_hyphens=False,
    ):  # fmt: skip
        yield line, style
