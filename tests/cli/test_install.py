"""``sgldoctor install`` without executing: the answer first, a schema for programs, and the table's exit codes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator

from sgldoctor.cli.app import run
from sgldoctor.rules.knowledge import newest_sglang
from sgldoctor.schema import schema_text

SCHEMA = Draft202012Validator(json.loads(schema_text("install")))
KNOWN = ("--driver", "535", "--glibc", "2.35", "--python", "3.10", "--arch", "x86_64", "--no-resolve")


def printed(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    code = run(["install", *arguments])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def test_the_first_line_is_the_answer_and_the_steps_are_in_order(capsys: pytest.CaptureFixture[str]) -> None:
    code, text, _ = printed(capsys, "--gpu", "a40", "--sglang", "0.4.9", *KNOWN)
    first = " ".join(text.split("\n\n")[0].split())
    assert (code, first) == (
        0,
        "Ready, not resolved: sglang 0.4.9 with torch 2.7.1 for NVIDIA A40, Python 3.10, x86_64.",
    )
    assert (
        "    uv venv --python 3.10 .venv-sglang\n"
        "    uv pip install torch==2.7.1 torchvision==0.22.1 torchaudio==2.7.1\n"
        "    uv pip install flashinfer-python==0.2.7.post1\n"
        "    uv pip install 'sglang[all]==0.4.9' sgl-kernel==0.2.4\n"
        "  then: .venv-sglang/bin/python -m sglang.launch_server --model-path MODEL --port 30000\n"
    ) in text


@pytest.mark.parametrize(
    ("arguments", "status", "code"),
    [
        (["--gpu", "a40"], "ready", 0),
        (["--gpu", "v100"], "refused", 1),
        (["--gpu", "a40", "--sglang", "0.4.0"], "refused", 1),
        (["--gpu", "h100", "--sglang", "0.5.3.post1", "--override"], "ready", 0),
        (["--gpu", "h100", "--gpu", "t4"], "ready", 0),
        (["--stack", "runpod-a40-sglang-0.4.9"], "ready", 0),
        (["--stack", "art-two-environments"], "refused", 1),
        (["--engine", "vllm", "--gpu", "h100"], "ready", 0),
        (["--engine", "vllm", "--sglang", "0.32.0", "--gpu", "h100"], "refused", 1),
    ],
)
def test_json_keeps_its_schema(
    arguments: list[str], status: str, code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    answer, text, _ = printed(capsys, *arguments, *KNOWN, "--json")
    document = json.loads(text)
    SCHEMA.validate(document)
    assert (answer, document["status"], document["resolved"]) == (code, status, False)
    if status == "ready":
        first = document["environments"][0]
        assert (document["versions"], document["steps"]) == (first["versions"], first["steps"])


def test_the_schema_knows_no_other_keys(capsys: pytest.CaptureFixture[str]) -> None:
    document = json.loads(printed(capsys, "--gpu", "a40", *KNOWN, "--json")[1])
    assert not SCHEMA.is_valid({**document, "extra": 1})
    assert not SCHEMA.is_valid({key: value for key, value in document.items() if key != "notes"})


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--gpu", "voodoo"], "Unknown GPU 'voodoo'."),
        (["--gpu", "mi300x"], "Unknown GPU 'mi300x'. List them with: sgldoctor rules gpus\n"),
        (["--gpu", "h10"], "Unknown GPU 'h10'. Did you mean 'h100'? List them with: sgldoctor rules gpus\n"),
        (
            ["--sglang", "0.5.9+cu130"],
            "'0.5.9+cu130': releases of sglang have no label. Say --sglang 0.5.9 and the CUDA with --cuda.\n",
        ),
        (["--sglang", "new"], "'new' is no sglang version. Name one such as 0.5.9, '>=0.5.5,<0.5.10' or latest."),
        (["--sglang", ""], "'' is no sglang version. Name one such as 0.5.9, '>=0.5.5,<0.5.10' or latest."),
        (["--with", "peft=="], "'peft==' is no requirement for --with: "),
        (["--python", "three"], "'three' is no Python version. Name one such as 3.12, or an interpreter."),
        (["--driver", "new"], "'new' is no version for --driver."),
        (["--cuda", "12"], "'12' is no version for --cuda. Name one such as 12.8."),
        (["--cuda", "12.8.1"], "'12.8.1' is no version for --cuda. Name one such as 12.8."),
        (["--extra", ""], "'' is no name of an extra for --extra. Name one such as tracing."),
        (
            ["--gpu", "gh200", "--arch", "x86_64"],
            "NVIDIA GH200 480GB is built with aarch64 CPUs, not x86_64. Leave out --arch, or name another GPU.",
        ),
        (
            ["--stack", "latest-gh200", "--arch", "x86_64"],
            "NVIDIA GH200 480GB is built with aarch64 CPUs, not x86_64. Leave out --arch, or name another GPU.",
        ),
        (["--glibc", "3"], "'3' is no version of glibc. Name one such as 2.35; ldd --version says it."),
        (["--arch", "riscv"], "Unknown CPU architecture 'riscv'."),
        (["--stack", "runpod"], "There is no stack 'runpod'."),
        (["--resume"], "--resume and --clean belong to --execute. Add it."),
        (["--from", "x", "--wheelhouse", "y"], "--from and --wheelhouse each name what to install."),
        (
            ["--from", "x", "--stack", "y", "--gpu", "a40"],
            "--from names what to install and for which machine. Leave out --gpu, --stack.",
        ),
        (
            ["--stack", "latest-a40", "--sglang", "0.5.9", "--engine", "vllm"],
            "--stack names the releases. Leave out --sglang, --engine.",
        ),
        (["--execute", "--format", "shell"], "--execute and --download write no plan. Leave out --output and --format"),
        (["--json", "--format", "shell"], "--json and --format name two ways to write the plan. Give one of them."),
        (["--format", "shell", "--output", "x/"], "--output x/ is a folder. Name a file in it."),
        (["--venv", ""], "--venv '' cannot be an environment. Name a folder such as .venv-sglang."),
        (["--venv", "//"], "--venv '//' cannot be an environment. Name a folder such as .venv-sglang."),
        (["--installer", "pip", "--override"], "pip cannot replace the pins of another package"),
        (["--output", "x"], "--output needs --format: "),
        (
            ["--stack", "art-two-environments", "--format", "uv", "--no-resolve", "--glibc", "2.35"],
            "This plan has 2 environments",
        ),
    ],
)
def test_wrong_usage_is_named(arguments: list[str], complaint: str, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = printed(capsys, *arguments)
    assert (code, out) == (2, "")
    assert err.startswith(f"sgldoctor: {complaint}")


def test_a_folder_that_looks_like_an_option_is_written_as_a_path(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = printed(capsys, "--gpu", "a40", *KNOWN, "--venv=-odd", "--format", "shell")
    assert (code, "    uv venv --python 3.10 ./-odd\n" in out) == (0, True)


def test_nothing_to_resume_is_said(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    code, out, err = printed(capsys, "--execute", "--resume", "--venv", str(tmp_path / "env"))
    assert (code, out) == (3, "")
    assert err == (
        f"sgldoctor: Nothing was begun in {tmp_path}/env. Begin there: name what to install, such as --gpu a40.\n"
    )
    assert not (tmp_path / "env").exists()


def test_a_current_folder_that_is_gone_is_said(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    code, out, err = printed(capsys, "--gpu", "a40", *KNOWN, "--execute")
    assert (code, out, err) == (3, "", "sgldoctor: The current folder is gone. Go to one that exists.\n")


def test_a_refusal_never_becomes_a_script(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    target = tmp_path / "install.sh"
    code, out, err = printed(capsys, "--gpu", "v100", *KNOWN, "--format", "shell", "--output", str(target))
    assert (code, out, target.exists()) == (1, "", False)
    assert err.startswith("Refused: SGLang asks for compute capability 7.5; NVIDIA V100 16GB has 7.0.\n")


def test_a_plan_is_written_where_it_was_asked_for(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    target = tmp_path / "Dockerfile"
    arguments = ["--gpu", "h100", "--sglang", "0.5.9", "--no-resolve", "--format", "dockerfile"]
    code, out, _ = printed(capsys, *arguments, "--output", str(target))
    assert (code, out) == (0, "")
    assert target.read_text("utf-8") == printed(capsys, *arguments)[1]


def test_an_image_has_its_own_c_library(capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["--gpu", "h100", "--driver", "580", "--no-resolve", "--format"]
    assert f"sglang=={newest_sglang()}" in printed(capsys, *arguments, "dockerfile")[1]
    assert f"sglang=={newest_sglang()}" in printed(capsys, *arguments, "modal")[1]


def test_the_stacks_own_build_is_its_dockerfile(capsys: pytest.CaptureFixture[str]) -> None:
    text = printed(capsys, "--stack", "rtx-5090-torch-2.7.0", "--no-resolve", "--format", "dockerfile")[1]
    assert "git clone --depth 1 --branch v0.4.9 https://github.com/sgl-project/sglang.git /src" in text


def test_an_interpreter_tells_its_version(capsys: pytest.CaptureFixture[str]) -> None:
    import sys

    code, text, _ = printed(capsys, "--gpu", "h100", "--python", sys.executable, "--no-resolve", "--json")
    document = json.loads(text)
    assert (code, document["python"]) == (0, sys.executable)
    assert document["target"]["python"] == f"{sys.version_info[0]}.{sys.version_info[1]}"


def test_a_missing_interpreter_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert printed(capsys, "--gpu", "h100", "--python", "/nowhere/python", "--no-resolve")[0] == 3


def test_stacks_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["rules", "stacks", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert {"art-two-environments", "latest-b200"} < {row["id"] for row in rows}
    assert run(["rules", "stacks"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == len(rows)
