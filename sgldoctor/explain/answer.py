"""From what a text shows to its explanation: the root, filled with what the text, the tables and the machine tell."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

from sgldoctor.derive import derive
from sgldoctor.diagnose import fill, finding, fixes, judge, safe, test_truth
from sgldoctor.explain import tables, told
from sgldoctor.explain.model import Explanation, Match
from sgldoctor.explain.rank import Candidate, met, ranked, share
from sgldoctor.explain.scan import Library, Scan
from sgldoctor.explain.source import Source
from sgldoctor.facts import label_of
from sgldoctor.report.model import FilledFix, Status
from sgldoctor.rules.conditions import all_of
from sgldoctor.rules.model import EVIDENCE_LEVELS, Signature
from sgldoctor.rules.parse import CAPTURE, PLACEHOLDER
from sgldoctor.snapshot import Known, Snapshot

if TYPE_CHECKING:
    import re
    from collections.abc import Iterable

    from sgldoctor.rules.book import Book, Outline
    from sgldoctor.rules.model import Problem


class Explainer:
    """A set of problems, compiled once, to which any number of texts may be shown."""

    def __init__(self, book: Book) -> None:
        """Compile the signatures of the problems."""
        self._book = book
        self._outlines = [outline for outline in book.outlines.values() if outline.signatures]
        self._wanting: dict[str, list[Outline]] = {}
        for outline in self._outlines:
            for pattern in dict.fromkeys(p for s in outline.signatures for p in (*s.all, *s.any)):
                self._wanting.setdefault(pattern, []).append(outline)
        self._library = Library((s for outline in self._outlines for s in outline.signatures), told.PATTERNS)

    def prepare(self) -> Explainer:
        """Compile everything at once, which pays where many texts are to be explained, and return itself."""
        _ = self._library.all
        return self

    def scan(self) -> Scan:
        """Return a scan that has seen nothing yet."""
        return Scan(self._library)

    def explain(self, scan: Scan, here: Snapshot | None = None) -> Explanation:
        """Return what a scan has shown so far.

        Args:
            scan: what was seen in the text.
            here: the machine and environment that it comes from, where they can be looked at.
        """
        facts = told.facts(scan.hits) | (dict(here.facts) if here else {})
        snapshot = derive(Snapshot(facts))
        near = list({o.id: o for pattern in scan.hits for o in self._wanting.get(pattern, ())}.values())
        found = [
            Candidate(problem, *lines, confirmed=_confirmed(problem, snapshot))
            for outline in near
            if (lines := met(outline.signatures, scan.hits)) and (problem := self._book[outline.id])
        ]
        behind = self._behind(found, snapshot) if facts else ()
        order = ranked([*found, *behind], {name: item.consequences for name, item in self._book.outlines.items()})
        if not order:
            return Explanation((), _nearest(near, scan), tuple(hit.line for hit in scan.hits.get(told.ERROR, ())))
        first, *others = order
        answer = _match(first, snapshot, self._leading_to(first.problem))
        return Explanation((answer, *(_match(candidate, snapshot) for candidate in others)))

    def _leading_to(self, problem: Problem) -> tuple[str, ...]:
        """Return the titles of what may be behind a symptom, those of the same part that were run first."""
        if not problem.symptom:
            return ()
        leading = [o.id for o in self._book.outlines.values() if problem.id in o.consequences]
        order = sorted(
            (self._book[name] for name in leading),
            key=lambda p: (p.subject != problem.subject, -EVIDENCE_LEVELS.index(p.evidence_level), p.id),
        )
        return tuple(found.title for found in order)

    def explain_text(self, text: str) -> Explanation:
        """Return what a text shows."""
        return self.explain(self.scan_text(text))

    def scan_text(self, text: str) -> Scan:
        """Return the scan of a text."""
        scan = self.scan()
        for block in Source(None, lambda: io.BytesIO(text.encode(errors="replace"))).blocks():
            scan.feed(block)
        return scan

    def _behind(self, found: list[Candidate], snapshot: Snapshot) -> list[Candidate]:
        """Return problems that the facts prove and that explain a symptom in the text, which does not name them."""
        shown = {c.problem.id for c in found}
        symptoms = {c.problem.id: c for c in found if c.problem.symptom}
        behind = []
        for outline in self._book.outlines.values() if symptoms else ():
            explained = [symptoms[name] for name in outline.consequences if name in symptoms]
            if explained and outline.id not in shown:
                problem = self._book[outline.id]
                if problem.confirmed and _confirmed(problem, snapshot):
                    behind.append(Candidate(problem, Signature(), explained[0].hits, confirmed=True))
        return behind


def _nearest(near: list[Outline], scan: Scan) -> tuple[tuple[str, str], ...]:
    """Return the problems of which the largest parts were seen."""
    shares = [(share(outline.signatures, scan.hits), outline) for outline in near]
    best = sorted((pair for pair in shares if pair[0]), key=lambda pair: (-pair[0], pair[1].id))
    return tuple((outline.id, outline.title) for _, outline in best[:3])


def _confirmed(problem: Problem, snapshot: Snapshot) -> bool | None:
    """Return what the problem's own check says; None where it has none, or the facts do not decide it."""
    if not problem.require:
        return None
    return {Status.FOUND: True, Status.OK: False}.get(judge(problem, snapshot))


def _match(candidate: Candidate, snapshot: Snapshot, possible: tuple[str, ...] = ()) -> Match:
    problem = candidate.problem
    captures = {name: value for hit in reversed(candidate.hits) for name, value in hit.captures.items()}
    captures |= tables.added(captures, snapshot)
    snapshot = snapshot.with_facts({f"{CAPTURE}{name}": Known(value, "the text") for name, value in captures.items()})
    template = candidate.signature.message
    message = fill(template, snapshot, {}) if template else None
    cures: Iterable[FilledFix] = fixes(problem, snapshot, {})
    if candidate.confirmed:
        seen = finding(problem, Status.FOUND, snapshot, None)
        message = seen.message if problem.message else message
        cures = seen.fixes
    lines = {(hit.line.source, hit.line.number): hit.line for hit in candidate.hits}
    return Match(
        id=problem.id,
        title=problem.title,
        severity=problem.severity,
        cause=fill(problem.cause, snapshot, {}) or _readable(problem.cause, snapshot),
        message=message or problem.title,
        lines=tuple(lines[place] for place in lines),
        captures=captures,
        fixes=tuple({(fix.command or fix.text): fix for fix in cures}.values()) or _general(problem, snapshot),
        confirmed=candidate.confirmed,
        references=problem.references,
        symptom=problem.symptom,
        possible=possible,
    )


def _general(problem: Problem, snapshot: Snapshot) -> tuple[FilledFix, ...]:
    """Return the first cure with words in place of what is not known."""
    return tuple(
        FilledFix(_readable(fix.text, snapshot), fix.command and _readable(fix.command, snapshot))
        for fix in problem.fixes
        if all_of(test_truth(test, snapshot) for test in fix.when) is not False
    )[:1]


def _readable(template: str, snapshot: Snapshot) -> str:
    """Return a template filled, with words between angle brackets for what is not known."""

    def shown(match: re.Match[str]) -> str:
        filled = fill(match[0], snapshot, {})
        return filled if filled and safe(filled) else f"<{label_of(match[1])}>"

    return PLACEHOLDER.sub(shown, template)
