"""Environments built from real wheels, judged from outside. Slow: about 6 GB from the package index."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.enable_socket]


def build(folder: Path, *requirements: str) -> Path:
    """Make a venv with its own pip and install into it."""
    subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
    if requirements:
        subprocess.run([str(folder / "bin/pip"), "install", "--quiet", *requirements], check=True)
    return folder


def check(venv: Path, *arguments: str) -> tuple[int, dict[str, Any]]:
    command = [sys.executable, "-m", "sgldoctor", "check", "--venv", str(venv), "--only", "environment", "--json"]
    done = subprocess.run([*command, *arguments], capture_output=True, check=False, text=True)
    assert done.stderr == ""
    return done.returncode, json.loads(done.stdout)


def errors(document: dict[str, Any]) -> set[str]:
    return {
        finding["id"]
        for finding in document["findings"]
        if finding["status"] == "found" and finding["severity"] == "error" and not finding["explained_by"]
    }


def test_kernels_for_another_torch_are_named_before_any_import(tmp_path: Path) -> None:
    venv = build(tmp_path / "env", "torch==2.7.0", "sgl-kernel==0.3.5")
    code, document = check(venv)
    assert (code, errors(document)) == (1, {"kernel-does-not-fit-torch", "sglang-not-installed"})
    finding = next(f for f in document["findings"] if f["id"] == "kernel-does-not-fit-torch")
    assert [fix["command"] for fix in finding["fixes"]] == [
        f'{venv}/bin/python -m pip install --force-reinstall --no-deps "sgl-kernel==0.2.8"',
        f'{venv}/bin/python -m pip install "torch==2.8.*"',
    ]
    _, deep = check(venv, "--deep")
    imports = {record["module"]: record["ok"] for record in deep["facts"]["imports"]["value"]}
    assert imports == {"torch": True, "sgl_kernel": False}


def test_the_mended_pair_is_silent(tmp_path: Path) -> None:
    venv = build(tmp_path / "env", "torch==2.7.1", "sgl-kernel==0.2.8")
    _, document = check(venv, "--skip", "sglang-not-installed")
    assert errors(document) == set()


def test_a_fresh_clone_passes_the_first_command_of_the_readme(tmp_path: Path) -> None:
    root = Path(__file__).parents[2]
    subprocess.run(["git", "clone", "--quiet", str(root), str(tmp_path / "clone")], check=True)
    readme = (tmp_path / "clone/README.md").read_text()
    command = readme.split("```sh\n")[1].split("\n```")[0]
    done = subprocess.run(["bash", "-c", command], cwd=tmp_path / "clone", capture_output=True, check=False, text=True)
    assert done.returncode in {0, 1}
    assert "Details of a rule: sgldoctor rules show ID" in done.stdout
