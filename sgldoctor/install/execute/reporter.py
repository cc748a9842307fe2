"""What an execution tells while it runs; where it is shown is the business of the command."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable


class Reporter:
    """Hears everything and shows nothing."""

    def begin(self, title: str, size: int | None = None) -> None:
        """A step begins; size is what it downloads at most, in bytes, or None where nobody knows."""

    def downloading(self, name: str, size: int | None) -> None:
        """A package begins to be downloaded or built; size in bytes."""

    def arrived(self, name: str) -> None:
        """A package is there."""

    def verifying(self) -> None:
        """The step is installed; what is left is to see whether it holds."""

    def end(self, text: str) -> None:
        """The step has ended; text says how."""

    def note(self, text: str) -> None:
        """Something that the user should read."""


class Held(Reporter):
    """Keeps what is told of packages until somebody listens for them; it may be told and asked in any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._kept: list[tuple[str, Callable[[Reporter], None]]] = []
        self._listener: Reporter | None = None
        self._names: frozenset[str] = frozenset()

    def downloading(self, name: str, size: int | None) -> None:
        """A package begins to be downloaded; told when somebody listens for it."""
        self._hear(name, lambda listener: listener.downloading(name, size))

    def arrived(self, name: str) -> None:
        """A package is there; told when somebody listens for it."""
        self._hear(name, lambda listener: listener.arrived(name))

    def listen(self, listener: Reporter, names: Iterable[str]) -> None:
        """Tell a listener what was and will be told of some packages."""
        with self._lock:
            self._listener, self._names = listener, frozenset(names)
            kept, self._kept = self._kept, []
            for name, tell in kept:
                self._tell(name, tell)

    def _hear(self, name: str, tell: Callable[[Reporter], None]) -> None:
        with self._lock:
            self._tell(name, tell)

    def _tell(self, name: str, tell: Callable[[Reporter], None]) -> None:
        if self._listener and name in self._names:
            tell(self._listener)
        else:
            self._kept.append((name, tell))
