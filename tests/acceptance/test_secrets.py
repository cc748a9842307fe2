"""Secrets planted in everything that the probes could read appear in no output and in no recording."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.environments import add, make_venv

CANARY = "c4n4ry"
FORMATS = ("text", "json", "junit", "sarif", "github", "markdown")


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    """Make a home and variables in which every place that may hold a secret holds one."""
    home = tmp_path / "home" / "alice"
    (home / ".config/pip").mkdir(parents=True)
    (home / ".netrc").write_text(f"machine host login alice password {CANARY}-netrc\n")
    (home / ".config/pip/pip.conf").write_text(f"[global]\nindex-url = https://alice:{CANARY}-pip@host/simple\n")
    return {
        "PATH": os.environ["PATH"],
        "HOME": str(home),
        "HF_TOKEN": f"hf_{CANARY}abcdefgh",
        "SGLANG_API_KEY": f"{CANARY}-api",
        "SGLANG_PASSWORD_FILE_KEY": f"{CANARY}-key",
        "SGLANG_UNREAD_URL": f"https://alice:{CANARY}-url@host/x?sig={CANARY}-sig",
        "HTTPS_PROXY": f"http://alice:{CANARY}-proxy@proxy:3128",
        "PIP_INDEX_URL": f"https://alice:{CANARY}-index@host/simple",
        "UV_INDEX_URL": f"https://{CANARY}-uv@host/simple",
        "CUDA_HOME": f"/opt/cuda?token={CANARY}-cuda",
        "LD_LIBRARY_PATH": f"/opt/lib:https://x:{CANARY}-ld@host/lib",
        "NCCL_DEBUG_FILE": f"https://host/log?key={CANARY}-nccl",
        "AWS_SECRET_ACCESS_KEY": f"{CANARY}-aws",
    }


@pytest.fixture
def venv(tmp_path: Path) -> Path:
    """Make an environment whose metadata holds credentials."""
    site = make_venv(tmp_path / "env")
    sglang = add(
        site, "sglang", "0.5.9", f"Requires-Dist: torch @ https://u:{CANARY}-req@host/torch.whl", module="sglang"
    )
    (sglang / "direct_url.json").write_text(json.dumps({"url": f"https://u:{CANARY}-direct@host/s.whl?sig={CANARY}-q"}))
    (add(site, "torch", "2.7.0") / "INSTALLER").write_text(f"pip https://u:{CANARY}-installer@host\n")
    add(site, "sgl-kernel", "0.3.5")
    return tmp_path / "env"


def output(environ: dict[str, str], *arguments: str) -> str:
    command = [sys.executable, "-m", "sgldoctor", "check", *arguments]
    done = subprocess.run(command, env=environ, capture_output=True, check=False, text=True)
    assert done.returncode in {0, 1}, done.stderr
    return done.stdout + done.stderr


@pytest.mark.parametrize("form", FORMATS)
def test_no_format_tells_a_secret(environ: dict[str, str], venv: Path, form: str) -> None:
    text = output(environ, "--venv", str(venv), "--format", form)
    assert CANARY not in text
    assert "sgl-kernel" in text


def test_neither_a_recording_nor_a_snapshot_tells_a_secret(environ: dict[str, str], venv: Path, tmp_path: Path) -> None:
    arguments = ["--venv", str(venv), "--record", str(tmp_path / "rec"), "--save", str(tmp_path / "snap.json")]
    output(environ, *arguments)
    for path in (tmp_path / "rec/recording.json", tmp_path / "snap.json"):
        text = path.read_text()
        assert CANARY not in text
        assert "sgl-kernel" in text


def test_an_error_tells_no_secret(environ: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "bad.txt").write_text(f"!! https://u:{CANARY}-line@host/x.whl\n")
    command = [sys.executable, "-m", "sgldoctor", "check", "-r", str(tmp_path / "bad.txt")]
    done = subprocess.run(command, env=environ, capture_output=True, check=False, text=True)
    assert (done.returncode, CANARY in done.stderr) == (3, False)


def test_a_command_line_on_the_gpu_tells_no_secret(tmp_path: Path) -> None:
    """What nvidia-smi prints of a process is its whole command line; a recording keeps the program alone."""
    from sgldoctor.redact import Redactor
    from sgldoctor.system import RecordingSystem
    from tests.fakes import FakeSystem

    text = f"<process_info><process_name>python3 -m x --api-key {CANARY}</process_name></process_info>"
    system = RecordingSystem(FakeSystem(commands={"nvidia-smi -q -x": (0, text, "")}))
    system.run(["nvidia-smi", "-q", "-x"])
    path = system.save(str(tmp_path), Redactor())
    assert CANARY not in path.read_text()
    assert "python3</process_name>" in path.read_text()
