"""What surrounds a report: pipes that close, devices, hostile names."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from sgldoctor.cli.app import run
from sgldoctor.redact import Redactor
from tests.environments import add, make_venv

pytestmark = pytest.mark.enable_socket  # check binds ports of this machine to see whether they are free

DOCTOR = f"'{sys.executable}' -m sgldoctor"


def shell(command: str) -> tuple[int, str, str]:
    done = subprocess.run(["bash", "-c", command], capture_output=True, check=False, text=True)
    return done.returncode, done.stdout, done.stderr


@pytest.fixture
def healthy(tmp_path: Path) -> str:
    make_venv(tmp_path / "env")
    return f"check --venv '{tmp_path}/env' --only python"


def test_the_verdict_survives_a_reader_that_leaves_and_a_closed_stdout(healthy: str) -> None:
    assert shell(f"{DOCTOR} {healthy} | true; exit ${{PIPESTATUS[0]}}") == (0, "", "")
    assert shell(f"{DOCTOR} {healthy} >&-") == (0, "", "")


def test_a_full_disk_is_one_line(healthy: str) -> None:
    code, _, error = shell(f"{DOCTOR} {healthy} --json >/dev/full")
    assert (code, error) == (3, "sgldoctor: Cannot write the report: No space left on device.\n")


def test_a_link_is_followed_and_a_pipe_is_written_to(healthy: str, tmp_path: Path) -> None:
    (tmp_path / "real.json").write_text("")
    (tmp_path / "link.json").symlink_to("real.json")
    os.mkfifo(tmp_path / "pipe")
    assert shell(f"{DOCTOR} {healthy} --json -o '{tmp_path}/link.json'")[0] == 0
    assert (tmp_path / "link.json").is_symlink()
    assert json.loads((tmp_path / "real.json").read_text())["schema_version"] == 1
    code, out, _ = shell(
        f"cat '{tmp_path}/pipe' & {DOCTOR} {healthy} --json -o '{tmp_path}/pipe'; code=$?; wait; exit $code"
    )
    assert (code, json.loads(out)["schema_version"], (tmp_path / "pipe").is_fifo()) == (0, 1, True)


@pytest.mark.parametrize("option", ["--venv", "--python", "--root", "--from", "--save", "--record", "-r"])
def test_an_empty_path_is_wrong_usage(option: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["check", option, ""]) == 2
    assert "takes a path; an empty one was given" in capsys.readouterr().err


def test_a_requirements_pipe_hangs_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    os.mkfifo(tmp_path / "pipe")
    assert run(["check", "-r", str(tmp_path / "pipe")]) == 3
    assert "it is no regular file" in capsys.readouterr().err


@pytest.mark.parametrize("value", ["[null]", '["x"]', "[[1]]", '"x"', "5"])
def test_a_snapshot_of_the_wrong_kinds_is_refused(
    value: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = f'{{"schema_version": 1, "facts": {{"packages.damaged": {{"value": {value}, "source": "x"}}}}}}'
    (tmp_path / "snapshot.json").write_text(text)
    assert run(["check", "--from", str(tmp_path / "snapshot.json")]) == 3
    assert "the value of fact 'packages.damaged' is not of its kind" in capsys.readouterr().err


def test_names_from_foreign_files_never_steer_the_terminal(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    site = make_venv(tmp_path / "env")
    add(site, "torch", "2.7.0")
    (site / "torch-2.8.0\x1b[31m.dist-info").mkdir()
    run(["check", "--venv", str(tmp_path / "env")])
    text = capsys.readouterr().out
    assert "\x1b" not in text
    assert "torch-2.8.0\ufffd[31m" in text or "2.8.0\ufffd[31m" in text


def test_names_of_packages_are_no_secrets() -> None:
    assert (
        Redactor({"API_KEY": "torch"}).text("torch 2.8.0 and hf_transfer 0.1.9") == "torch 2.8.0 and hf_transfer 0.1.9"
    )


def test_a_user_rule_is_proved_before_it_judges(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "rules").mkdir()
    assert run(["check", "--rules", str(tmp_path / "rules")]) == 3
    assert "holds no rules" in capsys.readouterr().err
    (tmp_path / "rules/x.yaml").write_text(
        "id: x\ntitle: x\nseverity: info\nsubject: torch\nsignatures:\n  - any: ['(']\ncause: x\nfix: []\n"
        'references: []\nevidence: {level: report, date: "2026-11-21"}\nexamples: {}\n'
    )
    assert run(["check", "--rules", str(tmp_path / "rules")]) == 3
    assert "'(' does not compile" in capsys.readouterr().err


def test_a_recording_of_other_words_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = '{"schema_version": 1, "questions": {}, "scope": {"colour": "red"}}'
    (tmp_path / "recording.json").write_text(text)
    assert run(["check", "--from", str(tmp_path)]) == 3
    assert "The recording does not say what was looked at" in capsys.readouterr().err


def test_a_machine_without_an_environment_is_judged_as_such(capsys: pytest.CaptureFixture[str]) -> None:
    recording = str(Path(__file__).parents[2] / "fixtures/cases/h200-memory-held")
    assert run(["check", "--from", recording]) == 3
    assert "holds a machine without an environment. Judge it with: --only machine" in capsys.readouterr().err
    assert run(["check", "--from", recording, "--only", "machine"]) == 0
