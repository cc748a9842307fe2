"""What an execution tells while it runs; where it is shown is the business of the command."""

from __future__ import annotations


class Reporter:
    """Hears everything and shows nothing."""

    def begin(self, title: str, size: int | None = None) -> None:
        """A step begins; size is what it downloads at most, in bytes, or None where nobody knows."""

    def downloading(self, name: str, size: int | None) -> None:
        """A package begins to be downloaded or built; size in bytes."""

    def arrived(self, name: str) -> None:
        """A package is there."""

    def end(self, text: str) -> None:
        """The step has ended; text says how."""

    def note(self, text: str) -> None:
        """Something that the user should read."""
