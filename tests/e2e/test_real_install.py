"""A plan carried out with real wheels, from an empty cache: nothing is left to say, and the kernels import. 10 GB."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.e2e.libcuda import stub_driver

pytestmark = [
    pytest.mark.slow,
    pytest.mark.enable_socket,
    pytest.mark.skipif(shutil.which("cc") is None, reason="no C compiler to build a libcuda.so.1 with"),
]


def test_a_plan_for_h100_is_carried_out(tmp_path: Path) -> None:
    venv = tmp_path / "env"
    command = [sys.executable, "-m", "sgldoctor", "install", "--gpu", "h100", "--sglang", "0.5.5", "--venv", str(venv)]
    environ = {**os.environ, "UV_CACHE_DIR": str(tmp_path / "cache")}
    python = ["--python", sys.executable]
    done = subprocess.run(
        [*command, *python, "--execute", "--json"], check=False, capture_output=True, text=True, env=environ
    )
    assert done.returncode == 0, done.stderr
    plan = json.loads(done.stdout)
    assert (plan["status"], plan["versions"]["torch"], plan["versions"]["sgl-kernel"]) == (
        "done",
        "2.8.0",
        "0.3.16.post5",
    )
    record = json.loads((venv / ".sgldoctor/record.json").read_text())
    assert record["check"]["counts"]["errors"] == 0
    (site,) = venv.glob("lib/python3*/site-packages")
    variables = {**os.environ, **stub_driver(tmp_path / "stub", site), "PYTHONDONTWRITEBYTECODE": "1"}
    imported = subprocess.run(
        [str(venv / "bin/python"), "-c", "import sgl_kernel"],
        check=False,
        capture_output=True,
        text=True,
        env=variables,
    )
    assert imported.returncode == 0, imported.stderr
    checked = subprocess.run(
        [sys.executable, "-m", "sgldoctor", "check", "--venv", str(venv), "--only", "environment", "--gpu", "H100"],
        check=False, capture_output=True, text=True,
    )  # fmt: skip
    assert checked.returncode == 0, checked.stdout
