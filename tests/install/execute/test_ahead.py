"""What is downloaded beside other work: when it begins, what it leaves, and that nothing is downloaded twice."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from sgldoctor.cli.app import run
from sgldoctor.install.execute import Work, ahead, execute
from sgldoctor.install.execute.reporter import Held, Reporter
from sgldoctor.install.plan import REFUSED, Plan
from tests.install.execute.conftest import Served, Told, plan_for
from tests.install.execute.local_index import LocalIndex


@pytest.fixture(autouse=True)
def room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ahead, "_ROOM", 0)


def when(served: Served, wheel: str) -> Callable[[Plan], Plan]:
    """Return what settles a plan as it is, but not before a wheel is asked for."""

    def settle(plan: Plan) -> Plan:
        end = time.monotonic() + 60
        while wheel not in served.downloads():
            assert time.monotonic() < end, "nothing is fetched while the plan is settled"
            time.sleep(0.02)
        return plan

    return settle


@pytest.mark.enable_socket
def test_the_first_step_is_fetched_while_the_plan_is_resolved_and_nothing_twice(
    served: Served, tmp_path: Path, told: Told
) -> None:
    settle = when(served, "helper-1.5-py3-none-any.whl")
    assert execute(plan_for(tmp_path / "env"), Work(settle=settle), told).status == "done"
    assert served.downloads() == {
        "base-1.0-py3-none-any.whl": 1,
        "helper-1.5-py3-none-any.whl": 1,
        "middle-1.0-py3-none-any.whl": 1,
        "top-1.0-py3-none-any.whl": 1,
    }
    state = tmp_path / "env/.sgldoctor"
    assert sorted(path.name for path in state.iterdir()) == [
        "ahead-base.log", "ahead-middle.log", "ahead-top.log", "install.log", "lock", "made-for", "pylock.toml",
        "record.json", "state.json",
    ]  # fmt: skip


@pytest.mark.enable_socket
def test_a_version_that_a_later_step_asks_for_is_fetched_and_the_rest_is_not_fetched_again(
    served: Served, index: LocalIndex, tmp_path: Path, told: Told
) -> None:
    index.add("helper", "1.0")
    index.add("top", "2.0", requires=("base", "middle", "helper<1.5"))
    versions = (("base", "1.0"), ("middle", "1.0"), ("top", "2.0"))
    settle = when(served, "helper-1.5-py3-none-any.whl")
    assert execute(plan_for(tmp_path / "env", versions=versions), Work(settle=settle), told).status == "done"
    assert served.downloads() == {
        "base-1.0-py3-none-any.whl": 1,
        "helper-1.0-py3-none-any.whl": 1,
        "helper-1.5-py3-none-any.whl": 1,
        "middle-1.0-py3-none-any.whl": 1,
        "top-2.0-py3-none-any.whl": 1,
    }


@pytest.mark.enable_socket
def test_where_uv_keeps_nothing_every_file_is_still_fetched_once(
    served: Served, tmp_path: Path, told: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("UV_NO_CACHE", "1")
    assert execute(plan_for(tmp_path / "env"), Work(), told).status == "done"
    assert set(served.downloads().values()) == {1}


def test_nothing_is_fetched_before_the_sizes_are_known_where_room_is_short(
    index: LocalIndex, tmp_path: Path, told: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ahead, "_ROOM", 1e18)
    assert execute(plan_for(tmp_path / "env"), Work(), told).status == "done"
    logs = sorted(path.name for path in (tmp_path / "env/.sgldoctor").glob("ahead-*.log"))
    assert logs == ["ahead-middle.log", "ahead-top.log"]


@pytest.mark.enable_socket
def test_a_plan_that_is_refused_while_it_is_settled_leaves_nothing(served: Served, tmp_path: Path, told: Told) -> None:
    wait = when(served, "helper-1.5-py3-none-any.whl")
    done = execute(
        plan_for(tmp_path / "env"), Work(settle=lambda plan: replace(wait(plan), status=REFUSED, reason="so")), told
    )
    assert (done.status, done.reason) == (REFUSED, "so")
    assert told.texts == []
    assert not (tmp_path / "env").exists()


def test_ctrl_c_while_it_is_settled_leaves_nothing(index: LocalIndex, tmp_path: Path, told: Told) -> None:
    def interrupted(_plan: Plan) -> Plan:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        execute(plan_for(tmp_path / "env"), Work(settle=interrupted), told)
    assert told.texts == ["note Stopped; nothing was made."]
    assert not (tmp_path / "env").exists()


@pytest.mark.enable_socket
def test_an_occupied_folder_is_refused_before_anything_is_asked(
    served: Served, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "mine").write_text("")
    assert run(["install", "--gpu", "h100", "--driver", "580", "--execute", "--venv", str(tmp_path)]) == 3
    found = capsys.readouterr()
    assert found.out == ""
    assert found.err.endswith(f"{tmp_path} is not empty. Name another folder with --venv.\n")
    assert not served.asked.exists()


def test_a_plan_that_does_not_resolve_today_is_shown_as_refused_and_nothing_is_made(
    index: LocalIndex, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    venv = tmp_path / "env"
    for name in ("torch", "sglang"):
        index.add(name, "0.1")
    command = ["install", "--gpu", "h100", "--driver", "580", "--sglang", "0.5.9", "--python", "3.12", "--execute"]
    assert run([*command, "--venv", str(venv)]) == 1
    assert capsys.readouterr().out.startswith("Refused: sglang 0.5.9 cannot be installed here: ")
    assert not venv.exists()


class Heard(Reporter):
    def __init__(self) -> None:
        self.texts: list[str] = []

    def downloading(self, name: str, size: int | None) -> None:
        self.texts.append(f"{name} {size}")

    def arrived(self, name: str) -> None:
        self.texts.append(f"{name} arrived")


def test_what_is_fetched_ahead_is_told_at_its_step() -> None:
    held, first, second = Held(), Heard(), Heard()
    held.downloading("torch", 9)
    held.downloading("numpy", None)
    held.listen(first, ["torch"])
    held.arrived("torch")
    held.arrived("numpy")
    assert first.texts == ["torch 9", "torch arrived"]
    held.listen(second, ["numpy"])
    assert second.texts == ["numpy None", "numpy arrived"]
