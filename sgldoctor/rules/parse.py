"""Reading one rule file: every error is found and named, none is guessed away."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from sgldoctor.errors import did_you_mean
from sgldoctor.facts import spec_of
from sgldoctor.rules import conditions
from sgldoctor.rules.model import (
    EVIDENCE_LEVELS,
    SUBJECTS,
    Affects,
    Fix,
    KnownException,
    Problem,
    Severity,
    Test,
)  # fmt: skip

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

REQUIRED = ("id", "title", "severity", "subject", "cause", "fix", "references", "evidence", "examples")
OPTIONAL = ("affects", "consequences", "check", "signatures", "known_exceptions")
PLACEHOLDER = re.compile(r"\{([a-z][A-Za-z0-9_.*-]*)\}")
ITEM = "item."


class _Reader:
    """The errors of one file, and the few shapes that its values may have."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.errors: list[str] = []

    def error(self, place: str, text: str) -> None:
        self.errors.append(f"{self.path}: {place}: {text}" if place else f"{self.path}: {text}")

    def keys(self, place: str, node: Any, required: tuple[str, ...], optional: tuple[str, ...]) -> bool:  # noqa: ANN401
        """Return whether a node is a mapping; note missing and unknown keys."""
        if not isinstance(node, dict):
            self.error(place, f"must be a mapping, not {node!r}")
            return False
        known = (*required, *optional)
        for key in node:
            if key not in known:
                self.error(place, f"unknown key {key!r}.{did_you_mean(str(key), known)} Known: {', '.join(known)}")
        for key in required:
            if key not in node:
                self.error(place, f"the key {key!r} is missing")
        return True

    def text(self, place: str, node: Any) -> str:  # noqa: ANN401
        if isinstance(node, str) and node.strip():
            return " ".join(node.split())
        self.error(place, f"must be a text, not {node!r} (quote versions and dates)")
        return ""

    def one_of(self, place: str, node: Any, allowed: tuple[str, ...]) -> str:  # noqa: ANN401
        if node in allowed:
            return str(node)
        self.error(place, f"{node!r} is none of {', '.join(allowed)}.{did_you_mean(str(node), allowed)}")
        return allowed[0]

    def texts(self, place: str, node: Any) -> tuple[str, ...]:  # noqa: ANN401
        return self.each(place, node, self.text)

    def each(self, place: str, node: Any, read: Callable[[str, Any], Any]) -> tuple[Any, ...]:  # noqa: ANN401
        if not isinstance(node, list):
            self.error(place, f"must be a list, not {node!r}")
            return ()
        return tuple(read(f"{place}[{number}]", item) for number, item in enumerate(node, start=1))

    def tests(self, place: str, node: Any) -> tuple[Test, ...]:  # noqa: ANN401
        if not isinstance(node, dict) or not node:
            self.error(place, f"must be a mapping of facts to conditions, not {node!r}")
            return ()
        tests = []
        for fact, raw in node.items():
            try:
                tests.append(Test(str(fact), conditions.parse(str(fact), raw)))
            except ValueError as error:
                self.error(f"{place}.{fact}", str(error))
        return tuple(tests)

    def template(self, place: str, node: Any, *, items: bool = False) -> str:  # noqa: ANN401
        """Return a text whose placeholders all name facts."""
        text = self.text(place, node)
        for name in PLACEHOLDER.findall(text):
            if spec_of(name) is None and not (items and name.startswith(ITEM)):
                self.error(place, f"the placeholder {{{name}}} names no fact")
        return text


def parse_problem(document: Any, path: Path, *, examples: bool) -> tuple[Problem | None, list[str]]:  # noqa: ANN401
    """Return the problem of one file and what is wrong with it; the problem is None where anything is."""
    reader = _Reader(path)
    required = REQUIRED if examples else tuple(key for key in REQUIRED if key != "examples")
    if not reader.keys("", document, required, OPTIONAL if examples else (*OPTIONAL, "examples")):
        return None, reader.errors
    if any(key not in document for key in required):
        return None, reader.errors
    problem = _problem(reader, document, path)
    return (None if reader.errors else problem), reader.errors


def _problem(reader: _Reader, document: dict[str, Any], path: Path) -> Problem:
    check = document.get("check", {"require": None})
    when: tuple[Test, ...] = ()
    require: tuple[Test, ...] = ()
    message = ""
    if "check" in document and reader.keys("check", check, ("require",), ("when", "message")):
        when = reader.tests("check.when", check["when"]) if "when" in check else ()
        require = reader.tests("check.require", check.get("require"))
        message = reader.template("check.message", check["message"], items=True) if "message" in check else ""
    signatures = document.get("signatures", [])
    if "check" not in document and not signatures:
        reader.error("", "holds neither a check nor a signature, so it can never be found")
    reader.each("signatures", signatures, lambda place, node: _signature(reader, place, node))
    evidence = document["evidence"]
    reader.keys("evidence", evidence, ("level", "date"), ())
    evidence = evidence if isinstance(evidence, dict) else {}
    identity = reader.text("id", document["id"])
    if identity != path.stem:
        reader.error("id", f"{identity!r} is not the name of the file")
    return Problem(
        id=identity,
        title=reader.text("title", document["title"]),
        severity=Severity(reader.one_of("severity", document["severity"], tuple(s.value for s in Severity))),
        subject=reader.one_of("subject", document["subject"], SUBJECTS),
        affects=_affects(reader, document["affects"]) if "affects" in document else None,
        consequences=reader.texts("consequences", document.get("consequences", [])),
        when=when,
        require=require,
        message=message,
        signatures=tuple(signatures) if isinstance(signatures, list) else (),
        cause=reader.text("cause", document["cause"]),
        fixes=reader.each("fix", document["fix"], lambda place, node: _fix(reader, place, node)),
        references=reader.texts("references", document["references"]),
        evidence_level=reader.one_of("evidence.level", evidence.get("level"), EVIDENCE_LEVELS),
        evidence_date=reader.text("evidence.date", evidence.get("date")),
        known_exceptions=reader.each(
            "known_exceptions",
            document.get("known_exceptions", []),
            lambda place, node: _exception(reader, place, node),
        ),
        path=str(path),
        examples=document.get("examples") or {},
    )


def _affects(reader: _Reader, node: Any) -> Affects | None:  # noqa: ANN401
    if not reader.keys("affects", node, ("package",), ("since", "until")):
        return None
    packages = node.get("package")
    bounds = [(">=", node.get("since")), ("<", node.get("until"))]
    specifier = ",".join(f"{sign}{version}" for sign, version in bounds if version is not None)
    try:
        conditions.parse("python.version", specifier)
    except ValueError as error:
        reader.error("affects", str(error))
    return Affects(reader.texts("affects.package", packages if isinstance(packages, list) else [packages]), specifier)


def _fix(reader: _Reader, place: str, node: Any) -> Fix | None:  # noqa: ANN401
    if not reader.keys(place, node, ("text",), ("command", "when")):
        return None
    return Fix(
        text=reader.template(f"{place}.text", node.get("text"), items=True),
        command=reader.template(f"{place}.command", node["command"], items=True) if "command" in node else None,
        when=reader.tests(f"{place}.when", node["when"]) if "when" in node else (),
    )


def _exception(reader: _Reader, place: str, node: Any) -> KnownException | None:  # noqa: ANN401
    if not reader.keys(place, node, ("text", "when"), ()):
        return None
    return KnownException(
        reader.text(f"{place}.text", node.get("text")), reader.tests(f"{place}.when", node.get("when"))
    )


def _signature(reader: _Reader, place: str, node: Any) -> None:  # noqa: ANN401
    """Check the shape only; patterns are compiled by validation, which alone needs the regex engine."""
    if reader.keys(place, node, (), ("all", "any", "none")):
        for key, patterns in node.items():
            reader.texts(f"{place}.{key}", patterns)
