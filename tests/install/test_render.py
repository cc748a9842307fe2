"""The formats: shells parse and lint, Dockerfiles keep the rules, other tools read what is written for them."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from uv import find_uv_bin

from sgldoctor.errors import UsageError
from sgldoctor.install import stacks
from sgldoctor.install.plan import Environment, Plan, Step, from_record, to_json
from sgldoctor.install.planner import plan_for
from sgldoctor.install.render import render
from sgldoctor.install.render.text import headline, lines
from sgldoctor.install.target import Wish, named, release_wish
from sgldoctor.rules.knowledge import table
from tests.install.execute.local_index import LocalIndex

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

PINS = ("sglang==0.4.9", "torch==2.7.1", "transformers==4.53.0")
LOCKED = "".join(f"{pin} \\\n    --hash=sha256:{'0' * 64}\n" for pin in PINS)
SHELLCHECK = Path(sys.executable).with_name("shellcheck")


def made(
    gpu: str,
    release: str | None = None,
    *,
    venv: str = ".venv-sglang",
    installer: str = "uv",
    python: str = "3.12",
    override: bool = False,
    additions: tuple[str, ...] = (),
    driver: str | None = None,
) -> Plan:
    exact = release_wish(release) if release else None
    wish = Wish(release=exact, venv=venv, installer=installer, override=override, additions=additions)
    return plan_for(named(gpus=(gpu,), python=python, driver=driver), wish)


def resolved(plan: Plan) -> Plan:
    environments = tuple(replace(each, locked=LOCKED, constraints=PINS) for each in plan.environments)
    return replace(plan, environments=environments, resolved=True)


def of_stack(name: str) -> Plan:
    found = stacks.stack(name)
    return stacks.plan_for(found, stacks.named_target(found.target), Wish())


PLANS = {
    "a40": made("A40", "0.4.9", python="3.10"),
    "h100": made("H100", "0.5.5"),
    "latest": made("H100", "latest"),
    "resolved": resolved(made("A40", "0.4.9")),
    "override": made("H100", "0.5.3.post1", override=True),
    "labelled": made("RTX 5090", "0.4.9"),
    "arm": made("GH200", "0.5.9"),
    "odd-folder": made("A40", venv='/tmp/it\'s a "folder"; $(touch x)'),
    "pip": made("A40", installer="pip"),
    "pip-odd-folder": made("A40", installer="pip", venv='/tmp/it\'s a "folder"; $(touch x)'),
    "two": of_stack("art-two-environments"),
    "vllm": of_stack("vllm-0.9.2-xgrammar"),
    "stack": of_stack("runpod-a40-sglang-0.4.9"),
    "git": made("A40", "0.4.9", additions=("tiny @ git+https://example.org/tiny",)),
    "old-driver": made("RTX 4090", driver="535"),
    "modal": of_stack("modal-h100-sglang-0.4.10.post2"),
}


@pytest.mark.parametrize("name", PLANS)
def test_shell_scripts_pass_shellcheck(name: str, tmp_path: Path) -> None:
    path = tmp_path / "install.sh"
    path.write_text(render(PLANS[name], "shell"), "utf-8")
    assert subprocess.run(["bash", "-n", str(path)], check=False).returncode == 0
    done = subprocess.run([str(SHELLCHECK), str(path)], check=False, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "")


def stub(folder: Path, name: str, body: str) -> None:
    path = folder / name
    path.write_text(f"#!/bin/bash\n{body}\n", "utf-8")
    path.chmod(0o755)


def run_with_stubs(script: str, tmp_path: Path, version: str, fails: str = "none") -> subprocess.CompletedProcess[str]:
    """Run a script with a uv that makes the venv's python and notes its calls."""
    tools = tmp_path / "tools"
    tools.mkdir(exist_ok=True)
    stub(
        tools,
        "uv",
        f"""if [ "$1" = --version ]; then echo "uv {version} (x)"; exit 0; fi
printf '%s|' "$@" >>"{tmp_path}/calls"; echo >>"{tmp_path}/calls"
case "$*" in *{fails}*) exit 7 ;; esac
if [ "$1" = venv ]; then mkdir -p "${{@: -1}}/bin"; printf '#!/bin/sh\\ncat >/dev/null\\n' >"${{@: -1}}/bin/python"; chmod +x "${{@: -1}}/bin/python"; fi""",
    )
    return subprocess.run(
        ["bash", "-c", script],
        check=False,
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={"PATH": f"{tools}:/usr/bin:/bin"},
    )


def test_a_shell_script_runs_the_plans_commands_and_may_run_again(tmp_path: Path) -> None:
    plan = made("A40", "0.4.9", venv="it's a folder", python="3.10")
    script = render(plan, "shell")
    assert run_with_stubs(script, tmp_path, "0.13.9").returncode == 0
    calls = (tmp_path / "calls").read_text("utf-8").splitlines()
    first = ["venv", "--python", "3.10", "it's a folder"]
    assert calls[0].split("|")[:-1] == first
    assert [call.split("|")[-2] for call in calls[1:]] == [
        "torchaudio==2.7.1",
        "flashinfer-python==0.2.7.post1",
        "sgl-kernel==0.2.4",
    ]
    written = (tmp_path / "it's a folder/.sgldoctor/constraints.txt").read_text("utf-8").splitlines()
    assert tuple(written) == plan.environments[0].constraints
    assert (tmp_path / "it's a folder/.sgldoctor/made-for").read_text("utf-8") == "sglang\n"
    assert run_with_stubs(script, tmp_path, "0.13.9").returncode == 0
    again = (tmp_path / "calls").read_text("utf-8").splitlines()[len(calls) :]
    assert again == calls[1:]


@pytest.mark.parametrize(("name", "kinds"), [("a40", ["sglang"]), ("vllm", ["vllm"]), ("two", ["sglang", "packages"])])
def test_what_an_environment_was_made_for_is_written_for_check(name: str, kinds: list[str]) -> None:
    environments = PLANS[name].environments
    assert [dict(each.files())["made-for"][0] for each in environments] == kinds
    assert all(each.state("made-for") in render(PLANS[name], "shell") for each in environments)


def test_a_line_break_in_a_folder_stays_in_its_quotes(tmp_path: Path) -> None:
    script = render(made("H100", "0.5.9", venv="a\ntouch hurt"), "shell")
    assert run_with_stubs(script, tmp_path, "0.13.9").returncode == 0
    assert not (tmp_path / "hurt").exists()


@pytest.mark.parametrize(
    ("version", "code"), [("0.9.30", 3), ("0.11.99", 3), ("0.12.0", 0), ("0.13.9", 0), ("1.0.0", 0)]
)
def test_an_old_uv_is_refused(version: str, code: int, tmp_path: Path) -> None:
    done = run_with_stubs(render(PLANS["h100"], "shell"), tmp_path, version)
    assert done.returncode == code
    assert ("is too old" in done.stderr) is (code == 3)


def test_a_failing_step_ends_the_script(tmp_path: Path) -> None:
    done = run_with_stubs(render(PLANS["h100"], "shell"), tmp_path, "0.13.9", fails="flashinfer-python==0.5.0")
    assert done.returncode == 7
    calls = (tmp_path / "calls").read_text("utf-8").splitlines()
    assert [call.split("|")[-2] for call in calls] == [".venv-sglang", "torchaudio==2.8.0", "flashinfer-cubin==0.5.0"]


HADOLINT = Path(sys.executable).with_name("hadolint")
TEXTS = {
    **{name: render(plan, "dockerfile") for name, plan in PLANS.items()},
    "source-build": str(stacks.stack("rtx-5090-torch-2.7.0").dockerfile),
}


@pytest.mark.parametrize("name", TEXTS)
def test_dockerfiles_pass_hadolint(name: str, tmp_path: Path) -> None:
    path = tmp_path / "Dockerfile"
    path.write_text(TEXTS[name], "utf-8")
    done = subprocess.run([str(HADOLINT), "--no-color", str(path)], check=False, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "")


TAGS = {f"nvidia/cuda:{row['tag']}" for row in table("cuda_images.yaml")["images"]}


@pytest.mark.parametrize("name", PLANS)
def test_dockerfiles_keep_the_rules(name: str) -> None:
    text = render(PLANS[name], "dockerfile")
    bare = re.sub(r"<<'SGLDOCTOR_END'([^\n]*)\n.*?\nSGLDOCTOR_END\n", r"HERE\1\n", text, flags=re.DOTALL)
    joined = bare.replace("\\\n", " ")
    instructions = [line for line in joined.splitlines() if line and not line.startswith("#")]
    words = [line.split()[0] for line in instructions]
    known = {"FROM", "SHELL", "RUN", "COPY", "ENV", "USER", "WORKDIR", "EXPOSE", "HEALTHCHECK", "CMD"}
    assert set(words) <= known
    assert text.startswith("# syntax=docker/dockerfile:1\n")
    assert instructions[0].split()[1] in TAGS
    assert re.search(r":\d+\.\d+\.\d+-", instructions[0])
    assert [line for line in instructions if line.startswith("USER")] == ["USER 10001"]
    assert words.count("HEALTHCHECK") == words.count("CMD") == 1
    assert words.index("USER") > max(i for i, word in enumerate(words) if word == "RUN")
    for line in instructions:
        if "apt-get install" in line:
            assert "--no-install-recommends" in line
            assert "rm -rf /var/lib/apt/lists/*" in line
        if "uv pip install" in line:
            assert "--mount=type=cache,target=/root/.cache/uv" in line
        assert "sudo" not in line
        assert ":latest" not in line
    command = json.loads(instructions[-1].removeprefix("CMD "))
    assert command[command.index("--host") + 1] == "0.0.0.0"


def test_the_image_has_what_the_kernels_load() -> None:
    assert " libnuma1 " in render(PLANS["a40"], "dockerfile")
    assert " libnuma1 " not in render(PLANS["latest"], "dockerfile")


def test_the_image_is_of_the_cuda_of_torch_or_the_one_that_the_stack_names() -> None:
    froms = {name: re.search(r"^FROM (\S+)", render(plan, "dockerfile"), re.MULTILINE) for name, plan in PLANS.items()}
    tags = {name: found[1] for name, found in froms.items() if found}
    assert tags["a40"] == "nvidia/cuda:12.6.3-devel-ubuntu22.04"
    assert tags["latest"] == "nvidia/cuda:13.0.1-devel-ubuntu22.04"
    assert tags["labelled"] == tags["modal"] == "nvidia/cuda:12.8.1-devel-ubuntu22.04"


def test_git_is_in_the_image_where_something_is_fetched_by_it() -> None:
    assert " curl g++ git libnuma1 " in render(PLANS["git"], "dockerfile")
    assert " curl g++ libnuma1 " in render(PLANS["a40"], "dockerfile")
    assert ".apt_install('g++', 'git', 'libnuma1')" in render(PLANS["git"], "modal")


@pytest.mark.parametrize(
    ("gpu", "driver", "refused"),
    [
        ("RTX 4090", "535", True),
        ("A40", "545", True),
        ("A40", "570", False),
        ("A40", "580", False),
        ("A40", None, False),
    ],
)
def test_an_image_starts_with_a_driver_that_states_an_older_cuda(gpu: str, driver: str | None, refused: bool) -> None:
    text = render(made(gpu, "0.5.9", driver=driver), "dockerfile")
    assert "\nFROM nvidia/cuda:12.8.1-devel-ubuntu22.04\n" in text
    assert ("\nENV NVIDIA_DISABLE_REQUIRE=1\n" in text) is refused
    assert ("    && rm -rf /var/lib/apt/lists/* /usr/local/cuda*/compat\n" in text) is refused


def test_requirements_are_pinned_with_hashes_where_resolved() -> None:
    text = render(PLANS["resolved"], "requirements")
    assert text.endswith(LOCKED)
    assert "# Install it whole:          pip install --no-deps --require-hashes -r FILE\n" in text
    bare = [line for line in render(PLANS["labelled"], "requirements").splitlines() if not line.startswith("#")]
    assert bare[:2] == [
        "--extra-index-url https://download.pytorch.org/whl/cu128",
        "--extra-index-url https://docs.sglang.ai/whl/cu128/",
    ]
    assert "torch==2.7.1+cu128" in bare
    assert all("==" in line for line in bare[2:])


@pytest.mark.parametrize("name", [name for name in PLANS if name != "two"])
def test_a_uv_project_is_toml_for_this_python_and_platform(name: str) -> None:
    document = tomllib.loads(render(PLANS[name], "uv"))
    plan = PLANS[name]
    assert document["project"]["requires-python"] == f"=={dict(plan.target)['python']}.*"
    wanted = [line for step in plan.environments[0].steps for line in step.requirements]
    assert document["project"]["dependencies"] == wanted
    assert document["tool"]["uv"]["constraint-dependencies"] == list(plan.environments[0].constraints)
    assert document["tool"]["uv"].get("override-dependencies", []) == list(plan.environments[0].overrides)


def test_labelled_packages_of_a_uv_project_come_from_their_index() -> None:
    document = tomllib.loads(render(PLANS["labelled"], "uv"))
    assert document["tool"]["uv"]["sources"] == {
        **{name: {"index": "torch"} for name in ("torch", "torchvision", "torchaudio")},
        "sgl-kernel": {"index": "sglang"},
    }
    assert [index["name"] for index in document["tool"]["uv"]["index"]] == ["torch", "sglang"]


@pytest.mark.parametrize("exact", [False, True])
def test_uv_locks_the_labelled_builds_of_a_project(
    exact: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The usual index has all packages without a label, and torch's index what torch brings along beside them."""
    usual, torch, kernels = (LocalIndex(tmp_path / name) for name in ("usual", "torch", "kernels"))
    indexes = {"torch": torch.url, "sglang": kernels.url}
    tiny = f"tiny @ {usual.add('tiny', '1.0+local').as_uri()}"
    plan = plan_for(named(gpus=("H100",), cuda="13.0", python="3.12"), Wish(release="==0.5.9", additions=(tiny,)))
    environment = plan.environments[0]
    versions = dict(environment.versions)
    for name, version in versions.items():
        usual.add(name, version, requires=tuple(set(versions) - {name}) if name == "sglang" else ())
    for name in ("torch", "torchvision", "torchaudio", "torchao"):
        torch.add(name, f"{versions[name]}+cu130")
    for label in ("+cu124", "+cu130"):
        kernels.add("sgl-kernel", f"{versions['sgl-kernel']}{label}")
    labelled = {name: f"{versions[name]}+cu130" for name in ("torch", "torchvision", "torchaudio", "sgl-kernel")}
    if exact:
        labelled["torchao"] = "0.9.0+cu130"
        pins = tuple(f"{name}=={version}" for name, version in sorted({**versions, **labelled}.items()))
        environment = replace(environment, constraints=pins, locked=LOCKED)
    steps = tuple(replace(step, index=indexes.get(step.name)) for step in environment.steps)
    python = f"{sys.version_info.major}.{sys.version_info.minor}"
    plan = replace(plan, environments=(replace(environment, steps=steps),), target=(*plan.target, ("python", python)))
    (tmp_path / "pyproject.toml").write_text(render(plan, "uv"), "utf-8")
    monkeypatch.setenv("UV_DEFAULT_INDEX", usual.url)
    done = subprocess.run(
        [find_uv_bin(), "lock", "--no-config", "--python", sys.executable],
        check=False, capture_output=True, text=True, cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found = {row["name"]: row["version"] for row in tomllib.loads((tmp_path / "uv.lock").read_text("utf-8"))["package"]}
    assert found == {**versions, **labelled, "tiny": "1.0+local", "sglang-environment": "0"}


@pytest.mark.parametrize("name", [name for name in PLANS if name != "two"])
def test_a_modal_file_defines_an_image_of_the_plan(name: str) -> None:
    calls: list[tuple[str, tuple[object, ...], dict[str, object]]] = []

    class Recorder:
        def __getattr__(self, name: str) -> object:
            def call(*args: object, **kwargs: object) -> object:
                calls.append((name, args, kwargs))
                return (lambda function: function) if name in {"function", "web_server"} else self

            return self if name == "Image" else call

    text = render(PLANS[name], "modal")
    exec(compile(text.replace("import modal\n", ""), "modal_file", "exec"), {"modal": Recorder()})
    names = [call for call, _, _ in calls]
    assert names[:3] == ["from_registry", "entrypoint", "apt_install"]
    assert calls[0][1][0] in TAGS
    installed = [word for call, words, _ in calls if call == "uv_pip_install" for word in words]
    if name == "resolved":
        assert tuple(installed) == PINS
    else:
        assert installed == [line for step in PLANS[name].environments[0].steps for line in step.requirements]


def test_a_resolved_modal_file_installs_urls_and_labelled_builds_too() -> None:
    hashes = f"    --hash=sha256:{'0' * 64}\n"
    url = "tinyx @ https://example.org/tinyx-1.0-py3-none-any.whl"
    rows = [*PINS[:1], url, "torch==2.7.1+cu128", "torchaudio==2.7.1+cu128"]
    locked = "".join(f"{row} \\\n{hashes}" for row in rows)
    environment = replace(PLANS["labelled"].environments[0], locked=locked)
    text = render(replace(PLANS["labelled"], environments=(environment,), resolved=True), "modal")
    assert "PACKAGES = [\n" + "".join(f"    '{row}',\n" for row in rows) + "]\n" in text
    assert [line.strip() for line in text.splitlines() if ".uv_pip_install(" in line] == [
        ".uv_pip_install(*PACKAGES, extra_options='--no-deps --index https://download.pytorch.org/whl/cu128 "
        "--index https://docs.sglang.ai/whl/cu128/ --index-strategy unsafe-best-match "
        "--build-constraints /build-constraints.txt')"
    ]


@pytest.mark.parametrize(
    ("gpu", "name"),
    [
        ("h100", "H100"), ("h100 nvl", "H100"), ("h200", "H200"), ("b200", "B200"), ("a100", "A100-40GB"),
        ("a100 80gb", "A100-80GB"), ("a10g", "A10"), ("l4", "L4"), ("l40s", "L40S"), ("t4", "T4"),
        ("rtx pro 6000", "RTX-PRO-6000"),
    ],
)  # fmt: skip
def test_modal_gets_its_own_name_of_a_gpu(gpu: str, name: str) -> None:
    text = render(made(gpu), "modal")
    assert f"\n@app.function(timeout=3600, gpu='{name}')\n" in text
    assert "Modal has no" not in text


@pytest.mark.parametrize(
    ("gpu", "name"),
    [("l40", "NVIDIA L40"), ("gh200", "NVIDIA GH200 480GB"), ("gb200", "NVIDIA GB200"), ("a40", "NVIDIA A40")],
)
def test_a_gpu_that_modal_does_not_have_is_named(gpu: str, name: str) -> None:
    comment = f"# Modal has no {name}; name a GPU that it has, as in gpu='L40S'."
    assert f"\n{comment}\n@app.function(timeout=3600)\n" in render(made(gpu), "modal")


@pytest.mark.parametrize("form", ["requirements", "uv", "modal"])
def test_two_environments_do_not_fit_into_one_file(form: str) -> None:
    with pytest.raises(UsageError, match=r"2 environments.*--format shell or dockerfile"):
        render(PLANS["two"], form)


@pytest.mark.parametrize("name", PLANS)
def test_json_comes_back(name: str) -> None:
    assert to_json(from_record(json.loads(render(PLANS[name], "json")))) == to_json(PLANS[name])


def test_the_first_line_is_the_answer() -> None:
    assert (
        headline(PLANS["a40"])
        == "Ready, not resolved: sglang 0.4.9 with torch 2.7.1 for NVIDIA A40, Python 3.10, x86_64."
    )
    assert headline(PLANS["resolved"]).startswith("Ready: sglang 0.4.9")
    assert headline(made("V100")) == "Refused: SGLang asks for compute capability 7.5; NVIDIA V100 16GB has 7.0."


def test_the_text_shows_what_each_step_of_the_plan_asks_for_and_where() -> None:
    shown = [line.strip() for line, _ in lines(PLANS["a40"], 60)]
    steps = json.loads(to_json(PLANS["a40"]))["steps"]
    assert [line for line in shown if line.startswith("uv pip install")] == [
        f"uv pip install {shlex.join(step['requirements'])}" for step in steps
    ]
    first = PLANS["a40"].environments[0]
    labelled = replace(first, steps=(replace(first.steps[0], index="https://example.org/cu126"), *first.steps[1:]))
    pip = replace(PLANS["a40"], environments=(labelled,), installer="pip")
    assert (
        "pip install --extra-index-url https://example.org/cu126 torch==2.7.1 torchvision==0.22.1 torchaudio==2.7.1"
    ) in [line.strip() for line, _ in lines(pip, 60)]


def test_what_is_built_sees_the_planned_torch() -> None:
    command = json.loads(to_json(PLANS["a40"]))["steps"][1]["command"]
    assert "--build-constraints .venv-sglang/.sgldoctor/build-constraints.txt" in command
    assert dict(PLANS["labelled"].environments[0].files())["build-constraints.txt"] == ("torch==2.7.1",)
    shell, dockerfile = render(PLANS["a40"], "shell"), render(PLANS["a40"], "dockerfile")
    assert "cat >.venv-sglang/.sgldoctor/build-constraints.txt <<'SGLDOCTOR_END'\ntorch==2.7.1\n" in shell
    assert "COPY <<'SGLDOCTOR_END' /opt/sglang/.sgldoctor/build-constraints.txt\ntorch==2.7.1\n" in dockerfile
    assert tomllib.loads(render(PLANS["a40"], "uv"))["tool"]["uv"]["build-constraint-dependencies"] == ["torch==2.7.1"]
    assert "echo 'torch==2.7.1' > /build-constraints.txt" in render(PLANS["a40"], "modal")
    assert "build-constraints" not in render(PLANS["h100"], "modal")


def test_later_steps_know_the_index_of_a_labelled_torch() -> None:
    commands = [step["command"] for step in json.loads(to_json(PLANS["labelled"]))["steps"]]
    assert all("--index https://download.pytorch.org/whl/cu128 " in command for command in commands)
    assert "--index https://docs.sglang.ai/whl/cu128/ " in commands[2]


@pytest.mark.parametrize(("gpu", "major"), [("H100", 12), ("GH200", 13)])
def test_the_newer_cudnn_is_that_of_the_cuda_of_torch(gpu: str, major: int) -> None:
    assert [note for note in made(gpu, "0.5.9").notes if "cudnn" in note] == [
        "For image or video models run after the last step: uv pip install --python .venv-sglang/bin/python --no-deps "
        f"nvidia-cudnn-cu{major}==9.16.0.29 (this release refuses the cuDNN that its torch pins)."
    ]


def test_pip_gets_pips_words() -> None:
    record = json.loads(to_json(PLANS["pip"]))
    assert record["steps"][0]["command"].startswith(
        "env PIP_CONSTRAINT=.venv-sglang/.sgldoctor/constraints.txt "
        "PIP_BUILD_CONSTRAINT=.venv-sglang/.sgldoctor/constraints.txt .venv-sglang/bin/python -m pip install torch=="
    )
    assert "uv" not in render(PLANS["pip"], "shell").split("\n# sglang\n")[1].split("import ctypes")[0]


@pytest.mark.parametrize("venv", ["plain", "a folder", "{tmp_path}/it's a folder"])
def test_pip_is_held_to_the_constraints_in_every_folder(
    venv: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    index = LocalIndex(tmp_path)
    index.add("base", "1.0", requires=("helper",))
    index.add("helper", "1.5")
    index.add("helper", "2.0")
    folder = venv.format(tmp_path=tmp_path)
    step = Step("packages", ("base==1.0",), ("versions",))
    pins = (("base", "1.0"), ("helper", "1.5"))
    environment = Environment("packages", folder, sys.executable, pins, (step,), constraints=("helper==1.5",))
    plan = replace(PLANS["pip"], environments=(environment,))
    monkeypatch.setenv("PIP_INDEX_URL", index.url)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    command = ["bash", "-c", render(plan, "shell")]
    done = subprocess.run(command, check=False, capture_output=True, text=True, cwd=tmp_path)
    assert (done.returncode, done.stdout.splitlines()[-1]) == (0, "ok: 2 versions as planned"), done.stderr


def test_a_dockerfile_of_the_source_build_follows_the_repository() -> None:
    text = str(stacks.stack("rtx-5090-torch-2.7.0").dockerfile)
    assert "WORKDIR /src/sgl-kernel\n" in text
    assert "nvidia/cuda:12.8.1-devel-ubuntu22.04" in text
    assert shutil.which("bash")
