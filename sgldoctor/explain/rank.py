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

    @property
    def specificity(self) -> tuple[int, int]:
        """How many patterns it takes, and how long they are."""
        patterns = self.signature.all
        return len(patterns), sum(map(len, patterns))


def candidates(problems: Iterable[Problem], hits: Mapping[str, list[Hit]]) -> list[Candidate]:
    """Return the problems whose signatures are met, each once, by its most specific signature."""
    found = []
    for problem in problems:
        met = [c for signature in problem.signatures if (c := _met(problem, signature, hits))]
        if met:
            found.append(max(met, key=lambda candidate: candidate.specificity))
    return found


def nearest(problems: Iterable[Problem], hits: Mapping[str, list[Hit]]) -> list[Problem]:
    """Return the problems of whose signatures a part is met, the largest parts first."""
    parts: list[tuple[float, Problem]] = []
    for problem in problems:
        shares = [
            sum(pattern in hits for pattern in signature.all) / len(signature.all)
            for signature in problem.signatures
            if signature.all
        ]
        if any(shares):
            parts.append((max(shares), problem))
    return [problem for _, problem in sorted(parts, key=lambda part: (-part[0], part[1].id))]


def _met(problem: Problem, signature: Signature, hits: Mapping[str, list[Hit]]) -> Candidate | None:
    if any(pattern in hits for pattern in signature.none) or any(pattern not in hits for pattern in signature.all):
        return None
    some = [pattern for pattern in signature.any if pattern in hits]
    if signature.any and not some:
        return None
    return Candidate(problem, signature, tuple(hits[pattern][0] for pattern in (*signature.all, *some)))


def ranked(found: list[Candidate]) -> list[Candidate]:
    """Return the candidates, the most likely root first."""
    explained = _explained(found)
    return sorted(
        found,
        key=lambda c: (
            _tier(c),
            c.problem.id in explained,
            c.confirmed is not True,
            c.first,
            tuple(-part for part in c.specificity),
            c.problem.id,
        ),
    )


def _tier(candidate: Candidate) -> int:
    """Return the rank of its kind: errors, warnings, what its check excludes, symptoms, notes, what is harmless."""
    severity = candidate.problem.severity
    if severity in {Severity.BENIGN, Severity.INFO}:
        return 5 if severity is Severity.BENIGN else 4
    if candidate.problem.symptom:
        return 3
    if candidate.confirmed is False:
        return 2
    return 1 if severity is Severity.WARNING else 0


def _explained(found: list[Candidate]) -> set[str]:
    """Return the ids of problems that another one here explains away, through any depth."""
    by_id = {candidate.problem.id: candidate.problem for candidate in found}
    explained: set[str] = set()
    todo = [name for problem in by_id.values() for name in problem.consequences]
    while todo:
        name = todo.pop()
        if name not in explained:
            explained.add(name)
            if name in by_id:
                todo.extend(by_id[name].consequences)
    return explained & set(by_id)
