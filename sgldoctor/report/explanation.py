"""What a text was explained as, for people, for programs, and for a bug report."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from sgldoctor.explain.model import Meaning
from sgldoctor.report.as_json import SCHEMA_VERSION, written
from sgldoctor.report.as_markdown import fenced, prose
from sgldoctor.report.as_text import MARKS, STYLES, cures, wrapped
from sgldoctor.report.model import FilledFix

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sgldoctor.explain.lines import Line
    from sgldoctor.explain.model import Explanation, Match
    from sgldoctor.redact import Redactor

_WIDEST_LINE = 240
_MOST_POSSIBLE = 5
_MOST_REFERENCES = 4
_REPORT = "Report the text, so that it becomes known: sgldoctor explain --format markdown FILE"


def lines(explanation: Explanation, redactor: Redactor, width: int, *, everything: bool) -> Iterator[tuple[str, str]]:
    """Yield (text, style) line by line: the cause first; prose is wrapped to the width, commands never."""
    told = _redacted(explanation, redactor.text)
    for text, style in _lines(told, width, everything=everything):
        yield "".join(letter if letter.isprintable() else "\ufffd" for letter in text), style


def as_json(explanation: Explanation, redactor: Redactor) -> str:
    """Return the explanation as a JSON text, the most likely root first."""
    told = _redacted(explanation, redactor.without_home)
    document = {
        "schema_version": SCHEMA_VERSION,
        "verdict": told.meaning.value,
        "matches": [_match_to_json(match) for match in told.matches],
        "nearest": [{"id": identity, "title": title} for identity, title in told.nearest],
    }
    return written(document, sort_keys=False)


def as_markdown(explanation: Explanation, redactor: Redactor, version: str) -> str:
    """Return the explanation as Markdown, to be pasted into a bug report."""
    return "\n\n".join(_blocks(_redacted(explanation, redactor.without_home), version)) + "\n"


def headline(explanation: Explanation) -> str:
    """Return the one sentence that the reader needs."""
    if explanation.meaning is Meaning.UNKNOWN:
        return "?: This text is not known to sgldoctor."
    first = explanation.matches[0]
    if explanation.meaning is Meaning.BENIGN:
        return f"ok: Harmless. {_sentence(first.message)}"
    return f"{MARKS[first.severity.value]}: {_sentence(first.message)}"


def _lines(explanation: Explanation, width: int, *, everything: bool) -> Iterator[tuple[str, str]]:
    yield from wrapped(headline(explanation), width, style=STYLES[_key(explanation)])
    if explanation.meaning is Meaning.UNKNOWN:
        yield from _unknown(explanation, width)
        return
    first, *others = explanation.matches
    yield "", ""
    yield from _details(first, width)
    for match in others if everything else ():
        yield "", ""
        yield from wrapped(
            f"{_mark(match)}: {_sentence(match.message)}", width, style=STYLES.get(match.severity.value, "")
        )
        yield "", ""
        yield from _details(match, width)
    if others and not everything:
        yield "", ""
        yield from wrapped("Also in this text:", width)
        for match in others[:5]:
            place = f", line {match.lines[0].number}" if match.lines else ""
            yield from wrapped(f"- {_mark(match)}: {_sentence(match.message)} [{match.id}{place}]", width, indent="  ")
        yield from wrapped("All of it: --all", width, style="dim")


def _mark(match: Match) -> str:
    if match.symptom:
        return "consequence"
    return "harmless" if match.severity.value == "benign" else MARKS[match.severity.value]


def _key(explanation: Explanation) -> str:
    if explanation.meaning is Meaning.EXPLAINED:
        return explanation.matches[0].severity.value
    return "ok" if explanation.meaning is Meaning.BENIGN else "unknown"


def _sentence(text: str) -> str:
    return text if text.endswith((".", "!", "?")) else f"{text}."


def _details(match: Match, width: int) -> Iterator[tuple[str, str]]:
    yield from wrapped(f"Why: {match.cause}", width)
    if match.confirmed is not None:
        word = "The facts confirm it" if match.confirmed else "The facts speak against it"
        yield from wrapped(f"{word}: its own check was judged by what is known here.", width, style="dim")
    for line in match.lines[:4]:
        yield f"Seen: {_place(line)}: {_short(line.text)}", "dim"
    if match.possible:
        yield from wrapped("It follows from something else, which this text does not show. Candidates:", width)
        for title in match.possible[:_MOST_POSSIBLE]:
            yield from wrapped(f"- {title}", width, indent="  ")
        yield from wrapped("Which of them it is on a machine says: sgldoctor check", width)
    yield "", ""
    yield from cures(match.fixes, width, indent="")
    yield from (
        pair for text in match.references[:_MOST_REFERENCES] for pair in wrapped(f"See: {text}", width, style="dim")
    )
    yield from wrapped(f"Rule: {match.id}. More: sgldoctor rules show {match.id}", width, style="dim")


def _unknown(explanation: Explanation, width: int) -> Iterator[tuple[str, str]]:
    for line in explanation.errors:
        yield f"Seen: {_place(line)}: {_short(line.text)}", "dim"
    if explanation.nearest:
        yield from wrapped("Nearest, of which only a part was seen:", width)
        for identity, title in explanation.nearest:
            yield from wrapped(f"- {title} [{identity}]", width, indent="  ")
    yield from wrapped("Is the machine itself well? Ask: sgldoctor check", width)
    yield from wrapped(_REPORT, width)


def _place(line: Line) -> str:
    return f"{line.source}, line {line.number}" if line.source else f"line {line.number}"


def _short(text: str) -> str:
    text = text.strip()
    return text if len(text) <= _WIDEST_LINE else f"{text[:_WIDEST_LINE]} ..."


def _match_to_json(match: Match) -> dict[str, Any]:
    return {
        "id": match.id,
        "title": match.title,
        "severity": match.severity.value,
        "cause": match.cause,
        "message": match.message,
        "lines": [_line_to_json(line) for line in match.lines],
        "captures": dict(match.captures),
        "fixes": [{"text": fix.text, "command": fix.command} for fix in match.fixes],
        "confirmed": match.confirmed,
        "symptom": match.symptom,
        "possible": list(match.possible),
        "references": list(match.references),
    }


def _line_to_json(line: Line) -> dict[str, Any]:
    node: dict[str, Any] = {"number": line.number, "text": line.text}
    return node if line.source is None else {**node, "source": line.source}


def _blocks(explanation: Explanation, version: str) -> Iterator[str]:
    yield f"### sgldoctor {version}: {explanation.meaning.value}"
    if explanation.meaning is Meaning.UNKNOWN:
        if explanation.errors:
            yield "**Seen:**"
            yield fenced("\n".join(f"{_place(line)}: {line.text}" for line in explanation.errors), "text")
        for identity, title in explanation.nearest:
            yield f"- nearest: {prose(title)} ({identity})"
    for match in explanation.matches:
        yield f"#### {match.severity.value}: {prose(match.title)} ({match.id})"
        if match.message != match.title:
            yield f"**What:** {prose(match.message)}"
        yield f"**Why:** {prose(match.cause)}"
        if match.lines:
            yield fenced("\n".join(f"{_place(line)}: {_short(line.text)}" for line in match.lines), "text")
        for fix in match.fixes:
            yield f"**Fix:** {prose(fix.text)}"
            if fix.command:
                yield fenced(fix.command, "sh")


def _redacted(explanation: Explanation, say: Callable[[str], str]) -> Explanation:
    def line(item: Line) -> Line:
        return replace(item, text=say(item.text))

    def match(item: Match) -> Match:
        return replace(
            item,
            cause=say(item.cause),
            message=say(item.message),
            lines=tuple(map(line, item.lines)),
            captures={name: say(value) for name, value in item.captures.items()},
            fixes=tuple(FilledFix(say(fix.text), fix.command and say(fix.command)) for fix in item.fixes),
        )

    return replace(
        explanation, matches=tuple(map(match, explanation.matches)), errors=tuple(map(line, explanation.errors))
    )
