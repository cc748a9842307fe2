"""Showing a text report on a terminal: NO_COLOR, FORCE_COLOR, COLUMNS and pipes are honoured by rich."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Console
from rich.text import Text

from sgldoctor.report.as_text import lines

if TYPE_CHECKING:
    from sgldoctor.redact import Redactor
    from sgldoctor.report.model import Report

WIDEST = 110
"""Columns; longer lines of prose are hard to read."""


class _Terminal(Console):
    """A console that tells of a reader who left early, instead of ending the program."""

    def on_broken_pipe(self) -> None:
        """Let the command go on to its exit code."""
        raise BrokenPipeError


def show(report: Report, redactor: Redactor) -> None:
    """Print the text report; commands are never wrapped, so that they can be copied."""
    console = _Terminal(highlight=False, markup=False, emoji=False)
    for line, style in lines(report, redactor, min(console.width, WIDEST)):
        console.print(Text(line, style=style), soft_wrap=True)
