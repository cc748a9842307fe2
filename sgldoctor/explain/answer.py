"""From a text to its explanation."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sgldoctor.derive import derive
from sgldoctor.diagnose import fill, fixes
from sgldoctor.explain.model import Explanation, Match
from sgldoctor.explain.rank import candidates, ranked
from sgldoctor.explain.scan import Patterns, Scan
from sgldoctor.explain.source import Block
from sgldoctor.snapshot import Known, Snapshot

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sgldoctor.explain.rank import Candidate
    from sgldoctor.rules.model import Problem


class Explainer:
    """A set of problems, compiled once, to which any number of texts may be shown."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        """Compile the signatures of the problems."""
        self._problems = [problem for problem in problems if problem.signatures]
        self._patterns = Patterns(self._problems)

    def scan(self) -> Scan:
        """Return a scan that has seen nothing yet."""
        return Scan(self._patterns)

    def explain(self, scan: Scan) -> Explanation:
        """Return what a scan has shown so far."""
        found = ranked(candidates(self._problems, scan.hits))
        return Explanation(tuple(_match(candidate) for candidate in found))

    def explain_text(self, text: str) -> Explanation:
        """Return what a text shows."""
        return self.explain(self.scan_text(text))

    def scan_text(self, text: str) -> Scan:
        """Return the scan of a text."""
        scan = self.scan()
        scan.feed(Block(text.encode(), 1, whole=True))
        return scan


def _match(candidate: Candidate) -> Match:
    problem = candidate.problem
    captures = {name: value for hit in reversed(candidate.hits) for name, value in hit.captures.items()}
    facts = {f"capture.{name}": Known(value, "the text") for name, value in captures.items()}
    snapshot = derive(Snapshot(facts))
    message = fill(candidate.signature.message, snapshot, {}) if candidate.signature.message else None
    lines = {hit.line.number: hit.line for hit in candidate.hits}
    return Match(
        id=problem.id,
        title=problem.title,
        severity=problem.severity,
        cause=fill(problem.cause, snapshot, {}) or problem.cause,
        message=message or problem.title,
        lines=tuple(lines[number] for number in sorted(lines)),
        captures=captures,
        fixes=tuple(fixes(problem, snapshot, {})),
        confirmed=None,
        references=problem.references,
    )
