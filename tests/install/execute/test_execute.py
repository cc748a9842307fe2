from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from sgldoctor.errors import ExitCode
from sgldoctor.install.execute import Work, execute, plan_in_folder, plan_in_lock, plan_in_wheelhouse
from sgldoctor.install.execute.errors import InstallRefusedError
from sgldoctor.install.execute.wheelhouse import download
from sgldoctor.install.plan import Launch, Step
from tests.install.execute.conftest import STEPS, VERSIONS, Told, installed, plan_for
from tests.install.execute.local_index import LocalIndex


def record(venv: Path) -> dict[str, Any]:
    return dict(json.loads((venv / ".sgldoctor/record.json").read_text()))


def packages(venv: Path) -> dict[str, str]:
    names = (path.name for path in venv.glob("lib/python3*/site-packages/*.dist-info"))
    return dict(sorted(name.removesuffix(".dist-info").split("-") for name in names))


ALL = {"base": "1.0", "helper": "1.5", "middle": "1.0", "top": "1.0"}


def test_a_plan_is_carried_out_step_by_step(index: LocalIndex, tmp_path: Path, told: Told) -> None:
    venv = tmp_path / "env"
    done = execute(plan_for(venv), Work(), told)
    assert (done.status, done.reason) == ("done", None)
    assert packages(venv) == ALL
    assert told.texts == [
        "begin sglang: resolving",
        f"end 4 packages, Python at {sys.executable}",
        "begin sglang: base, 2 packages",
        "end base 1.0",
        "begin sglang: middle, 1 packages",
        "end base 1.0; middle 1.0",
        "begin sglang: top, 1 packages",
        "end 3 versions as planned",
        "begin sglang: check",
        "end no error, 0 warnings",
    ]


def test_the_record_holds_plan_files_hashes_and_times(index: LocalIndex, tmp_path: Path, told: Told) -> None:
    venv = tmp_path / "env"
    execute(plan_for(venv), Work(), told)
    found = record(venv)
    wheel = index.root / "base/base-1.0-py3-none-any.whl"
    assert found["packages"][0] == {
        "name": "base",
        "version": "1.0",
        "file": wheel.name,
        "size": wheel.stat().st_size,
        "hashes": {"sha256": __import__("hashlib").sha256(wheel.read_bytes()).hexdigest()},
    }
    assert [package["name"] for package in found["packages"]] == sorted(ALL)
    assert list(found["seconds"]["install"]) == ["base", "middle", "top"]
    assert list(found["seconds"]["verify"]) == ["base", "middle", "top", "check"]
    assert found["check"]["verdict"] in {"ok", "unknown"}
    assert found["plan"]["environments"][0]["versions"] == dict(VERSIONS)


def test_a_lock_file_replays_the_same_bytes_after_the_index_has_moved_on(
    index: LocalIndex, tmp_path: Path, told: Told
) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    execute(plan_for(first), Work(), told)
    index.add("helper", "9.0")
    plan, locks = plan_in_lock(str(first / ".sgldoctor/pylock.toml"), str(second))
    assert execute(plan, Work(locks=locks), told).status == "done"
    assert packages(second) == ALL
    site = "lib/python3"
    assert {k: v for k, v in installed(first).items() if k.startswith(site)} == {
        k: v for k, v in installed(second).items() if k.startswith(site)
    }


def test_a_wheel_with_another_hash_is_not_installed(index: LocalIndex, tmp_path: Path, told: Told) -> None:
    index.add("odd", "1.0", wrong_hash=True)
    venv = tmp_path / "env"
    steps = (STEPS[0], Step("odd", ("odd",), ("odd",)))
    done = execute(plan_for(venv, steps=steps, versions=(("base", "1.0"), ("odd", "1.0"))), Work(), told)
    assert done.status == "failed"
    assert str(done.reason).splitlines()[0] == "A file is not the one that the lock names; it was not installed."
    assert packages(venv) == {"base": "1.0", "helper": "1.5"}


def test_a_failed_step_keeps_the_environment_and_says_how_to_go_on(
    index: LocalIndex, tmp_path: Path, told: Told
) -> None:
    venv = tmp_path / "env"
    steps = (STEPS[0], Step("middle", ("middle",), ("nowhere",)))
    done = execute(plan_for(venv, steps=steps, versions=(*VERSIONS, ("nowhere", "1"))), Work(), told)
    assert done.status == "failed"
    assert str(done.reason) == (
        f"after middle: nowhere is not installed\n{venv} was kept; "
        f"its log is {venv}/.sgldoctor/install.log\nGo on with: sgldoctor install --execute --resume --venv {venv}"
    )
    assert packages(venv) == {"base": "1.0", "helper": "1.5", "middle": "1.0"}


def test_clean_removes_what_was_made(index: LocalIndex, tmp_path: Path, told: Told) -> None:
    venv = tmp_path / "env"
    steps = (Step("base", ("base",), ("nowhere",)),)
    done = execute(plan_for(venv, steps=steps, versions=(("nowhere", "1"),)), Work(clean=True), told)
    assert str(done.reason) == f"after base: nowhere is not installed\n{venv} was removed."
    assert not venv.exists()


def test_a_version_that_a_later_step_moved_is_noticed(index: LocalIndex, tmp_path: Path, told: Told) -> None:
    plan = plan_for(tmp_path / "env", versions=(("base", "2.0"), ("middle", "1.0"), ("top", "1.0")))
    done = execute(plan, Work(), told)
    assert str(done.reason).splitlines()[0] == "after base: base is 1.0, the plan says 2.0"


def test_an_error_that_check_finds_is_a_failure(index: LocalIndex, tmp_path: Path, told: Told) -> None:
    index.add("sglang", "0.5.9", requires=("torch",))
    index.add("torch", "2.9.1", files={"torch/version.py": "cuda = None\n__version__ = '2.9.1+cpu'\n"})
    steps = (Step("sglang", ("sglang",), ("sglang",)),)
    done = execute(plan_for(tmp_path / "env", steps=steps, versions=(("sglang", "0.5.9"),)), Work(), told)
    assert done.status == "failed"
    assert str(done.reason).splitlines()[0] == "check finds:"
    assert "torch/lib/libtorch_cpu.so is missing from torch 2.9.1. [torch-core-library-missing]" in str(done.reason)


def test_a_source_package_is_built(index: LocalIndex, tmp_path: Path, told: Told) -> None:
    index.add("fromsource", "1.0", source=True)
    venv = tmp_path / "env"
    steps = (Step("base", ("base==1.0", "fromsource"), ("fromsource",)),)
    done = execute(plan_for(venv, steps=steps, versions=(("fromsource", "1.0"),)), Work(), told)
    assert (done.status, packages(venv)) == ("done", {"base": "1.0", "fromsource": "1.0", "helper": "1.5"})


def test_two_environments_are_made_one_after_the_other(index: LocalIndex, tmp_path: Path, told: Told) -> None:
    one, two = plan_for(tmp_path / "one", name="trainer"), plan_for(tmp_path / "two", name="server")
    done = execute(replace(one, environments=(*one.environments, *two.environments)), Work(), told)
    assert done.status == "done"
    assert (packages(tmp_path / "one"), packages(tmp_path / "two")) == (ALL, ALL)


def test_pip_installs_the_same_set(
    index: LocalIndex, tmp_path: Path, told: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PIP_INDEX_URL", index.url)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    venv = tmp_path / "env"
    done = execute(replace(plan_for(venv), installer="pip"), Work(), told)
    assert (done.status, done.reason) == ("done", None)
    assert ALL.items() <= packages(venv).items()
    assert (venv / ".sgldoctor/constraints.txt").read_text() == "base==1.0\nhelper==1.5\nmiddle==1.0\ntop==1.0\n"


# --- what cannot begin


def refused(plan: Any, work: Work, told: Told) -> str:
    with pytest.raises(InstallRefusedError) as caught:
        execute(plan, work, told)
    assert caught.value.exit_code is ExitCode.CANNOT
    return str(caught.value)


def test_a_folder_with_something_in_it_is_left_alone(index: LocalIndex, tmp_path: Path, told: Told) -> None:
    venv = tmp_path / "env"
    venv.mkdir()
    (venv / "thesis.tex").write_text("years of work")
    assert refused(plan_for(venv), Work(), told) == f"{venv} is not empty. Name another folder with --venv."
    assert refused(plan_for(venv), Work(resume=True), told) == (
        f"{venv} is not empty. It holds no state of sgldoctor, so there is nothing to resume; "
        "name another folder with --venv."
    )
    assert [path.name for path in venv.iterdir()] == ["thesis.tex"]


def test_a_plan_for_another_machine_is_not_carried_out_here(index: LocalIndex, tmp_path: Path, told: Told) -> None:
    import platform

    plan = replace(plan_for(tmp_path / "env"), target=(("arch", "riscv64"),))
    assert refused(plan, Work(), told) == (
        f"The plan is for riscv64 and this machine is {platform.machine()}. "
        "Write it down instead: --format dockerfile, shell or requirements."
    )
    assert not (tmp_path / "env").exists()


def test_a_refusal_of_the_second_environment_takes_back_the_first(
    index: LocalIndex, tmp_path: Path, told: Told
) -> None:
    steps = (Step("base", ("base==7.0",), ("base",)),)
    one, two = plan_for(tmp_path / "one", name="trainer"), plan_for(tmp_path / "two", name="server", steps=steps)
    refused(replace(one, environments=(*one.environments, *two.environments)), Work(), told)
    assert not (tmp_path / "one").exists()
    assert not (tmp_path / "two").exists()


def test_an_empty_folder_is_taken(index: LocalIndex, tmp_path: Path, told: Told) -> None:
    venv = tmp_path / "env"
    venv.mkdir()
    assert execute(plan_for(venv), Work(), told).status == "done"


def test_a_finished_environment_is_not_overwritten_but_can_be_resumed(
    index: LocalIndex, tmp_path: Path, told: Told
) -> None:
    venv = tmp_path / "env"
    execute(plan_for(venv), Work(), told)
    before = installed(venv)
    assert refused(plan_for(venv), Work(), told) == (
        f"{venv} holds an installation that sgldoctor began. Go on with --resume, or name another folder with --venv."
    )
    assert execute(plan_for(venv), Work(resume=True), told).status == "done"
    assert installed(venv) == before


@pytest.mark.skipif(os.geteuid() == 0, reason="root writes everywhere")
def test_a_folder_that_cannot_be_written_to(index: LocalIndex, tmp_path: Path, told: Told) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o500)
    assert refused(plan_for(closed / "env"), Work(), told) == (
        f"Cannot make an environment in {closed}/env: Permission denied. Name another folder with --venv."
    )


def test_a_file_in_the_way(index: LocalIndex, tmp_path: Path, told: Told) -> None:
    (tmp_path / "file").write_text("")
    assert refused(plan_for(tmp_path / "file"), Work(), told) == (
        f"{tmp_path}/file is no folder. Name another one with --venv."
    )
    assert refused(plan_for(tmp_path / "file" / "env"), Work(), told) == (
        f"Cannot make an environment in {tmp_path}/file/env: Not a directory. Name another folder with --venv."
    )


def test_a_python_that_nobody_has(index: LocalIndex, tmp_path: Path, told: Told) -> None:
    text = refused(plan_for(tmp_path / "env", python="3.99"), Work(), told)
    assert text.startswith("No Python 3.99 was found by uv, by pyenv or on PATH, and uv cannot fetch one (")
    assert text.endswith("Install it, or name an interpreter with --python PATH.")
    assert not (tmp_path / "env").exists()


def test_a_set_that_cannot_be_resolved_leaves_nothing(index: LocalIndex, tmp_path: Path, told: Told) -> None:
    steps = (Step("base", ("base==7.0",), ("base",)),)
    text = refused(plan_for(tmp_path / "env", steps=steps), Work(), told)
    assert text.splitlines()[0] == f"The plan for {tmp_path}/env cannot be resolved; nothing was installed."
    assert "there is no version of base==7.0" in " ".join(text.split())
    assert not (tmp_path / "env").exists()


def test_too_little_room_is_said_before_anything_is_downloaded(
    index: LocalIndex, tmp_path: Path, told: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    from sgldoctor.system import RealSystem

    index.add("base", "3.0", padding=1 << 20)
    monkeypatch.setattr(RealSystem, "_disk", lambda _self, _path: {"total": 1 << 21, "free": 1 << 19})
    steps = (Step("base", ("base==3.0",), ("base",)),)
    text = refused(plan_for(tmp_path / "env", steps=steps, versions=(("base", "3.0"),)), Work(), told)
    assert text.endswith(
        "has 0.5 MB free; this needs about 2.0 MB there. "
        "Make room, name another folder with --venv, or another cache with UV_CACHE_DIR."
    )
    assert not (tmp_path / "env").exists()


# --- interrupted


RUNNER = """
import sys
from tests.install.execute.conftest import plan_for
from sgldoctor.install.execute import Work, execute
from sgldoctor.install.execute.reporter import Reporter
from sgldoctor.install.execute import {module}
import os, signal
real = {module}.{function}
calls = 0
def counted(*arguments, **named):
    global calls
    calls += 1
    if calls == {call}:
        os.kill(os.getpid(), signal.SIGKILL)
    return real(*arguments, **named)
{module}.{function} = counted
execute(plan_for({venv!r}), Work(), Reporter())
"""
MOMENTS = [
    ("ahead", "first_step", 1), ("interpreter", "find", 1), ("run", "resolve", 1), ("run", "create_command", 1), ("run", "_step", 1),
    ("run", "_weighed", 1), ("run", "_command", 1), ("run", "_step", 2), ("run", "_step", 3), ("judge", "verify", 1), ("judge", "verify", 3),
    ("judge", "judged", 1), ("record", "write", 1),
]  # fmt: skip


@pytest.mark.parametrize(("module", "function", "call"), MOMENTS)
def test_killed_and_resumed_is_the_same_as_never_killed(
    index: LocalIndex, tmp_path: Path, told: Told, module: str, function: str, call: int
) -> None:
    whole, venv = tmp_path / "whole" / "env", tmp_path / "killed" / "env"
    execute(plan_for(whole), Work(), told)
    program = RUNNER.format(module=module, function=function, call=call, venv=str(venv))
    root = str(Path(__file__).parents[3])
    killed = subprocess.run([sys.executable, "-c", program], check=False, capture_output=True, cwd=root)
    assert killed.returncode == -9, killed.stderr.decode()
    plan = plan_in_folder(str(venv))
    assert plan
    assert execute(plan, Work(resume=True), told).status == "done"
    site = "lib/python3"
    assert {k: v for k, v in installed(venv).items() if k.startswith(site)} == {
        k: v for k, v in installed(whole).items() if k.startswith(site)
    }


def test_ctrl_c_says_how_to_go_on(
    index: LocalIndex, tmp_path: Path, told: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    import signal

    from sgldoctor.install.execute import judge

    venv = tmp_path / "env"
    with monkeypatch.context() as patch:
        patch.setattr(judge, "verify", lambda *_: os.kill(os.getpid(), signal.SIGTERM))
        with pytest.raises(KeyboardInterrupt):
            execute(plan_for(venv), Work(), told)
    assert told.texts[-2:] == ["end stopped", f"note Go on with: sgldoctor install --execute --resume --venv {venv}"]
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    assert execute(plan_for(venv), Work(resume=True), told).status == "done"


def test_a_package_that_was_installed_by_half_is_installed_again(index: LocalIndex, tmp_path: Path, told: Told) -> None:
    venv = tmp_path / "env"
    execute(plan_for(venv), Work(), told)
    before = installed(venv)
    state_file = venv / ".sgldoctor/state.json"
    state = json.loads(state_file.read_text())
    state["steps"]["top"] = {}
    del state["steps"]["middle"]
    state_file.write_text(json.dumps(state))
    (site,) = venv.glob("lib/python3*/site-packages")
    (site / "top/__init__.py").unlink()
    (site / "top-1.0.dist-info/RECORD").unlink()
    assert execute(plan_for(venv), Work(resume=True), told).status == "done"
    assert installed(venv) == before


def test_what_did_not_hold_is_installed_again(
    index: LocalIndex, tmp_path: Path, told: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    from sgldoctor.install.execute import judge

    venv = tmp_path / "env"
    real = judge.verify

    def spoiling(*arguments: Any) -> str:
        for path in venv.glob("lib/python3*/site-packages/base/__init__.py"):
            path.unlink()
        return real(*arguments)

    plan = plan_for(venv, steps=(replace(STEPS[0], verify=("flashinfer",)),), versions=(("base", "1.0"),))
    with monkeypatch.context() as patch:
        patch.setattr(judge, "verify", spoiling)
        assert execute(plan, Work(), told).status == "failed"
    again = replace(plan, environments=(replace(plan.environments[0], steps=STEPS[:1]),))
    assert execute(again, Work(resume=True), told).status == "done"
    (module,) = venv.glob("lib/python3*/site-packages/base/__init__.py")
    assert module.read_text() == "__version__ = '1.0'\n"


def test_resume_of_nothing_begins(index: LocalIndex, tmp_path: Path, told: Told) -> None:
    assert plan_in_folder(str(tmp_path / "env")) is None
    assert execute(plan_for(tmp_path / "env"), Work(resume=True), told).status == "done"


def test_a_damaged_state_is_named(tmp_path: Path) -> None:
    (tmp_path / ".sgldoctor").mkdir()
    (tmp_path / ".sgldoctor/state.json").write_text("{")
    with pytest.raises(InstallRefusedError, match="state.json cannot be used: .* Remove the folder"):
        plan_in_folder(str(tmp_path))


def test_two_runs_cannot_share_a_folder(index: LocalIndex, tmp_path: Path, told: Told) -> None:
    from sgldoctor.install.execute.folder import Folder

    folder = Folder(str(tmp_path / "env"))
    folder.claim(resume=False)
    program = "\n".join(
        [
            "import sys", "from tests.install.execute.conftest import plan_for",
            "from sgldoctor.install.execute import Work, execute", "from sgldoctor.install.execute.reporter import Reporter",
            f"try: execute(plan_for({str(folder.path)!r}), Work(), Reporter())", "except Exception as error: print(error)",
        ]
    )  # fmt: skip
    root = str(Path(__file__).parents[3])
    other = subprocess.run([sys.executable, "-c", program], check=False, capture_output=True, cwd=root, text=True)
    assert other.stdout == (
        f"Another sgldoctor (process {os.getpid()}) is at work in {folder.path}. Wait for it, or name another folder.\n"
    )
    assert folder.file("lock").exists()
    folder.abandon()
    assert not folder.path.exists()


# --- without a network


def test_a_wheelhouse_installs_where_the_index_is_gone(
    index: LocalIndex, tmp_path: Path, told: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    import shutil

    index.add("fromsource", "1.0", source=True)
    steps = (Step("base", ("base==1.0", "fromsource"), ("fromsource",)), *STEPS[1:])
    wheels, venv = tmp_path / "wheels", tmp_path / "env"
    plan = plan_for(tmp_path / "elsewhere", steps=steps, versions=(*VERSIONS, ("fromsource", "1.0")))
    assert download(plan, str(wheels), told) == ["pylock.sglang.toml"]
    assert sorted(path.name for path in wheels.iterdir()) == [
        "base-1.0-py3-none-any.whl", "fromsource-1.0-py3-none-any.whl", "helper-1.5-py3-none-any.whl",
        "middle-1.0-py3-none-any.whl", "pylock.sglang.toml", "top-1.0-py3-none-any.whl",
    ]  # fmt: skip
    shutil.rmtree(index.root)
    shutil.rmtree(tmp_path / "cache")
    wheels.rename(tmp_path / "moved")
    monkeypatch.chdir(tmp_path)
    found, locks = plan_in_wheelhouse("moved", str(venv))
    assert execute(found, Work(locks=locks), told).status == "done"
    assert packages(venv) == {**ALL, "fromsource": "1.0"}


def test_a_plan_in_another_folder_starts_what_is_there(index: LocalIndex, tmp_path: Path, told: Told) -> None:
    first = plan_for(".old/env")
    launch = Launch((".old/env/bin/python", "-m", "sglang.launch_server"))
    note = "Run uv pip install --python .old/env/bin/python x"
    plan = replace(first, environments=(replace(first.environments[0], launch=launch),), notes=(note,))
    download(plan, str(tmp_path / "wheels"), told)
    found, _ = plan_in_wheelhouse(str(tmp_path / "wheels"), "new")
    assert found.environments[0].launch.command == ("new/bin/python", "-m", "sglang.launch_server")
    assert found.notes == ("Run uv pip install --python new/bin/python x",)


def test_a_folder_without_locks_is_no_wheelhouse(tmp_path: Path) -> None:
    with pytest.raises(InstallRefusedError) as caught:
        plan_in_wheelhouse(str(tmp_path))
    assert str(caught.value) == (
        f"{tmp_path} holds no lock file. Fill it with: sgldoctor install ... --download {tmp_path}"
    )


def test_a_lock_file_of_somebody_else(tmp_path: Path) -> None:
    path = tmp_path / "pylock.toml"
    path.write_text('lock-version = "1.0"\npackages = []\n')
    with pytest.raises(InstallRefusedError, match="names no plan. Give a lock file that sgldoctor install wrote."):
        plan_in_lock(str(path))
    path.write_text("not toml")
    with pytest.raises(InstallRefusedError, match="is no lock file of sgldoctor"):
        plan_in_lock(str(path))
    with pytest.raises(InstallRefusedError, match="Cannot read .*: No such file or directory"):
        plan_in_lock(str(tmp_path / "none.toml"))
