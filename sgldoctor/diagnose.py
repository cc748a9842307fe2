"""Snapshot x problems -> findings. Pure: no file, no clock, no network."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sgldoctor.facts import Kind, label_of, spec_of
from sgldoctor.report.model import Check, Evidence, FilledFix, Finding, Status
from sgldoctor.rules.conditions import COMPARING, RecordConditions, all_of, specifier_of, version_of
from sgldoctor.rules.model import Severity
from sgldoctor.rules.parse import CAPTURE, ITEM, PLACEHOLDER
from sgldoctor.snapshot import Known, Unknown

# What a name, a version, a requirement or a path may hold in a command, mostly between double quotes.
_SAFE = re.compile(r"^[\w.+=<>!,~/@:\[\] -]*$")

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from sgldoctor.rules.conditions import Truth
    from sgldoctor.rules.model import Affects, Fix, Problem, Test
    from sgldoctor.snapshot import Snapshot


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """What every problem's check came to, sorted by id, and the findings among them."""

    checks: tuple[Check, ...]
    findings: tuple[Finding, ...]


def diagnose(snapshot: Snapshot, problems: Iterable[Problem]) -> Diagnosis:
    """Judge a snapshot by every problem that can be checked."""
    judged = [(problem, judge(problem, snapshot)) for problem in problems if problem.require]
    found = {problem.id for problem, status in judged if status is Status.FOUND}
    causes = _causes([problem for problem, _ in judged if problem.id in found], found)
    return Diagnosis(
        checks=tuple(Check(problem.id, problem.subject, status) for problem, status in judged),
        findings=tuple(
            finding(problem, status, snapshot, causes.get(problem.id))
            for problem, status in judged
            if status in {Status.FOUND, Status.UNKNOWN}
        ),
    )


def judge(problem: Problem, snapshot: Snapshot) -> Status:
    """Return what one problem's check comes to."""
    applies = all_of(
        [
            _affected(problem.affects, snapshot),
            *(test_truth(test, snapshot) for test in problem.when),
            *(_not_excepted(exception.when, snapshot) for exception in problem.known_exceptions),
        ]
    )
    if applies is False or _nothing_to_judge(problem, snapshot):
        return Status.NOT_APPLICABLE
    holds = all_of(test_truth(test, snapshot) for test in problem.require)
    if holds is True:
        return Status.OK
    return Status.FOUND if holds is False and applies is True else Status.UNKNOWN


def test_truth(test: Test, snapshot: Snapshot) -> Truth:
    """Return whether a fact meets all conditions of a test."""
    fact = snapshot.get(test.fact)
    if isinstance(fact, Unknown):
        return None
    return all_of(condition.test(fact.value, snapshot) for condition in test.conditions)


def _affected(affects: Affects | None, snapshot: Snapshot) -> Truth:
    if affects is None:
        return True
    truths: list[Truth] = []
    for package in affects.packages:
        fact = snapshot.get(f"package.{package}")
        if isinstance(fact, Unknown):
            truths.append(None)
        elif fact.value is not None:
            version = version_of(str(fact.value))
            truths.append(None if version is None else specifier_of(affects.specifier).contains(version))
    if True in truths:
        return True
    return None if None in truths else False


def _not_excepted(tests: tuple[Test, ...], snapshot: Snapshot) -> Truth:
    """Return False where an exception certainly applies; an unknown exception excuses nothing."""
    return not all_of(test_truth(test, snapshot) is True for test in tests)


def _nothing_to_judge(problem: Problem, snapshot: Snapshot) -> bool:
    """Return whether a fact that is required, or compared with, was looked for and is absent."""
    for test in problem.require:
        names = [c.operand for c in test.conditions if c.operator in COMPARING]
        if not any(condition.operator == "present" for condition in test.conditions):
            names.append(test.fact)
        if any(isinstance(fact := snapshot.get(name), Known) and fact.value is None for name in names):
            return True
    return False


def _causes(problems: list[Problem], found: set[str]) -> dict[str, str]:
    """Return, for each explained problem, the first root cause that explains it, through any depth."""
    by_id = {problem.id: problem for problem in problems}
    explained = {name for problem in problems for name in problem.consequences if name in found}
    causes: dict[str, str] = {}
    for root in sorted(found - explained):
        todo = list(by_id[root].consequences)
        while todo:
            name = todo.pop()
            if name in found and name not in causes:
                causes[name] = root
                todo.extend(by_id[name].consequences)
    return causes


def finding(problem: Problem, status: Status, snapshot: Snapshot, explained_by: str | None) -> Finding:
    """Return what a check that came out as found or unknown has to say."""
    items = _offending(problem, snapshot) if status is Status.FOUND else []
    item = items[0] if items else {}
    message = fill(problem.message, snapshot, item) if status is Status.FOUND and problem.message else None
    if status is Status.UNKNOWN:
        message = "; ".join(dict.fromkeys(_reasons(problem, snapshot))) or "the facts do not decide it"
    return Finding(
        id=problem.id,
        subject=problem.subject,
        severity=problem.severity if problem.confirmed else Severity.INFO,
        status=status,
        title=problem.title,
        message=message or problem.title,
        cause=fill(problem.cause, snapshot, item) or problem.cause,
        explained_by=explained_by,
        evidence=tuple(_evidence(problem, snapshot, items)),
        fixes=tuple(fixes(problem, snapshot, item)) if status is Status.FOUND else (),
        references=problem.references,
        confirmed=problem.confirmed,
    )


def _offending(problem: Problem, snapshot: Snapshot) -> list[dict[str, Any]]:
    """Return the records that break a requirement."""
    for test in problem.require:
        for condition in test.conditions:
            wanted = condition.operand
            if condition.operator in {"none", "all"} and isinstance(wanted, RecordConditions):
                bad = condition.operator == "none"
                return [record for record in snapshot.records(test.fact) if wanted.test(record, snapshot) is bad]
    return []


def _reasons(problem: Problem, snapshot: Snapshot) -> Iterable[str]:
    """Return why facts that the check asks for are unknown."""
    for name in _facts_of(problem):
        fact = snapshot.get(name)
        if isinstance(fact, Unknown):
            yield fact.reason


def _facts_of(problem: Problem) -> list[str]:
    names = [f"package.{package}" for package in problem.affects.packages] if problem.affects else []
    names += [test.fact for test in (*problem.when, *problem.require)]
    for test in (*problem.when, *problem.require):
        names += [c.operand for c in test.conditions if c.operator in COMPARING]
    return list(dict.fromkeys(names))


def _evidence(problem: Problem, snapshot: Snapshot, items: list[dict[str, Any]]) -> Iterable[Evidence]:
    for name in _facts_of(problem):
        fact, spec = snapshot.get(name), spec_of(name)
        if not isinstance(fact, Known) or spec is None or (fact.value is None and not name.startswith("package.")):
            continue
        if spec.kind is Kind.RECORDS:
            if name in {test.fact for test in problem.require}:
                yield from (Evidence(_record_text(item), str(item.get("where") or fact.source)) for item in items)
        else:
            yield Evidence(f"{label_of(name)}: {show(fact.value)}", fact.source)


def _record_text(record: Mapping[str, Any]) -> str:
    return ", ".join(
        f"{name} {show(value)}" for name, value in record.items() if value not in (None, "", []) and name != "where"
    )


def fixes(problem: Problem, snapshot: Snapshot, item: dict[str, Any]) -> Iterable[FilledFix]:
    """Yield the cures whose conditions are not known to be false and whose placeholders are all known.

    A cure that depends on what a text says is for `explain` alone.
    """
    for fix in problem.fixes:
        if all_of(test_truth(test, snapshot) for test in fix.when) is False or _wants_a_text(fix, snapshot):
            continue
        text = fill(fix.text, snapshot, item)
        command = _command(fix.command, snapshot, item) if fix.command else None
        if text is not None and (command is not None or fix.command is None):
            yield FilledFix(text, command)


def _wants_a_text(fix: Fix, snapshot: Snapshot) -> bool:
    return any(t.fact.startswith(CAPTURE) and isinstance(snapshot.get(t.fact), Unknown) for t in fix.when)


def _command(template: str, snapshot: Snapshot, item: Mapping[str, Any]) -> str | None:
    """Return a command, or None where a value could mean something to a shell: names come from foreign files."""
    for name in PLACEHOLDER.findall(template):
        value = item.get(name[len(ITEM) :]) if name.startswith(ITEM) else snapshot.value(name)
        if not name.startswith("command.") and not safe(show(value)):
            return None
    return fill(template, snapshot, item)


def safe(value: str) -> bool:
    """Return whether a value means nothing to a shell."""
    return bool(_SAFE.match(value))


def fill(template: str, snapshot: Snapshot, item: Mapping[str, Any]) -> str | None:
    """Return a text with its placeholders filled, or None where one of them is not known."""
    values: dict[str, str] = {}
    for name in PLACEHOLDER.findall(template):
        value = item.get(name[len(ITEM) :]) if name.startswith(ITEM) else snapshot.value(name)
        if value is None:
            return None
        values[name] = show(value)
    return PLACEHOLDER.sub(lambda match: values[match[1]], template)


def show(value: Any) -> str:  # noqa: ANN401 - any JSON value
    """Return a value as a reader expects it: yes and no, lists with commas."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return ", ".join(show(item) for item in value)
    return "none" if value is None else str(value)
