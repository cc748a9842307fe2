"""The command as a user meets it: exit codes, first lines, and what happens to bad input."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from sgldoctor.cli.app import run
from tests.environments import add, make_venv

pytestmark = pytest.mark.enable_socket  # check binds ports of this machine to see whether they are free


@pytest.fixture
def venv(tmp_path: Path) -> Path:
    """Make an environment with torch 2.7.0 and kernels for torch 2.8."""
    site = make_venv(tmp_path / "env")
    add(site, "torch", "2.7.0", module="torch")
    add(site, "sgl-kernel", "0.3.5", module="sgl_kernel")
    (site / "torch/version.py").write_text("cuda: Optional[str] = '12.6'\nhip: Optional[str] = None\n")
    return tmp_path / "env"


def check(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, dict[str, Any]]:
    code = run(["check", "--only", "environment", "--json", *arguments])
    return code, json.loads(capsys.readouterr().out)


def found(document: dict[str, Any]) -> set[str]:
    return {finding["id"] for finding in document["findings"] if finding["status"] == "found"}


def test_the_pair_that_does_not_fit_is_the_first_line(venv: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code = run(["check", "--venv", str(venv), "--only", "sgl-kernel"])
    first = " ".join(capsys.readouterr().out.splitlines()[:2])
    assert (code, first) == (
        1,
        "FAIL: torch 2.7.0 is too old for sgl-kernel 0.3.5, which fits torch 2.8. Torch 2.7.0 takes sgl-kernel "
        "0.1.7 to 0.2.9.",
    )


def test_the_cure_is_a_command_for_this_environment(venv: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, document = check(capsys, "--venv", str(venv))
    finding = next(finding for finding in document["findings"] if finding["id"] == "kernel-does-not-fit-torch")
    assert code == 1
    assert finding["subject"] == "sgl-kernel"
    assert (
        finding["fixes"][0]["command"]
        == f'uv pip install --python {venv}/bin/python --force-reinstall --no-deps "sgl-kernel==0.2.8"'
    )


def test_an_empty_environment_lacks_sglang_and_nothing_else(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make_venv(tmp_path / "env")
    code, document = check(capsys, "--venv", str(tmp_path / "env"))
    errors = {f["id"] for f in document["findings"] if f["severity"] == "error" and f["status"] == "found"}
    assert (code, errors) == (1, {"sglang-not-installed"})
    fixes = next(f["fixes"] for f in document["findings"] if f["id"] == "sglang-not-installed")
    assert fixes[0]["command"] == "sgldoctor install"


def test_a_saved_snapshot_gives_the_same_report(venv: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, direct = check(capsys, "--venv", str(venv), "--save", str(tmp_path / "snapshot.json"))
    again, loaded = check(capsys, "--from", str(tmp_path / "snapshot.json"))
    assert (again, loaded) == (code, direct)


def test_a_recording_gives_the_same_report(venv: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, direct = check(capsys, "--venv", str(venv), "--record", str(tmp_path / "recording"))
    again, loaded = check(capsys, "--from", str(tmp_path / "recording"))
    assert (again, found(loaded)) == (code, found(direct))


def test_another_machine_can_be_asked_about(venv: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code = run(["check", "--venv", str(venv), "--json", "--gpu", "a40", "--driver", "450.1", "--arch", "amd64"])
    document = json.loads(capsys.readouterr().out)
    assert document["facts"]["gpus"]["value"][0]["name"] == "NVIDIA A40"
    assert document["facts"]["driver.version"] == {"value": "450.1", "source": "--driver"}
    assert code == 1


def test_a_requirements_file_is_judged_before_anything_is_installed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "requirements.txt").write_text("-r more.txt\ntorch==2.7.0\nold==1; python_version < '3'\n")
    (tmp_path / "more.txt").write_text("-c pins.txt\nsgl-kernel\n")
    (tmp_path / "pins.txt").write_text("sgl_kernel==0.3.5\n")
    code, document = check(capsys, "-r", str(tmp_path / "requirements.txt"), "--python-version", "3.12")
    facts = document["facts"]
    assert (code, "kernel-does-not-fit-torch" in found(document)) == (1, True)
    assert facts["package.sgl-kernel"]["value"] == "0.3.5"
    assert facts["package.torch"] == {"value": "2.7.0", "source": f"{tmp_path}/requirements.txt, line 2"}
    assert "package.old" not in facts


def test_quiet_prints_problems_a_line_each(venv: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code = run(["check", "--venv", str(venv), "--only", "sgl-kernel", "--quiet"])
    assert (code, capsys.readouterr().out) == (
        1,
        "error: torch 2.7.0 is too old for sgl-kernel 0.3.5, which fits torch 2.8. Torch 2.7.0 takes sgl-kernel "
        "0.1.7 to 0.2.9. [kernel-does-not-fit-torch]\n",
    )


def test_fail_on_and_strict_decide_the_exit_code(
    venv: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["check", "--venv", str(venv), "--only", "sgl-kernel", "--fail-on", "never"]) == 0
    (venv / "lib/python3.12/site-packages/torch-2.7.0.dist-info/METADATA").write_text("Name: torch\nVersion: main\n\n")
    only = ["--only", "kernel-does-not-fit-torch"]
    assert run(["check", "--venv", str(venv), *only]) == 0
    assert run(["check", "--venv", str(venv), *only, "--strict"]) == 4
    capsys.readouterr()


def test_the_report_can_be_written_to_a_file(venv: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code = run(["check", "--venv", str(venv), "--json", "--output", str(tmp_path / "report.json")])
    assert (code, capsys.readouterr().out) == (1, "")
    assert json.loads((tmp_path / "report.json").read_text())["verdict"] == "error"


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["--venv", "/nowhere"], 3, "/nowhere does not exist. Name the folder of a venv or conda environment."),
        (["--venv", "{tmp}"], 3, "{tmp} is no Python environment"),
        (["--python", "/nowhere/python"], 3, "/nowhere/python is no interpreter: no such file."),
        (["--root", "/nowhere"], 3, "/nowhere is no folder. Name the folder that an image was unpacked into."),
        (["--from", "/nowhere"], 3, "/nowhere is no recording: recording.json cannot be read"),
        (["--from", "{tmp}/broken.json"], 3, "{tmp}/broken.json is no snapshot: not valid JSON"),
        (["--from", "{tmp}/old.json"], 3, "{tmp}/old.json has schema version 0; this sgldoctor reads 1."),
        (["--rules", "{tmp}/bad.yaml"], 3, "8 errors in the rules:"),
        (["-r", "{tmp}/nowhere.txt"], 3, "Cannot read {tmp}/nowhere.txt: Could not open requirements file"),
        (["-r", "{tmp}/bad.txt"], 3, "{tmp}/bad.txt, line 1: 'torch ===> 2' is no requirement."),
        (["-r", "{tmp}/circle.txt"], 3, "Cannot read {tmp}/circle.txt: its -r lines go in a circle."),
        (["--gpu", "A41"], 2, "Unknown GPU 'A41'. Did you mean 'a40'?"),
        (["--driver", "new"], 2, "--driver takes a version, such as 550.90 or 3.12; 'new' is none."),
        (["--arch", "sparc"], 2, "Unknown architecture 'sparc'."),
        (["--venv", "a", "--python", "b"], 2, "--venv and --python exclude each other."),
        (
            ["--only", "torsh"],
            2,
            "--only and --skip take subjects or rules; there is no 'torsh'. Did you mean 'torch'?",
        ),
        (["--output", "/nowhere/report"], 3, "Cannot write /nowhere/report: No such file or directory."),
        (["--port", "70000"], 2, "70000"),
        (["--fail-on", "sometimes"], 2, "sometimes"),
        (["--nonsense"], 2, "No such option"),
    ],
)
def test_bad_input_is_one_clear_line_and_its_exit_code(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], code: int, message: str
) -> None:
    (tmp_path / "broken.json").write_text("{")
    (tmp_path / "old.json").write_text('{"schema_version": 0, "facts": {}}')
    (tmp_path / "bad.yaml").write_text("id: bad\n")
    (tmp_path / "bad.txt").write_text("torch ===> 2\n")
    (tmp_path / "circle.txt").write_text("-r circle.txt\n")
    given = [argument.format(tmp=tmp_path) for argument in arguments]
    assert run(["check", *given]) == code
    error = capsys.readouterr().err
    assert message.format(tmp=tmp_path) in error
    assert "Traceback" not in error


def test_a_reader_that_leaves_early_causes_no_complaint(venv: Path) -> None:
    command = f"'{sys.executable}' -m sgldoctor check --venv '{venv}' --json | head -n 1"
    done = subprocess.run(["bash", "-c", command], capture_output=True, check=False, text=True)
    assert (done.stdout, done.stderr) == ("{\n", "")


def test_help_shows_examples_and_exit_codes(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["check", "--help"]) == 0
    text = capsys.readouterr().out
    assert "  sgldoctor check -r requirements.txt --gpu L4    before anything is installed\n" in text
    assert "Exit codes: 0 fine, 1 findings, 2 wrong usage, 3 the doctor could not do its job,\n" in text
