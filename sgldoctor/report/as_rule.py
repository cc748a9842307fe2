"""One rule for reading: what it looks for, the cause, the cures, the evidence."""

from __future__ import annotations

import json
import textwrap
from typing import TYPE_CHECKING, Any

from sgldoctor.rules.conditions import RecordConditions

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sgldoctor.rules.conditions import Condition
    from sgldoctor.rules.model import Problem, Test


def as_json(problem: Problem) -> str:
    """Return the rule as a JSON object."""
    document = {
        "id": problem.id,
        "title": problem.title,
        "severity": problem.severity.value,
        "subject": problem.subject,
        "applies": list(_applies(problem)),
        "requires": [_test(test) for test in problem.require],
        "symptom": problem.symptom,
        "signatures": [
            {key: list(patterns) for key in ("all", "any", "none") if (patterns := getattr(signature, key))}
            for signature in problem.signatures
        ],
        "cause": problem.cause,
        "fixes": [{"text": fix.text, "command": fix.command} for fix in problem.fixes],
        "consequences": list(problem.consequences),
        "known_exceptions": [exception.text for exception in problem.known_exceptions],
        "evidence": {"level": problem.evidence_level, "date": problem.evidence_date},
        "references": list(problem.references),
    }
    return json.dumps(document, indent=1, ensure_ascii=False) + "\n"


def as_text(problem: Problem) -> str:
    """Return the rule as a page of text."""
    return "\n".join(_lines(problem)) + "\n"


def _lines(problem: Problem) -> Iterator[str]:
    yield f"{problem.id} ({problem.severity.value}, {problem.subject})"
    yield from _wrapped(problem.title)
    yield from _section("Why", [problem.cause])
    yield from _section("Applies when", list(_applies(problem)))
    yield from _section("Is fine when", [_test(test) for test in problem.require])
    for signature in problem.signatures:
        yield from _section("Seen in a text that holds", [*signature.all, *_either(signature.any)])
        yield from _section("but not", list(signature.none))
    if problem.symptom:
        yield from _section("Follows from something else", ["It is never the answer where a cause is found."])
    yield from _section("But not when", [exception.text for exception in problem.known_exceptions])
    yield from _section("Cures", [fix.text + (f"\n    {fix.command}" if fix.command else "") for fix in problem.fixes])
    yield from _section("Explains", list(problem.consequences))
    yield from _section(f"Evidence: {problem.evidence_level}, {problem.evidence_date}", list(problem.references))


def _either(patterns: tuple[str, ...]) -> list[str]:
    return [f"one of: {'   '.join(patterns)}"] if patterns else []


def _section(title: str, items: list[str]) -> Iterator[str]:
    if items:
        yield ""
        yield title
        for item in items:
            first, _, command = item.partition("\n")
            yield from _wrapped(first)
            if command:
                yield command


def _wrapped(text: str) -> list[str]:
    return textwrap.wrap(
        text, 100, initial_indent="  ", subsequent_indent="  ", break_long_words=False, break_on_hyphens=False
    )


def _applies(problem: Problem) -> Iterator[str]:
    if problem.affects:
        yield f"{' or '.join(problem.affects.packages)} {problem.affects.specifier or 'is installed'}"
    for test in problem.when:
        yield _test(test)


def _test(test: Test) -> str:
    return f"{test.fact} {', '.join(_condition(condition) for condition in test.conditions)}"


def _condition(condition: Condition) -> str:
    return f"{_WORDS.get(condition.operator, condition.operator)} {_operand(condition.operand)}"


def _operand(operand: Any) -> str:  # noqa: ANN401 - any YAML value
    if isinstance(operand, RecordConditions):
        return " and ".join(f"{name} {', '.join(map(_condition, wanted))}" for name, wanted in operand.fields.items())
    if isinstance(operand, tuple):
        return " or ".join(map(str, operand))
    return {True: "yes", False: "no"}.get(operand, str(operand)) if isinstance(operand, bool) else str(operand)


_WORDS = {
    "in": "is", "is": "is", "not": "is not", "min": "is at least", "max": "is at most", "at_least": "is at least",
    "within": "is within", "same_as": "is the same as", "has": "holds", "lacks": "lacks",
    "any": "has an entry with", "none": "has no entry with", "all": "has only entries with",
    "max_count": "has at most so many entries:", "min_count": "has at least so many entries:", "present": "is present:",
}  # fmt: skip
