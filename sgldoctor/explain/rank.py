"""Which of the problems that a text shows is the root: symptoms and consequences come after their causes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sgldoctor.rules.model import Severity

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from sgldoctor.explain.scan import Hit
    from sgldoctor.rules.model import Problem, Signature


@dataclass(frozen=True, slots=True)
class Candidate:
    """A problem whose signature a text meets."""

    problem: Problem
    signature: Signature
    hits: tuple[Hit, ...]
    """The first line of each pattern that matched, in the order of the patterns."""
    confirmed: bool | None = None
    """What the problem's own check says, by what is known of the machine."""

    @property
    def first(self) -> int:
        """The earliest line that speaks for the problem."""
        return min((hit.line.number for hit in self.hits), default=0)


def met(signatures: Iterable[Signature], hits: Mapping[str, list[Hit]]) -> tuple[Signature, tuple[Hit, ...]] | None:
    """Return the most specific signature that is met, with the first line of each of its patterns; None: none is."""
    found = [(signature, lines) for signature in signatures if (lines := _lines(signature, hits))]
    return max(found, key=lambda pair: _specificity(pair[0]), default=None)


def share(signatures: Iterable[Signature], hits: Mapping[str, list[Hit]]) -> float:
    """Return which part of the patterns of the nearest signature is met, from 0 to 1."""
    return max((sum(p in hits for p in s.all) / len(s.all) for s in signatures if s.all), default=0.0)


def _lines(signature: Signature, hits: Mapping[str, list[Hit]]) -> tuple[Hit, ...]:
    if any(pattern in hits for pattern in signature.none) or any(pattern not in hits for pattern in signature.all):
        return ()
    some = [pattern for pattern in signature.any if pattern in hits]
    if signature.any and not some:
        return ()
    return tuple(hits[pattern][0] for pattern in (*signature.all, *some))


def _specificity(signature: Signature) -> tuple[int, int]:
    """Return how many patterns it takes, and how long they are."""
    return len(signature.all), sum(map(len, signature.all))


def ranked(found: list[Candidate], leads_to: Mapping[str, tuple[str, ...]]) -> list[Candidate]:
    """Return the candidates, the most likely root first.

    Args:
        found: in any order.
        leads_to: the consequences of every problem, also of those that were not found.
    """
    explained = _explained([candidate.problem.id for candidate in found], leads_to)
    return sorted(
        found,
        key=lambda c: (
            _tier(c),
            c.problem.id in explained,
            c.problem.severity is Severity.WARNING,
            c.confirmed is not True,
            c.first,
            tuple(-part for part in _specificity(c.signature)),
            c.problem.id,
        ),
    )


def _tier(candidate: Candidate) -> int:
    """Return the rank of its kind: errors and warnings, what its check excludes, symptoms, notes, what is harmless.

    A warning that leads to an error of the same text is its root, so what explains what decides between the two.
    """
    severity = candidate.problem.severity
    if severity in {Severity.BENIGN, Severity.INFO}:
        return 4 if severity is Severity.BENIGN else 3
    if candidate.problem.symptom:
        return 2
    return 1 if candidate.confirmed is False else 0


def _explained(found: list[str], leads_to: Mapping[str, tuple[str, ...]]) -> set[str]:
    """Return what follows from the problems that were found, through any depth."""
    explained: set[str] = set()
    todo = [name for identity in found for name in leads_to[identity]]
    while todo:
        name = todo.pop()
        if name not in explained:
            explained.add(name)
            todo.extend(leads_to.get(name, ()))
    return explained
