from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from sgldoctor.cli.app import app
from sgldoctor.errors import SgldoctorError
from tests.install.execute.local_index import LocalIndex

TRANSFORMERS = "transformers"


@pytest.fixture
def patient(index: LocalIndex, tmp_path: Path) -> Path:
    """Something that is called sglang 0.5.9 and requires transformers 4.57.1, with 4.40.0 installed."""
    index.add("sglang", "0.5.9", requires=("transformers==4.57.1", "helper"))
    index.add("transformers", "4.57.1", requires=("base==2.0",))
    index.add("transformers", "4.40.0")
    venv = tmp_path / "env"
    uv("venv", "--quiet", "--python", sys.executable, str(venv))
    uv(
        "pip",
        "install",
        "--quiet",
        "--python",
        str(venv),
        "--no-deps",
        "sglang==0.5.9",
        "transformers==4.40.0",
        "helper",
    )
    return venv


def uv(*arguments: str) -> str:
    from uv import find_uv_bin

    return subprocess.run([find_uv_bin(), *arguments], check=True, capture_output=True, text=True).stdout


def frozen(venv: Path) -> list[str]:
    return uv("pip", "freeze", "--python", str(venv)).split()


BEFORE = ["helper==1.5", "sglang==0.5.9", "transformers==4.40.0"]


def fix(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["fix", *arguments])


def test_cures_are_shown_and_nothing_is_changed(patient: Path) -> None:
    done = fix("--venv", str(patient), "--json")
    shown = {cure["id"]: cure["commands"] for cure in json.loads(done.stdout)["cures"]}
    assert shown["transformers-differs-from-pin"] == [
        f"uv pip install --python {patient}/bin/python transformers==4.57.1"
    ]
    assert frozen(patient) == BEFORE
    assert not (patient / ".sgldoctor").exists()


def test_what_is_no_package_change_is_left_to_the_user(patient: Path) -> None:
    document = json.loads(fix("--venv", str(patient), "--json").stdout)
    assert not {cure["id"] for cure in document["cures"]} & {other["id"] for other in document["others"]}
    assert "uv" in {words.split()[0] for cure in document["cures"] for words in cure["commands"]}


def test_a_cure_is_applied_and_undone(patient: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    only(monkeypatch, "transformers-differs-from-pin")
    fix("--venv", str(patient), "--execute")
    assert frozen(patient) == ["base==2.0", "helper==1.5", "sglang==0.5.9", "transformers==4.57.1"]
    done = fix("--venv", str(patient), "--undo")
    assert (done.exit_code, done.stdout) == (0, "transformers==4.40.0\nwithout base\n")
    assert frozen(patient) == BEFORE
    again = fix("--venv", str(patient), "--undo")
    assert isinstance(again.exception, SgldoctorError)
    assert str(again.exception) == (
        f"{patient}/.sgldoctor/before-fix.json is not there, so nothing was mended here that could be undone."
    )


def test_a_cure_that_the_installer_refuses_says_how_to_go_back(
    patient: Path, index: LocalIndex, monkeypatch: pytest.MonkeyPatch
) -> None:
    only(monkeypatch, "transformers-differs-from-pin")
    (index.root / "transformers/index.html").write_text("")
    done = fix("--venv", str(patient), "--execute")
    assert isinstance(done.exception, SgldoctorError)
    assert int(done.exception.exit_code) == 5
    lines = str(done.exception).splitlines()
    assert lines[0] == f"uv pip install --python {patient}/bin/python transformers==4.57.1 failed."
    assert lines[-1] == f"Take it back with: sgldoctor fix --undo --venv {patient}"
    assert frozen(patient) == BEFORE


def test_an_environment_is_never_guessed() -> None:
    done = fix("--execute")
    assert isinstance(done.exception, SgldoctorError)
    assert (int(done.exception.exit_code), str(done.exception)) == (
        2, "--execute and --undo change an environment. Name it with --venv or --python.",
    )  # fmt: skip


def only(monkeypatch: pytest.MonkeyPatch, *wanted: str) -> None:
    """Let check know these problems alone: what is called sglang here is an empty package."""
    from sgldoctor import api
    from sgldoctor.rules.load import load_problems

    monkeypatch.setattr(api, "load_problems", lambda paths: [p for p in load_problems(paths) if p.id in wanted])
