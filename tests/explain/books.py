"""Small sets of problems for tests."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sgldoctor.explain.answer import Explainer
from sgldoctor.rules.book import Book
from sgldoctor.rules.model import Problem
from sgldoctor.rules.parse import parse_problem


def problem(identity: str, *patterns: str, **more: Any) -> Problem:
    """Return a problem whose one signature wants these patterns; further keys replace those of the file."""
    document: dict[str, Any] = {
        "id": identity, "title": f"The title of {identity}", "severity": "error", "subject": "host",
        "signatures": [{"all": list(patterns)}], "cause": "Because.", "fix": [{"text": "Mend it."}],
        "references": ["measured: here"], "evidence": {"level": "execution", "date": "2026-11-21"},
    }  # fmt: skip
    if not patterns:
        del document["signatures"]
    found, errors = parse_problem(document | more, Path(f"{identity}.yaml"), examples=False)
    assert errors == []
    assert found is not None
    return found


def explainer(*problems: Problem) -> Explainer:
    """Return an explainer that knows these problems alone."""
    return Explainer(Book({}, problems))


def ids(text: str, *problems: Problem) -> list[str]:
    """Return the problems that a text shows, the answer first."""
    return [match.id for match in explainer(*problems).explain_text(text).matches]
