"""What was observed: every fact is Known with its source, or Unknown with its reason."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, TypeAlias

from sgldoctor.errors import SnapshotError
from sgldoctor.facts import fits

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

SCHEMA_VERSION = 1

Value: TypeAlias = "str | int | float | bool | list[str] | list[dict[str, Any]] | None"


@dataclass(frozen=True, slots=True)
class Known:
    """A value that was seen. ``None`` means: looked for and absent."""

    value: Value
    source: str


@dataclass(frozen=True, slots=True)
class Unknown:
    """Nothing was seen; the reason says why and what would settle it."""

    reason: str


Fact: TypeAlias = "Known | Unknown"
Facts: TypeAlias = "dict[str, Fact]"


@dataclass(frozen=True, slots=True)
class Snapshot:
    """All facts about one machine and one environment at one moment."""

    facts: Mapping[str, Fact] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "facts", MappingProxyType(dict(self.facts)))

    def get(self, name: str) -> Fact:
        """Return the fact of that name; a name that nobody looked at is Unknown."""
        if fact := self.facts.get(name):
            return fact
        if name.startswith("package.") and (listed := self.facts.get("packages")):
            return Known(None, listed.source) if isinstance(listed, Known) else listed
        return Unknown("nothing looked at this")

    def value(self, name: str) -> Value:
        """Return the value, or None where it is unknown or absent."""
        fact = self.get(name)
        return fact.value if isinstance(fact, Known) else None

    def text(self, name: str) -> str | None:
        """Return the value as text, or None where it is unknown or absent."""
        value = self.value(name)
        return None if value is None else str(value)

    def records(self, name: str) -> list[dict[str, Any]]:
        """Return a list of records, empty where it is unknown or absent."""
        value = self.value(name)
        return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []

    def texts(self, name: str) -> list[str]:
        """Return a list of texts, empty where it is unknown or absent."""
        value = self.value(name)
        return [item for item in value if isinstance(item, str)] if isinstance(value, list) else []

    def with_facts(self, facts: Mapping[str, Fact]) -> Snapshot:
        """Return a snapshot in which these facts replace the old ones."""
        return Snapshot({**self.facts, **facts})


def facts_to_json(snapshot: Snapshot) -> dict[str, dict[str, Any]]:
    """Return ``{name: {value, source} | {unknown: reason}}``, sorted by name."""
    return {
        name: {"value": fact.value, "source": fact.source} if isinstance(fact, Known) else {"unknown": fact.reason}
        for name, fact in sorted(snapshot.facts.items())
    }


def to_json(snapshot: Snapshot) -> str:
    """Return the snapshot as a JSON text that `from_json` reads back unchanged."""
    document = {"schema_version": SCHEMA_VERSION, "kind": "snapshot", "facts": facts_to_json(snapshot)}
    return json.dumps(document, indent=1, ensure_ascii=False) + "\n"


def from_json(text: str, origin: str) -> Snapshot:
    """Read a snapshot, or the facts of a check report.

    Args:
        text: the JSON text.
        origin: the file's name, for the error.

    Raises:
        SnapshotError: the text is no JSON, or no snapshot, or of a newer schema.
    """
    try:
        document = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise SnapshotError(
            f"{origin} is no snapshot: not valid JSON ({error}). Make one with: sgldoctor check --save FILE"
        ) from None
    if not isinstance(document, dict) or not isinstance(document.get("facts"), dict):
        raise SnapshotError(f"{origin} is no snapshot: it holds no facts. Make one with: sgldoctor check --save FILE")
    if document.get("schema_version") != SCHEMA_VERSION:
        raise SnapshotError(
            f"{origin} has schema version {document.get('schema_version')!r}; this sgldoctor reads "
            f"{SCHEMA_VERSION}. Take the snapshot again with this version of sgldoctor."
        )
    return Snapshot(dict(_facts(document["facts"].items(), origin)))


def _facts(items: Iterable[tuple[str, Any]], origin: str) -> Iterable[tuple[str, Fact]]:
    for name, body in items:
        if isinstance(body, dict) and body.keys() == {"value", "source"} and isinstance(body["source"], str):
            if not fits(name, body["value"]):
                raise SnapshotError(
                    f"{origin}: the value of fact {name!r} is not of its kind. "
                    "Take the snapshot again with: sgldoctor check --save FILE"
                )
            yield name, Known(body["value"], body["source"])
        elif isinstance(body, dict) and body.keys() == {"unknown"} and isinstance(body["unknown"], str):
            yield name, Unknown(body["unknown"])
        else:
            raise SnapshotError(
                f"{origin}: fact {name!r} is neither {{value, source}} nor {{unknown}}. "
                "Take the snapshot again with: sgldoctor check --save FILE"
            )
