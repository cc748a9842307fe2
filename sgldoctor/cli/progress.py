"""Showing how far an installation is: bars on a terminal, plain lines elsewhere; always on stderr."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Column
from rich.text import Text

from sgldoctor.install.execute.disk import shown
from sgldoctor.install.execute.reporter import Reporter

if TYPE_CHECKING:
    from rich.progress import TaskID

_MIB = 1 << 20
_REST = 44
"""Columns of a terminal that stand beside the step's name: the bar, the amount, the time."""
_LARGE = 50 * _MIB
"""Bytes from which on a download has a line of its own."""


def reporter() -> Reporter:
    """Return what shows progress on this stderr."""
    console = Console(stderr=True, highlight=False, markup=False, emoji=False)
    return _Bars(console) if console.is_terminal else _Lines()


class _Watch:
    """Two times of a step: until it was installed, and since then."""

    def __init__(self) -> None:
        self._started = time.monotonic()
        self._installed: float | None = None

    def installed(self) -> None:
        self._installed = time.monotonic()

    def __str__(self) -> str:
        end = time.monotonic()
        if self._installed is None:
            return f"{end - self._started:.1f} s"
        return f"{self._installed - self._started:.1f} s, verified in {end - self._installed:.1f} s"


class _Lines(Reporter):
    """A line for each step and each large download."""

    def __init__(self) -> None:
        self._watch = _Watch()

    def begin(self, title: str, size: int | None = None) -> None:
        self._watch = _Watch()
        self._say(f"{title}{f', {shown(size)}' if size else ''} ...")

    def downloading(self, name: str, size: int | None) -> None:
        if size and size >= _LARGE:
            self._say(f"  {name} ({size / _MIB:.0f} MiB)")

    def verifying(self) -> None:
        self._watch.installed()

    def end(self, text: str) -> None:
        self._say(f"  {self._watch}: {text}")

    def note(self, text: str) -> None:
        self._say(f"  {text}")

    @staticmethod
    def _say(text: str) -> None:
        sys.stderr.write(f"{text}\n")
        sys.stderr.flush()


class _Bars(Reporter):
    """A bar for the step, which grows by whole packages, and the names of what is on its way."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._progress: Progress | None = None
        self._task: TaskID | None = None
        self._title = ""
        self._watch = _Watch()
        self._sizes: dict[str, int] = {}

    def begin(self, title: str, size: int | None = None) -> None:
        self._stop()
        self._title, self._watch = title, _Watch()
        room = max(self._console.width - _REST, 16)
        text = TextColumn("{task.description}", table_column=Column(no_wrap=True, overflow="ellipsis", max_width=room))
        amount = [BarColumn(16), DownloadColumn(table_column=Column(no_wrap=True))] if size else []
        self._progress = Progress(
            SpinnerColumn(), text, *amount, TimeElapsedColumn(), console=self._console, transient=True
        )
        self._task = self._progress.add_task(title, total=size)
        self._progress.start()

    def downloading(self, name: str, size: int | None) -> None:
        self._sizes[name] = size or 0
        self._show()

    def arrived(self, name: str) -> None:
        size = self._sizes.pop(name, 0)
        if self._progress and self._task is not None:
            self._progress.advance(self._task, size)
        self._show()

    def verifying(self) -> None:
        self._watch.installed()
        if self._progress and self._task is not None:
            self._progress.update(self._task, description=f"{self._title}, verifying")

    def end(self, text: str) -> None:
        self._stop()
        self._console.print(Text(f"{self._title}: {self._watch}: {text}"), soft_wrap=True)

    def note(self, text: str) -> None:
        self._console.print(Text(text), soft_wrap=True)

    def _show(self) -> None:
        if self._progress and self._task is not None:
            largest = sorted(self._sizes, key=lambda name: -self._sizes[name])[:3]
            self._progress.update(self._task, description=" ".join((self._title, *largest)))

    def _stop(self) -> None:
        if self._progress:
            self._progress.stop()
            self._progress = None
