"""Showing a text report: NO_COLOR, FORCE_COLOR and COLUMNS are honoured, by rich where a person looks."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

WIDEST = 110
"""Columns; longer lines of prose are hard to read."""
_WITHOUT_TERMINAL = 80
_FORCING = ("FORCE_COLOR", "TTY_COMPATIBLE")


def show(lines: Callable[[int], Iterable[tuple[str, str]]]) -> None:
    """Print a text report, never wrapped here, so that commands can be copied.

    Args:
        lines: gives the lines for a width in columns, each with its style.
    """
    if sys.stdout.isatty() or any(os.environ.get(name) for name in _FORCING):
        _show_styled(lines)
        return
    columns = os.environ.get("COLUMNS", "")
    width = int(columns) if columns.isdigit() else _WITHOUT_TERMINAL
    for line, _ in lines(min(width, WIDEST)):  # as rich prints to a pipe, without the time to load it
        sys.stdout.write(f"{line}\n")


def _show_styled(lines: Callable[[int], Iterable[tuple[str, str]]]) -> None:
    from rich.console import Console  # noqa: PLC0415 - only for colours
    from rich.text import Text  # noqa: PLC0415

    class Terminal(Console):
        """A console that tells of a reader who left early, instead of ending the program."""

        def on_broken_pipe(self) -> None:
            """Let the command go on to its exit code."""
            raise BrokenPipeError

    console = Terminal(highlight=False, markup=False, emoji=False)
    for line, style in lines(min(console.width, WIDEST)):
        console.print(Text(line, style=style), soft_wrap=True)
