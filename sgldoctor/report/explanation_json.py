"""An explanation as JSON: the contract for programs, described by ``schemas/explain.schema.json``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sgldoctor.report.as_json import SCHEMA_VERSION, written

if TYPE_CHECKING:
    from sgldoctor.explain.model import Explanation, Match


def render(explanation: Explanation) -> str:
    """Return the explanation as a JSON text, the most likely root first."""
    document = {
        "schema_version": SCHEMA_VERSION,
        "verdict": explanation.meaning.value,
        "matches": [_match(match) for match in explanation.matches],
    }
    return written(document, sort_keys=False)


def _match(match: Match) -> dict[str, Any]:
    return {
        "id": match.id,
        "title": match.title,
        "severity": match.severity.value,
        "cause": match.cause,
        "message": match.message,
        "lines": [{"number": line.number, "text": line.text} for line in match.lines],
        "captures": dict(match.captures),
        "fixes": [{"text": fix.text, "command": fix.command} for fix in match.fixes],
        "confirmed": match.confirmed,
        "references": list(match.references),
    }
