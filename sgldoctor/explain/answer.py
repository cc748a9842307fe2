"""From a text to its explanation."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sgldoctor.derive import derive
from sgldoctor.diagnose import fill, fixes
from sgldoctor.explain.lines import logical_lines
from sgldoctor.explain.model import Explanation, Match
from sgldoctor.explain.rank import candidates, ranked
from sgldoctor.explain.scan import Patterns
from sgldoctor.snapshot import Known, Snapshot

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sgldoctor.explain.lines import Line
    from sgldoctor.explain.rank import Candidate
    from sgldoctor.explain.scan import Hit
    from sgldoctor.rules.model import Problem


class Explainer:
    """A set of problems, compiled once, to which any number of texts may be shown."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        """Compile the signatures of the problems."""
        self._problems = [problem for problem in problems if problem.signatures]
        self._patterns = Patterns(self._problems)

    def explain(self, lines: Iterable[Line]) -> Explanation:
        """Return what the lines show."""
        found = ranked(candidates(self._problems, self._patterns.scan(lines)))
        return Explanation(tuple(_match(candidate) for candidate in found))

    def hits(self, text: str) -> dict[str, list[Hit]]:
        """Return which patterns match a text, and where."""
        return self._patterns.scan(logical_lines(text))

    def explain_text(self, text: str) -> Explanation:
        """Return what a text shows."""
        return self.explain(logical_lines(text))


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
