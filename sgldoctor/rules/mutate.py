"""Mutants of a rule: copies with one condition weakened or one bound moved, which its examples must notice.

A mutant that no example notices shows a missing near miss. Bounds are only moved where some version or number
comes out differently, so every mutant can be noticed.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from packaging.specifiers import Specifier
from packaging.version import Version

from sgldoctor.derive import derive
from sgldoctor.diagnose import judge
from sgldoctor.explain.rank import met
from sgldoctor.facts import Kind
from sgldoctor.rules.conditions import RecordConditions, specifier_of
from sgldoctor.rules.validate import EXPECTED, example_snapshot, texts_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from typing import TypeAlias

    from sgldoctor.rules.conditions import Condition
    from sgldoctor.rules.model import Problem, Test

    Named: TypeAlias = "tuple[str, Any]"


@dataclass(frozen=True, slots=True)
class Mutant:
    """A copy of a rule that differs in one place, and what differs."""

    name: str
    problem: Problem


def survivors(problem: Problem) -> list[Mutant]:
    """Return the mutants of a rule that come out as expected on every one of its examples."""
    examples = [
        (expected, derive(example_snapshot(example["facts"])))
        for kind, expected in EXPECTED.items()
        for example in problem.examples.get(kind) or ()
        if "facts" in example
    ]
    checks = [
        mutant
        for mutant in mutants(problem)
        if all(judge(mutant.problem, snapshot) in expected for expected, snapshot in examples)
    ]
    return checks + _unnoticed_signatures(problem)


def _unnoticed_signatures(problem: Problem) -> list[Mutant]:
    """Return the copies with a pattern or signature dropped that match the same examples as before."""
    if not problem.signatures:
        return []
    from sgldoctor.explain.answer import Explainer  # noqa: PLC0415 - only signatures need the engine
    from sgldoctor.rules.book import Book  # noqa: PLC0415

    explainer = Explainer(Book({}, [problem]))
    seen = [(kind == "match", explainer.scan_text(example["text"]).hits) for kind, example in texts_of(problem)]
    return [
        mutant
        for mutant in signature_mutants(problem)
        if all((met(mutant.problem.signatures, hits) is not None) is wanted for wanted, hits in seen)
    ]


def signature_mutants(problem: Problem) -> Iterator[Mutant]:
    """Yield copies in which one signature, or one pattern of one, is dropped."""
    for number, signature in enumerate(problem.signatures):
        place = f"signatures[{number + 1}]"
        if len(problem.signatures) > 1:
            yield Mutant(f"{place} dropped", replace(problem, signatures=_without(problem.signatures, number)))
        for key in ("all", "any", "none"):
            patterns = getattr(signature, key)
            for which, pattern in enumerate(patterns):
                parts: dict[str, Any] = {key: _without(patterns, which)}
                changed = replace(signature, **parts)
                if changed.all or changed.any:  # without any pattern it would be no signature
                    yield Mutant(
                        f"{place}.{key}: {pattern!r} dropped",
                        replace(problem, signatures=_put(problem.signatures, number, changed)),
                    )


def mutants(problem: Problem) -> Iterator[Mutant]:
    """Yield every mutant of a rule's check."""
    for name, changed in _all_of(problem.when):
        yield Mutant(f"when: {name}", replace(problem, when=changed))
    for name, changed in _all_of(problem.require):
        yield Mutant(f"require: {name}", replace(problem, require=changed))
    for number, exception in enumerate(problem.known_exceptions, start=1):
        others = tuple(item for item in problem.known_exceptions if item is not exception)
        yield Mutant(f"known_exceptions[{number}] dropped", replace(problem, known_exceptions=others))
        for name, changed in _all_of(exception.when, keep_last=True):
            exceptions = (*others, replace(exception, when=changed))
            yield Mutant(f"known_exceptions[{number}]: {name}", replace(problem, known_exceptions=exceptions))
    if problem.affects is not None:
        yield from _affects(problem)


def _affects(problem: Problem) -> Iterator[Mutant]:
    affects = problem.affects
    if affects is None:
        return
    yield Mutant("affects dropped", replace(problem, affects=None))
    for number, package in enumerate(affects.packages):
        if len(affects.packages) > 1:
            rest = _without(affects.packages, number)
            yield Mutant(f"affects: {package} dropped", replace(problem, affects=replace(affects, packages=rest)))
    for name, (changed,) in _specifiers((affects.specifier,), whole=False):
        yield Mutant(f"affects: {name}", replace(problem, affects=replace(affects, specifier=changed)))


def _all_of(tests: tuple[Test, ...], *, keep_last: bool = False) -> Iterator[Named]:
    for number, test in enumerate(tests):
        if not (keep_last and len(tests) == 1):
            yield f"{test.fact} dropped", _without(tests, number)
        for name, changed in _conditions(test.conditions):
            yield f"{test.fact} {name}", _put(tests, number, replace(test, conditions=changed))


def _conditions(conditions: tuple[Condition, ...]) -> Iterator[Named]:
    for number, condition in enumerate(conditions):
        if len(conditions) > 1:
            yield f"{condition.operator} dropped", _without(conditions, number)
        for name, operand in _operands(condition):
            yield name, _put(conditions, number, replace(condition, operand=operand))


def _operands(condition: Condition) -> Iterator[Named]:
    """Yield other operands; ``at_least``, ``within`` and ``same_as`` name a fact, there dropping the test is all."""
    operator, operand = condition.operator, condition.operand
    if isinstance(operand, RecordConditions):
        yield from _fields(operator, operand.fields)
    elif isinstance(operand, bool):  # present, and flags
        yield f"{operator} {operand} flipped", not operand
    elif isinstance(operand, int | float):
        yield f"{operator} {operand} -> {operand + 1}", operand + 1
        if not (operator == "min_count" and operand == 0):  # no list is shorter than empty
            yield f"{operator} {operand} -> {operand - 1}", operand - 1
    elif condition.kind is Kind.VERSION and operator == "in":
        yield from _specifiers(operand)
    elif operator in {"in", "not"}:
        for number, value in enumerate(operand):
            yield f"{operator} {value!r} dropped", _without(operand, number)
    elif operator == "contains":
        yield f"contains {operand!r} dropped", ""
    elif operator in {"has", "lacks"}:
        yield f"{operator} {operand!r} changed", f"{operand}?"


def _fields(operator: str, fields: Mapping[str, tuple[Condition, ...]]) -> Iterator[Named]:
    for field, conditions in fields.items():
        rest = {name: kept for name, kept in fields.items() if name != field}
        yield f"{operator}.{field} dropped", RecordConditions(rest)
        for name, changed in _conditions(conditions):
            yield f"{operator}.{field} {name}", RecordConditions({**fields, field: changed})


def _specifiers(texts: tuple[str, ...], *, whole: bool = True) -> Iterator[Named]:
    """Yield the specifiers with one of them dropped, or one part of one dropped or moved."""
    for number, text in enumerate(texts):
        if whole:
            yield f"{text!r} dropped", _without(texts, number)
        parts = [part for item in text.split(",") if item.strip() for part in _plain(Specifier(item))]
        for place, part in enumerate(parts):
            rest = [*parts[:place], *parts[place + 1 :]]
            changes = [("dropped", rest)] if rest or not whole else []
            changes += [(f"-> {moved}", [*rest, moved]) for moved in _moved(Specifier(part))]
            for what, kept in changes:
                changed = _put(texts, number, ",".join(kept))
                if _differ(texts, changed):
                    yield f"{part} {what}", changed


def _plain(specifier: Specifier) -> list[str]:
    """Return ``~=2.8.1`` as the two parts that it stands for."""
    if specifier.operator != "~=":
        return [str(specifier)]
    release = ".".join(map(str, Version(specifier.version).release[:-1]))
    return [f">={specifier.version}", f"=={release}.*"]


def _moved(specifier: Specifier) -> Iterator[str]:
    """Yield the part with its bound one step further up and down; an equality takes in its neighbour."""
    sign, text = specifier.operator, specifier.version
    if sign == "==" and text.endswith(".*"):
        release = Version(text.removesuffix(".*")).release
        after = (*release[:-1], release[-1] + 1)
        yield f">={_dotted(release)},<{_dotted((*after[:-1], after[-1] + 1))}"
        if before := _below(release):
            yield f">={_dotted(before)},<{_dotted(after)}"
        return
    version = Version(text)
    if sign in {"!=", "==="} or version.local:
        return
    up, down = _up(version, ">" if sign == "==" else sign), _down(version)
    for moved in filter(None, (up, down)):
        low, high = sorted((version, moved))
        yield f">={low},<={high}" if sign == "==" else f"{sign}{moved}"


def _up(version: Version, sign: str) -> Version:
    """Return the next version of the same kind: after 2.8 comes 2.8.post1, after 0.5.0rc0 comes 0.5.0rc1.

    ``>2.8`` excludes 2.8.post1, so for it the next is the next release, 2.9; so it is for equalities.
    """
    release = _dotted(version.release)
    if version.dev is not None:
        return Version(f"{str(version).rpartition('.dev')[0]}.dev{version.dev + 1}")
    if version.post is not None:
        return Version(f"{str(version).rpartition('.post')[0]}.post{version.post + 1}")
    if version.pre is not None:
        return Version(f"{release}{version.pre[0]}{version.pre[1] + 1}")
    if sign == ">":
        return Version(_dotted((*version.release[:-1], version.release[-1] + 1)))
    return Version(f"{release}.post1")


def _down(version: Version) -> Version | None:
    """Return a version one step below, None where there is none: before 0.3.0 comes 0.2, before 1.0.post1 1.0."""
    release = _dotted(version.release)
    if version.dev:
        return Version(f"{str(version).rpartition('.dev')[0]}.dev{version.dev - 1}")
    if version.post is not None:
        stem = str(version).rpartition(".post")[0]
        return Version(f"{stem}.post{version.post - 1}" if version.post > 1 else stem)
    if version.pre is not None and version.pre[1] > 0:
        return Version(f"{release}{version.pre[0]}{version.pre[1] - 1}")
    below = _below(version.release)
    return Version(_dotted(below)) if below else None


def _below(release: tuple[int, ...]) -> tuple[int, ...] | None:
    while release and release[-1] == 0:
        release = release[:-1]
    return (*release[:-1], release[-1] - 1) if release else None


def _dotted(release: tuple[int, ...]) -> str:
    return ".".join(map(str, release))


def _differ(before: tuple[str, ...], after: tuple[str, ...]) -> bool:
    """Return whether some version is inside the one and outside the other."""
    versions = {version for text in (*before, *after) for version in _near(text)}
    return any(_inside(before, version) is not _inside(after, version) for version in versions)


def _near(text: str) -> Iterator[Version]:
    """Yield versions on and around every bound of a specifier."""
    for part in [part for item in specifier_of(text) for part in _plain(item)]:
        version = Version(Specifier(part).version.removesuffix(".*"))
        yield version
        yield _up(version, ">=")
        yield _up(Version(_dotted(version.release)), ">")
        if down := _down(version):
            yield down


def _inside(texts: tuple[str, ...], version: Version) -> bool:
    return any(specifier_of(text).contains(version) for text in texts)


def _without(items: tuple[Any, ...], number: int) -> tuple[Any, ...]:
    return (*items[:number], *items[number + 1 :])


def _put(items: tuple[Any, ...], number: int, item: Any) -> tuple[Any, ...]:  # noqa: ANN401 - one of the items' kind
    return (*items[:number], item, *items[number + 1 :])
