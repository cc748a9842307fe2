"""The command itself, from a lock file: what is shown, and the exit codes."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from sgldoctor.cli.app import run
from sgldoctor.install.execute import Work, execute
from tests.install.execute.conftest import Told, plan_for
from tests.install.execute.local_index import LocalIndex

TARGET: tuple[tuple[str, Any], ...] = (("gpus", []), ("python", "3.12"), ("arch", None), ("glibc", None))


@pytest.fixture
def lock(index: LocalIndex, tmp_path: Path, told: Told) -> Path:
    plan = replace(plan_for(tmp_path / "first"), target=TARGET)
    assert execute(plan, Work(), told).status == "done"
    return tmp_path / "first/.sgldoctor/pylock.toml"


def test_done(lock: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    venv = tmp_path / "second"
    assert run(["install", "--from", str(lock), "--venv", str(venv), "--execute"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("Ready")
    assert "Carry it out" not in out
    assert f"sglang in {venv}; what was done: {venv}/.sgldoctor/record.json\n" in out


def test_done_as_json(lock: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["install", "--from", str(lock), "--venv", str(tmp_path / "second"), "--execute", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["status"] == "done"


def test_failed(lock: Path, index: LocalIndex, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import shutil

    shutil.rmtree(index.root / "middle")
    shutil.rmtree(tmp_path / "cache")
    arguments = ["install", "--from", str(lock), "--venv", str(tmp_path / "second"), "--execute"]
    assert run(arguments) == 5
    out = capsys.readouterr().out
    assert "\nFailed: The installer says:\n  error: " in out
    assert run([*arguments, "--resume", "--clean"]) == 5
    assert f"{tmp_path}/second was removed.\n" in capsys.readouterr().out
    assert not (tmp_path / "second").exists()


def test_refused(lock: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["install", "--from", str(lock), "--venv", str(tmp_path / "first"), "--execute"]) == 3
    assert capsys.readouterr().err.endswith(
        "first holds an installation that sgldoctor began. Go on with --resume, or name another folder with --venv.\n"
    )
    assert run(["install", "--wheelhouse", str(tmp_path), "--execute"]) == 3
    assert run(["install", "--from", "nowhere.toml", "--execute"]) == 3
    assert run(["install", "--resume"]) == 2


def test_resumed_from_its_own_state_alone(
    index: LocalIndex, tmp_path: Path, told: Told, capsys: pytest.CaptureFixture[str]
) -> None:
    execute(replace(plan_for(tmp_path / "env"), target=TARGET), Work(), told)
    assert run(["install", "--resume", "--execute", "--venv", str(tmp_path / "env"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["status"] == "done"
