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
    Signature,
    Test,
)  # fmt: skip

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

REQUIRED = ("id", "title", "severity", "subject", "cause", "fix", "references", "evidence", "examples")
OPTIONAL = ("affects", "consequences", "check", "signatures", "symptom", "known_exceptions")
PLACEHOLDER = re.compile(r"\{([a-z][A-Za-z0-9_.*-]*)\}")
ITEM = "item."
CAPTURE = "capture."
_GROUP = re.compile(r"\(\?P<([a-z][a-z0-9_]*)>")
_ANY_GROUP = re.compile(r"\(\?P<([^>]*)>")

DERIVED = {
    "symbol": ("symbol_shown", "symbol_torch", "symbol_direction", "symbol_kernels"),
    "library": ("library_apt", "library_dnf", "library_package"),
    "flag": ("flag_nearest", "flag_history"),
    "variable": ("variable_nearest", "variable_history"),
    "gpu": ("gpu_capability", "gpu_architecture"),
}
"""What the tables add to a capture: a pattern that captures ``symbol`` may fill ``{capture.symbol_torch}`` too."""


class _Reader:
    """The errors of one file, and the few shapes that its values may have."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.errors: list[str] = []
        self.captures: set[str] = set()

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
                if str(fact).startswith(CAPTURE):
                    self.capture(place, str(fact).removeprefix(CAPTURE))
            except ValueError as error:
                self.error(f"{place}.{fact}", str(error))
        return tuple(tests)

    def capture(self, place: str, name: str) -> None:
        """Note a capture that no pattern of this file has."""
        if name not in self.captures:
            known = sorted(self.captures)
            self.error(place, f"no pattern captures {name!r}.{did_you_mean(name, known)} {_offer(known)}")

    def pattern(self, place: str, node: Any) -> str:  # noqa: ANN401
        """Return a pattern as it stands; validation compiles it, which alone needs the regex engine."""
        if not isinstance(node, str) or not node.strip():
            self.error(place, f"must be a pattern, not {node!r}")
            return ""
        for name in _ANY_GROUP.findall(node):
            if not _GROUP.fullmatch(f"(?P<{name}>"):
                self.error(place, f"the capture {name!r} must be lower-case letters, digits and underscores")
        return node

    def template(self, place: str, node: Any, *, items: bool = False) -> str:  # noqa: ANN401
        """Return a text whose placeholders all name facts, or captures of this file's signatures."""
        text = self.text(place, node)
        for name in PLACEHOLDER.findall(text):
            if name.startswith(CAPTURE):
                self.capture(place, name.removeprefix(CAPTURE))
            elif spec_of(name) is None and not (items and name.startswith(ITEM)):
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
    signatures = reader.each(
        "signatures", document.get("signatures", []), lambda place, node: _signature(reader, place, node)
    )
    check = document.get("check", {"require": None})
    when: tuple[Test, ...] = ()
    require: tuple[Test, ...] = ()
    message = ""
    if "check" in document and reader.keys("check", check, ("require",), ("when", "message")):
        when = reader.tests("check.when", check["when"]) if "when" in check else ()
        require = reader.tests("check.require", check.get("require"))
        message = reader.template("check.message", check["message"], items=True) if "message" in check else ""
    if "check" not in document and not signatures:
        reader.error("", "holds neither a check nor a signature, so it can never be found")
    symptom = document.get("symptom", False)
    if not isinstance(symptom, bool):
        reader.error("symptom", f"must be true or false, not {symptom!r}")
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
        signatures=signatures,
        symptom=symptom is True,
        cause=reader.template("cause", document["cause"], items=True),
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


def _signature(reader: _Reader, place: str, node: Any) -> Signature:  # noqa: ANN401
    """Return a signature and note what it captures, for the templates of this file."""
    if not reader.keys(place, node, (), ("all", "any", "none", "message")):
        return Signature()
    parts = {key: reader.each(f"{place}.{key}", node.get(key, []), reader.pattern) for key in ("all", "any", "none")}
    if not parts["all"] and not parts["any"]:
        reader.error(place, "needs a pattern under all or any")
    for pattern in (*parts["all"], *parts["any"]):
        for name in _GROUP.findall(pattern):
            reader.captures.update((name, *DERIVED.get(name, ())))
    message = reader.template(f"{place}.message", node["message"]) if "message" in node else ""
    return Signature(parts["all"], parts["any"], parts["none"], message)


def _offer(known: list[str]) -> str:
    return f"Captured here: {', '.join(known)}" if known else "Nothing is captured here."
