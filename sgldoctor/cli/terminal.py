"""Showing a text report on a terminal: NO_COLOR, FORCE_COLOR, COLUMNS and pipes are honoured by rich."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Console
from rich.text import Text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

WIDEST = 110
"""Columns; longer lines of prose are hard to read."""


class _Terminal(Console):
    """A console that tells of a reader who left early, instead of ending the program."""

    def on_broken_pipe(self) -> None:
        """Let the command go on to its exit code."""
        raise BrokenPipeError


def show(lines: Callable[[int], Iterable[tuple[str, str]]]) -> None:
    """Print a text report, never wrapped here, so that commands can be copied.

    Args:
        lines: gives the lines for a width in columns, each with its style.
    """
    console = _Terminal(highlight=False, markup=False, emoji=False)
    for line, style in lines(min(console.width, WIDEST)):
        console.print(Text(line, style=style), soft_wrap=True)
