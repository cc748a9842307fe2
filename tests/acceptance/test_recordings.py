"""Recordings of real machines: the healthy ones must be clean, the sick ones must give the report beside them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator

from sgldoctor.cli.app import run
from sgldoctor.schema import schema_text

FIXTURES = Path(__file__).parents[2] / "fixtures"
MACHINES = sorted(path.parent for path in FIXTURES.glob("machines/*/recording.json"))
CASES = sorted(path.parent for path in FIXTURES.glob("cases/*/recording.json"))


def origin(folder: Path) -> dict[str, Any]:
    return dict(yaml.safe_load((folder / "origin.yaml").read_text(encoding="utf-8")))


def check(folder: Path, capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str]:
    code = run(["check", "--from", str(folder), *origin(folder).get("arguments", []), *arguments])
    return code, capsys.readouterr().out


def findings(text: str) -> dict[str, Any]:
    """Return what a change of rules must not change unnoticed: verdict, and what was found."""
    document = json.loads(text)
    Draft202012Validator(json.loads(schema_text("check"))).validate(document)
    return {
        "verdict": document["verdict"],
        "found": {f["id"]: f["explained_by"] for f in document["findings"] if f["status"] == "found"},
    }


def test_there_are_recordings() -> None:
    assert (len(MACHINES) >= 2, len(CASES) >= 5) == (True, True)


@pytest.mark.parametrize("folder", MACHINES, ids=lambda path: path.name)
def test_a_healthy_machine_gives_no_error_and_no_warning(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, text = check(folder, capsys, "--json", "--fail-on", "warning")
    assert (code, list(findings(text)["found"])) == (0, origin(folder).get("notes", []))


@pytest.mark.parametrize("folder", CASES, ids=lambda path: path.name)
def test_a_case_gives_the_report_beside_it(
    folder: Path, capsys: pytest.CaptureFixture[str], *, update_golden: bool
) -> None:
    code, text = check(folder, capsys)
    _, document = check(folder, capsys, "--json")
    seen = {"exit": code, **findings(document)}
    if update_golden:
        (folder / "check.txt").write_text(text, encoding="utf-8")
        (folder / "check.json").write_text(json.dumps(seen, indent=1) + "\n", encoding="utf-8")
    assert seen == json.loads((folder / "check.json").read_text(encoding="utf-8"))
    assert text == (folder / "check.txt").read_text(encoding="utf-8")
