"""Conditions are data: specifiers, allowed values, flags and a few named operators; answers have three values.

``True`` and ``False`` are answers; ``None`` means that nothing is known. A fact that was looked for and is
absent meets no condition but ``{present: false}``.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, TypeAlias

from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.version import InvalidVersion, Version

from sgldoctor.errors import did_you_mean
from sgldoctor.facts import Kind, spec_of, unknown_fact
from sgldoctor.snapshot import Unknown

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from sgldoctor.snapshot import Snapshot

COMPARING = frozenset({"same_as", "at_least", "within"})
"""Operators whose operand names another fact."""

Truth: TypeAlias = "bool | None"

OPERATORS: dict[Kind, dict[str, str]] = {
    Kind.TEXT: {
        "not": "none of these values",
        "contains": "holds this text",
        "same_as": "equal to another fact",
    },
    Kind.VERSION: {
        "at_least": "not below the version in another fact",
        "within": "inside the specifier in another fact",
    },
    Kind.NUMBER: {"min": "at least", "max": "at most"},
    Kind.FLAG: {},
    Kind.TEXTS: {
        "has": "holds this text",
        "lacks": "does not hold this text",
        "max_count": "at most so many",
    },
    Kind.RECORDS: {
        "any": "some record meets these conditions",
        "none": "no record meets these conditions",
        "all": "every record meets these conditions",
        "max_count": "at most so many",
        "min_count": "at least so many",
    },
}


def all_of(truths: Iterable[Truth]) -> Truth:
    """Return False if one is false, else None if one is unknown, else True."""
    unknown = False
    for truth in truths:
        if truth is False:
            return False
        unknown = unknown or truth is None
    return None if unknown else True


def negated(truth: Truth) -> Truth:
    """Return the opposite; unknown stays unknown."""
    return None if truth is None else not truth


@lru_cache(maxsize=4096)
def version_of(text: str) -> Version | None:
    """Return a PEP 440 version, or None where the text is none."""
    try:
        return Version(text)
    except InvalidVersion:
        return None


@lru_cache(maxsize=4096)
def specifier_of(text: str) -> SpecifierSet:
    """Return a specifier set; pre-releases are versions like any other here.

    Raises:
        InvalidSpecifier: the text is no specifier.
    """
    return SpecifierSet(text, prereleases=True)


@dataclass(frozen=True, slots=True)
class Condition:
    """One operator on one kind of value."""

    kind: Kind
    operator: str
    operand: Any

    def test(self, value: Any, snapshot: Snapshot) -> Truth:  # noqa: ANN401 - any JSON value
        """Return whether a known value meets the condition."""
        if self.operator == "present":
            return (value is not None) is self.operand
        if value is None:
            return False
        return _TESTS[self.kind](self, value, snapshot)


@dataclass(frozen=True, slots=True)
class RecordConditions:
    """The operand of ``any``, ``none`` and ``all``: conditions on the fields of one record."""

    fields: Mapping[str, tuple[Condition, ...]]

    def test(self, record: dict[str, Any], snapshot: Snapshot) -> Truth:
        """Return whether one record meets all conditions; a field that is null is unknown."""
        return all_of(
            None if record.get(name) is None and condition.operator != "present"
            else condition.test(record.get(name), snapshot)
            for name, conditions in self.fields.items()
            for condition in conditions
        )  # fmt: skip


def _test_text(condition: Condition, value: Any, snapshot: Snapshot) -> Truth:  # noqa: ANN401
    match condition.operator:
        case "in":
            return bool(value in condition.operand)
        case "not":
            return bool(value not in condition.operand)
        case "contains":
            return bool(condition.operand in value)
        case _:
            other = snapshot.get(condition.operand)
            return None if isinstance(other, Unknown) else bool(value == other.value)


def _test_version(condition: Condition, value: Any, snapshot: Snapshot) -> Truth:  # noqa: ANN401
    version = version_of(str(value))
    if version is None:
        return None
    if condition.operator == "in":
        return any(specifier_of(text).contains(version) for text in condition.operand)
    other = snapshot.get(condition.operand)
    if isinstance(other, Unknown):
        return None
    if other.value is None:
        return False
    if condition.operator == "within":
        return specifier_of(str(other.value)).contains(version)
    least = version_of(str(other.value))
    return None if least is None else version >= least


def _test_number(condition: Condition, value: Any, _snapshot: Snapshot) -> Truth:  # noqa: ANN401
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    match condition.operator:
        case "min":
            return bool(value >= condition.operand)
        case "max":
            return bool(value <= condition.operand)
        case _:
            return bool(value == condition.operand)


def _test_flag(condition: Condition, value: Any, _snapshot: Snapshot) -> Truth:  # noqa: ANN401
    return value is condition.operand


def _test_texts(condition: Condition, value: Any, _snapshot: Snapshot) -> Truth:  # noqa: ANN401
    match condition.operator:
        case "has":
            return bool(condition.operand in value)
        case "lacks":
            return bool(condition.operand not in value)
        case _:
            return bool(len(value) <= condition.operand)


def _test_records(condition: Condition, value: Any, snapshot: Snapshot) -> Truth:  # noqa: ANN401
    if condition.operator == "max_count":
        return bool(len(value) <= condition.operand)
    if condition.operator == "min_count":
        return bool(len(value) >= condition.operand)
    truths = [condition.operand.test(record, snapshot) for record in value]
    if condition.operator == "all":
        return all_of(truths)
    none = all_of(negated(truth) for truth in truths)
    return none if condition.operator == "none" else negated(none)


_TESTS = {
    Kind.TEXT: _test_text,
    Kind.VERSION: _test_version,
    Kind.NUMBER: _test_number,
    Kind.FLAG: _test_flag,
    Kind.TEXTS: _test_texts,
    Kind.RECORDS: _test_records,
}


def parse(name: str, raw: Any) -> tuple[Condition, ...]:  # noqa: ANN401 - any YAML value
    """Read the conditions that a rule puts on one fact.

    Raises:
        ValueError: there is no such fact or operator, or the operand does not fit.
    """
    spec = spec_of(name)
    if spec is None:
        raise ValueError(unknown_fact(name))
    return _parse_kind(spec.kind, spec.fields, raw)


def _parse_kind(kind: Kind, fields: Mapping[str, Kind], raw: Any) -> tuple[Condition, ...]:  # noqa: ANN401
    if isinstance(raw, dict):
        if not raw:
            raise ValueError("holds no condition")
        return tuple(_parse_operator(kind, fields, operator, operand) for operator, operand in raw.items())
    match kind:
        case Kind.FLAG if isinstance(raw, bool):
            return (Condition(kind, "is", raw),)
        case Kind.NUMBER if isinstance(raw, int | float) and not isinstance(raw, bool):
            return (Condition(kind, "is", raw),)
        case Kind.TEXT | Kind.VERSION if isinstance(raw, str) or _is_texts(raw):
            values = (raw,) if isinstance(raw, str) else tuple(raw)
            if kind is Kind.VERSION:
                for value in values:
                    _check_specifier(value)
            return (Condition(kind, "in", values),)
        case _:
            raise ValueError(f"{raw!r} is no condition on a {kind.value} fact; {_offer(kind)}")


def _parse_operator(kind: Kind, fields: Mapping[str, Kind], operator: str, operand: Any) -> Condition:  # noqa: ANN401
    if operator == "present" and isinstance(operand, bool):
        return Condition(kind, operator, operand)
    if operator not in OPERATORS[kind]:
        known = [*OPERATORS[kind], "present"]
        raise ValueError(
            f"no operator {operator!r} on a {kind.value} fact.{did_you_mean(operator, known)} {_offer(kind)}"
        )
    if operator in {"any", "none", "all"}:
        return Condition(kind, operator, _parse_fields(fields, operand))
    if operator in COMPARING and (not isinstance(operand, str) or spec_of(operand) is None):
        raise ValueError(unknown_fact(str(operand)))
    wanted, fits = _OPERANDS.get(operator, _NUMBER)
    if not fits(operand):
        raise ValueError(f"{operator!r} takes {wanted}, not {operand!r}")
    return Condition(kind, operator, tuple(operand) if isinstance(operand, list) else operand)


def _parse_fields(fields: Mapping[str, Kind], raw: Any) -> RecordConditions:  # noqa: ANN401
    if not isinstance(raw, dict) or not raw:
        raise ValueError(f"takes conditions on fields ({', '.join(fields)}), not {raw!r}")
    parsed: dict[str, tuple[Condition, ...]] = {}
    for name, condition in raw.items():
        if name not in fields:
            raise ValueError(f"records have no field {name!r}.{did_you_mean(str(name), list(fields))}")
        parsed[name] = _parse_kind(fields[name], {}, condition)
    return RecordConditions(parsed)


def _check_specifier(text: str) -> None:
    try:
        specifier_of(text)
    except InvalidSpecifier:
        raise ValueError(f"{text!r} is no PEP 440 specifier, such as '>=2.8,<2.9' or '==2.8.*'") from None


def _is_texts(raw: Any) -> bool:  # noqa: ANN401
    return isinstance(raw, list) and bool(raw) and all(isinstance(item, str) for item in raw)


def _is_number(raw: Any) -> bool:  # noqa: ANN401
    return isinstance(raw, int | float) and not isinstance(raw, bool)


def _is_text(raw: Any) -> bool:  # noqa: ANN401
    return isinstance(raw, str)


_NUMBER = ("a number", _is_number)
_TEXT = ("a text", _is_text)
_OPERANDS = {
    "not": ("a list of texts", _is_texts),
    **dict.fromkeys(("contains", "has", "lacks", *COMPARING), _TEXT),
}


def _offer(kind: Kind) -> str:
    plain = {
        Kind.TEXT: "a text, a list of texts",
        Kind.VERSION: "a specifier, a list of specifiers",
        Kind.NUMBER: "a number",
        Kind.FLAG: "true or false",
        Kind.TEXTS: "",
        Kind.RECORDS: "",
    }[kind]
    return "use " + ", ".join(filter(None, [plain, *OPERATORS[kind], "present"]))
