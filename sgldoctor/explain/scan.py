"""Which patterns match which lines: all patterns at once, in linear time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import re2

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from sgldoctor.explain.lines import Line
    from sgldoctor.rules.model import Problem, Signature

KEPT = 3
"""Lines that are kept for each pattern."""
_MEMORY = 256 << 20


@dataclass(frozen=True, slots=True)
class Hit:
    """A pattern that matched a line, and what it captured."""

    line: Line
    captures: Mapping[str, str]


class Patterns:
    """All patterns of a set of problems, compiled into one automaton."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        """Compile every pattern once.

        Args:
            problems: the rules; those without signatures add nothing.
        """
        self._texts = list(dict.fromkeys(p for problem in problems for s in problem.signatures for p in patterns_of(s)))
        options = re2.Options()
        options.max_mem = _MEMORY
        self._set = re2.Set.SearchSet(options)
        for text in self._texts:
            self._set.Add(text)
        if self._texts:
            self._set.Compile()

    def scan(self, lines: Iterable[Line]) -> dict[str, list[Hit]]:
        """Return, for each pattern that matched, its first lines."""
        hits: dict[str, list[Hit]] = {}
        if not self._texts:
            return hits
        for line in lines:
            for index in self._set.Match(line.text) or ():
                text = self._texts[index]
                kept = hits.setdefault(text, [])
                if len(kept) < KEPT:
                    found = re2.search(text, line.text)
                    captures = {} if found is None else found.groupdict()
                    kept.append(Hit(line, {name: value for name, value in captures.items() if value is not None}))
        return hits


def patterns_of(signature: Signature) -> tuple[str, ...]:
    """Return every pattern of a signature."""
    return (*signature.all, *signature.any, *signature.none)
