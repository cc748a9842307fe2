"""No signature cries wolf: start-up logs of healthy servers of several releases show nothing that is wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

from sgldoctor.explain.answer import Explainer
from sgldoctor.explain.source import Block
from sgldoctor.rules.book import open_book

LOGS = sorted(Path("fixtures/logs/healthy").glob("*.log"))
EXPLAINER = Explainer(open_book()).prepare()


def test_there_are_logs() -> None:
    assert len(LOGS) >= 20


@pytest.mark.parametrize("whole", [True, False], ids=["lines", "blocks"])
@pytest.mark.parametrize("log", LOGS, ids=[log.stem for log in LOGS])
def test_a_healthy_log_shows_nothing_that_is_wrong(log: Path, *, whole: bool) -> None:
    scan = EXPLAINER.scan()
    scan.feed(Block(log.read_bytes(), 1, whole=whole))
    explanation = EXPLAINER.explain(scan)
    assert [match.id for match in explanation.matches if match.severity.value != "benign"] == []
    assert explanation.meaning.value == "benign"
