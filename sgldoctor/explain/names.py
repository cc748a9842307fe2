"""Flags and variables of SGLang: which release knew which name, and what it made of one that it did not know."""

from __future__ import annotations

from functools import cache, lru_cache
from itertools import groupby
from typing import TYPE_CHECKING

from sgldoctor.rules.knowledge import table

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


class Names:
    """The names in one table, each with the releases that had it."""

    def __init__(self, file: str, key: str) -> None:
        """Read a table, such as ``flags.json`` and its ``flags``."""
        known = table(file)
        self.releases: list[str] = known["releases"]
        place = {release: at for at, release in enumerate(self.releases)}
        self._spans: dict[str, list[range]] = {
            name: [range(place[first], place[last] + 1) for first, last in row["ranges"]]
            for name, row in known[key].items()
        }

    def there(self, at: int) -> list[str]:
        """Return the names that a release has, by its place among the releases."""
        return [name for name, spans in self._spans.items() if any(at in span for span in spans)]

    def spans(self, name: str) -> str | None:
        """Return the releases that have a name, such as ``0.1.13 to 0.1.17``; None where none has."""
        return ", ".join(self.span(span) for span in self._spans.get(name, ())) or None

    def span(self, places: Sequence[int]) -> str:
        """Return releases from the first to the last, in words."""
        first, last = self.releases[places[0]], self.releases[places[-1]]
        return first if first == last else f"{first} to {last}"

    def nearest(self, word: str, release: str | None) -> str | None:
        """Return the name that looks most like a word, in a release; None: in the newest."""
        from difflib import get_close_matches  # noqa: PLC0415 - only a name that is not known needs it

        at = self.releases.index(release) if release in self.releases else len(self.releases) - 1
        there = [name for name in self.there(at) if name != word]
        return next(iter(get_close_matches(word, there, n=1, cutoff=0.6)), None)

    def beginning(self, word: str) -> dict[str, list[range]]:
        """Return the names that begin with a word, with the places of the releases that have them."""
        return {name: spans for name, spans in self._spans.items() if name.startswith(word)}


@cache
def flags() -> Names:
    """Return the flags of the server."""
    return Names("flags.json", "flags")


@cache
def variables() -> Names:
    """Return the environment variables that are read."""
    return Names("variables.json", "variables")


@lru_cache(maxsize=1024)
def flag_history(flag: str, release: str | None) -> str:
    """Return what releases make of a flag: of one that is given, else of those that knew it and of the newest."""
    known = flags()
    longer = known.beginning(flag)
    if release in known.releases:
        word, whole = _taken_for(flag, longer, known.releases.index(release))
        return f"in sglang {release} {_WORDS[word](flag, whole)}"
    runs = [
        (meaning, list(places))
        for meaning, places in groupby(range(len(known.releases)), key=lambda at: _taken_for(flag, longer, at))
    ]
    had = [run for run in runs if run[0][0] == "known"]
    other = [run for run in runs if run[0][0] in {"short", "ambiguous"}][-2:]
    told = [f"{_WORDS[word](flag, whole)} in {known.span(places)}" for (word, whole), places in had + other]
    return "; ".join(told) if told else f"no release of sglang has {flag}"


@lru_cache(maxsize=1024)
def nearest_flag(flag: str, release: str | None) -> str | None:
    """Return the flag that looks most like another."""
    return flags().nearest(flag, release)


def _taken_for(flag: str, longer: dict[str, list[range]], at: int) -> tuple[str, str]:
    """Return what a release makes of a flag: argparse takes an unambiguous beginning for the whole."""
    there = [name for name, spans in longer.items() if any(at in span for span in spans)]
    if flag in there:
        return "known", flag
    if len(there) == 1:
        return "short", there[0]
    return ("ambiguous", "") if there else ("unknown", "")


_WORDS: dict[str, Callable[[str, str], str]] = {
    "known": lambda flag, _: f"{flag} is a flag",
    "short": lambda flag, whole: f"{flag} is taken for {whole}",
    "ambiguous": lambda flag, _: f"{flag} is ambiguous",
    "unknown": lambda flag, _: f"{flag} is not known",
}
