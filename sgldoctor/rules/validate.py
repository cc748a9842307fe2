"""Proving rule files: shape, patterns, and that every example comes out as it says."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sgldoctor.derive import derive
from sgldoctor.diagnose import judge
from sgldoctor.errors import RulesError
from sgldoctor.facts import Kind, fits, spec_of, unknown_fact
from sgldoctor.report.model import Status
from sgldoctor.rules.load import load_problems, read_problems, rules_folder
from sgldoctor.snapshot import Known, Snapshot, Unknown

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from sgldoctor.explain.answer import Explainer
    from sgldoctor.rules.model import Problem

EXPECTED = {
    "match": frozenset({Status.FOUND}),
    "no_match": frozenset({Status.OK, Status.NOT_APPLICABLE}),
    "unknown": frozenset({Status.UNKNOWN}),
}


def validate_rules(paths: tuple[Path, ...]) -> tuple[int, int]:
    """Return how many rules and examples were proved.

    Args:
        paths: rule files or folders; none: the shipped rules.

    Raises:
        RulesError: listing every error of every file.
    """
    problems = read_problems(paths or (rules_folder() / "problems",), examples=True)
    if paths:
        load_problems(paths)  # ids and consequences, together with the shipped rules
    errors = [error for problem in problems for error in problem_errors(problem)]
    if not errors and any(texts_of(problem) for problem in problems):
        from sgldoctor.explain.answer import Explainer  # noqa: PLC0415 - only signatures need the engine
        from sgldoctor.rules.book import Book  # noqa: PLC0415

        known = {problem.id: problem for problem in (*load_problems(paths), *problems)}
        explainer = Explainer(Book({}, known.values())).prepare()
        errors = [error for problem in problems for error in text_errors(problem, explainer)]
    if errors:
        raise RulesError(errors)
    return len(problems), sum(len(problem.examples.get(kind) or ()) for problem in problems for kind in EXPECTED)


def problem_errors(problem: Problem) -> Iterator[str]:
    """Yield what is wrong with one rule's patterns and examples."""
    yield from _pattern_errors(problem)
    unknown_keys = set(problem.examples) - set(EXPECTED)
    if unknown_keys:
        yield f"{problem.path}: examples: unknown key {min(unknown_keys)!r}; known: {', '.join(EXPECTED)}"
    yield from _shape_errors(problem)
    if not problem.require:
        return
    for kind, expected in EXPECTED.items():
        examples = [item for item in problem.examples.get(kind) or () if "facts" in item]
        if not examples:
            yield f"{problem.path}: examples.{kind}: a check needs at least one example with facts"
        for example in examples:
            yield from _example_errors(problem, kind, example, expected)


def _shape_errors(problem: Problem) -> Iterator[str]:
    """Yield examples that are neither facts nor a text that signatures judge."""
    if problem.signatures and not any(kind == "match" for kind, _ in texts_of(problem)):
        yield f"{problem.path}: examples.match: signatures need at least one example with a text"
    for kind in EXPECTED:
        for number, example in enumerate(problem.examples.get(kind) or (), start=1):
            if len({"facts", "text"} & set(example)) != 1 or set(example) - {"name", "facts", "text"}:
                yield f"{problem.path}: examples.{kind}[{number}]: an example has a name and either facts or text"
            elif "text" in example and (kind == "unknown" or not problem.signatures):
                yield f"{problem.path}: examples.{kind}[{number}]: a text is judged by signatures, as match or no_match"
            elif "text" in example and not isinstance(example["text"], str):
                yield f"{problem.path}: examples.{kind}[{number}]: text must be a text, not {example['text']!r}"


def texts_of(problem: Problem) -> list[tuple[str, dict[str, Any]]]:
    """Return the examples that are texts, each with its kind: match or no_match."""
    return [
        (kind, item) for kind in ("match", "no_match") for item in problem.examples.get(kind) or () if "text" in item
    ]


def text_errors(problem: Problem, explainer: Explainer) -> Iterator[str]:
    """Yield the texts that are not explained first by their own problem, and near misses that are matched.

    Args:
        problem: whose examples are judged.
        explainer: knows all problems that take part in the ranking.
    """
    for kind, example in texts_of(problem):
        ids = [match.id for match in explainer.explain_text(example["text"]).matches]
        place = f"{problem.path}: examples.{kind} ({example.get('name', 'no name')})"
        if kind == "match" and ids[:1] != [problem.id]:
            yield f"{place}: expected to be explained first by this problem, not by {' '.join(ids[:3]) or 'none'}"
        elif kind == "no_match" and problem.id in ids:
            yield f"{place}: expected not to match, came out as {', '.join(ids)}"


def example_status(problem: Problem, example: dict[str, Any]) -> Status:
    """Return what a rule makes of an example; facts that it does not give are unknown or follow from the others."""
    return judge(problem, derive(example_snapshot(example["facts"])))


def example_snapshot(facts: dict[str, Any]) -> Snapshot:
    """Return the snapshot that an example describes; the value ``unknown: reason`` is an unknown fact.

    Packages that an example does not name are absent as soon as it names one.
    """
    built = {
        name: Unknown(str(value["unknown"])) if _is_unknown(value) else Known(value, "example")
        for name, value in facts.items()
    }
    if any(name.startswith("package.") for name in facts) and "packages" not in facts:
        built["packages"] = Known(
            [
                {"name": name.removeprefix("package."), "version": value}
                for name, value in facts.items()
                if name.startswith("package.") and isinstance(value, str)
            ],
            "example",
        )
    return Snapshot(built)


def _example_errors(problem: Problem, kind: str, example: dict[str, Any], expected: frozenset[Status]) -> Iterator[str]:
    place = f"{problem.path}: examples.{kind} ({example.get('name', 'no name')})"
    if not example.get("name"):
        yield f"{place}: an example needs a name"
    for name, value in example["facts"].items():
        spec = spec_of(name)
        if spec is None:
            yield f"{place}: {unknown_fact(name)}"
        elif not _is_unknown(value) and not fits(name, value):
            yield f"{place}: {name} is a {spec.kind.value} fact; {value!r} is none (quote versions)"
        elif spec.kind is Kind.RECORDS and isinstance(value, list):
            for field in {key for record in value for key in record} - set(spec.fields):
                yield f"{place}: records of {name} have no field {field!r}; known: {', '.join(spec.fields)}"
    status = example_status(problem, example)
    if status not in expected:
        yield f"{place}: expected {' or '.join(sorted(s.value for s in expected))}, came out as {status.value}"


def _is_unknown(value: Any) -> bool:  # noqa: ANN401 - any YAML value
    return isinstance(value, dict) and value.keys() == {"unknown"}


def _pattern_errors(problem: Problem) -> Iterator[str]:
    """Yield patterns that RE2, which matches in linear time, does not compile, and those that match any line."""
    if not problem.signatures:
        return
    import re2  # noqa: PLC0415 - only rules with signatures need the engine

    from sgldoctor.explain.scan import compiled  # noqa: PLC0415

    for number, signature in enumerate(problem.signatures, start=1):
        for key in ("all", "any", "none"):
            for pattern in getattr(signature, key):
                place = f"{problem.path}: signatures[{number}].{key}: {pattern!r}"
                try:
                    if compiled(pattern).search(""):
                        yield f"{place} matches an empty line, and so every line"
                except re2.error as error:
                    reason = error.args[0].decode() if isinstance(error.args[0], bytes) else error
                    yield f"{place} does not compile: {reason}"
