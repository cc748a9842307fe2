"""An index over HTTP that fails: gone from the start, gone in the middle, and a download that comes in pieces."""

from __future__ import annotations

from pathlib import Path

import pytest

from sgldoctor.install.execute import Work, execute
from sgldoctor.install.execute.errors import InstallRefusedError
from sgldoctor.install.plan import Step
from tests.install.execute.conftest import STEPS, Served, Told, installed, plan_for
from tests.install.execute.local_index import LocalIndex


@pytest.mark.enable_socket
def test_sizes_are_asked_of_the_index(served: Served, index: LocalIndex, tmp_path: Path, told: Told) -> None:
    import json

    venv = tmp_path / "env"
    assert execute(plan_for(venv), Work(), told).status == "done"
    found = json.loads((venv / ".sgldoctor/record.json").read_text())
    wheels = [index.root / package["name"] / package["file"] for package in found["packages"]]
    assert found["download_bytes"] == sum(wheel.stat().st_size for wheel in wheels)


@pytest.mark.enable_socket
def test_an_index_that_goes_away_in_the_middle(served: Served, tmp_path: Path, told: Told) -> None:
    whole, venv = tmp_path / "whole" / "env", tmp_path / "cut" / "env"
    served_steps = (STEPS[0], Step("middle", ("middle",), ("base", "middle")))
    versions = (("base", "1.0"), ("middle", "1.0"))

    class Cutting(Told):
        def end(self, text: str) -> None:
            super().end(text)
            served.gone.touch()  # after the resolution, before anything is downloaded

    done = execute(plan_for(venv, steps=served_steps, versions=versions), Work(), Cutting())
    assert done.status == "failed"
    lines = str(done.reason).splitlines()
    assert lines[0] == "The package index did not answer."
    assert any("503" in line for line in lines)
    assert lines[-1] == f"Go on with: sgldoctor install --execute --resume --venv {venv}"
    served.gone.unlink()
    assert execute(plan_for(venv, steps=served_steps, versions=versions), Work(resume=True), told).status == "done"
    assert execute(plan_for(whole, steps=served_steps, versions=versions), Work(), told).status == "done"
    site = "lib/python3"
    assert {k: v for k, v in installed(venv).items() if k.startswith(site)} == {
        k: v for k, v in installed(whole).items() if k.startswith(site)
    }


@pytest.mark.enable_socket
def test_an_index_that_is_not_there(served: Served, tmp_path: Path, told: Told) -> None:
    served.stop()
    with pytest.raises(InstallRefusedError) as caught:
        execute(plan_for(tmp_path / "env"), Work(), told)
    lines = str(caught.value).splitlines()
    assert lines[0] == f"The plan for {tmp_path}/env cannot be resolved; nothing was installed."
    assert lines[1] == "The package index did not answer."
    assert not (tmp_path / "env").exists()


@pytest.mark.enable_socket
def test_wheels_are_collected_over_http(served: Served, tmp_path: Path, told: Told) -> None:
    from sgldoctor.install.execute import download

    download(plan_for(tmp_path / "env"), str(tmp_path / "wheels"), told)
    names = sorted(path.name for path in (tmp_path / "wheels").glob("*.whl"))
    assert names == [
        "base-1.0-py3-none-any.whl", "helper-1.5-py3-none-any.whl", "middle-1.0-py3-none-any.whl",
        "top-1.0-py3-none-any.whl",
    ]  # fmt: skip
    served.gone.touch()
    download(plan_for(tmp_path / "env"), str(tmp_path / "wheels"), told)  # what is there is not asked for again
