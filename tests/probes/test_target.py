from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from sgldoctor.errors import TargetError
from sgldoctor.probes.target import choose
from sgldoctor.system import RealSystem
from tests.environments import add, make_venv


class Here(RealSystem):
    """The real file system with variables, folder and interpreter of our own."""

    def __init__(self, environ: dict[str, str], cwd: Path, own: str = "") -> None:
        super().__init__()
        self._given: dict[str, Any] = {"environ": {"PATH": "", **environ}, "cwd": str(cwd), "own_python": own}

    def ask(self, question: str, *args: Any) -> Any:
        return self._given[question] if question in self._given else super().ask(question, *args)


def chosen(system: Here, **named: str | None) -> tuple[str, str]:
    target = choose(system, python=named.get("python"), venv=named.get("venv"), rooted=False)
    return target.interpreter.prefix, target.because


def test_a_named_environment_is_taken_whatever_else_is_there(tmp_path: Path) -> None:
    make_venv(tmp_path / "named")
    make_venv(tmp_path / ".venv")
    system = Here({"VIRTUAL_ENV": str(tmp_path / ".venv")}, tmp_path)
    assert chosen(system, venv="named") == (str(tmp_path / "named"), "--venv names it")
    python = str(tmp_path / "named/bin/python")
    assert chosen(system, python=python) == (str(tmp_path / "named"), "--python names it")


def test_the_order_is_active_then_local_then_path_then_own(tmp_path: Path) -> None:
    for name in ("active", "conda", "own"):
        make_venv(tmp_path / name)
    own = str(tmp_path / "own/bin/python")
    both = Here({"VIRTUAL_ENV": str(tmp_path / "active"), "CONDA_PREFIX": str(tmp_path / "conda")}, tmp_path, own)
    conda = Here({"CONDA_PREFIX": str(tmp_path / "conda")}, tmp_path, own)
    assert chosen(both) == (str(tmp_path / "active"), "VIRTUAL_ENV is set")
    assert chosen(conda) == (str(tmp_path / "conda"), "CONDA_PREFIX is set")
    assert chosen(Here({}, tmp_path, own)) == (str(tmp_path / "own"), "the doctor's own interpreter")
    make_venv(tmp_path / ".venv-sglang")
    assert chosen(Here({}, tmp_path, own)) == (str(tmp_path / ".venv-sglang"), "./.venv-sglang")
    make_venv(tmp_path / ".venv")
    assert chosen(Here({}, tmp_path, own)) == (str(tmp_path / ".venv"), "./.venv")


def test_an_environment_that_holds_sglang_is_preferred_and_the_others_are_named(tmp_path: Path) -> None:
    make_venv(tmp_path / "active")
    add(make_venv(tmp_path / ".venv-sglang"), "sglang", "0.5.9")
    system = Here({"VIRTUAL_ENV": str(tmp_path / "active")}, tmp_path)
    target = choose(system, python=None, venv=None, rooted=False)
    assert (target.interpreter.prefix, target.because, target.others) == (
        str(tmp_path / ".venv-sglang"),
        "./.venv-sglang, which holds sglang",
        (f"{tmp_path}/active (VIRTUAL_ENV is set)",),
    )


@pytest.mark.parametrize("folder", ["pipx/venvs/sgldoctor", "uv/tools/sgldoctor", "uv/archive-v0/Xy"])
def test_a_tools_own_environment_is_never_the_patient(tmp_path: Path, folder: str) -> None:
    make_venv(tmp_path / folder)
    with pytest.raises(TargetError, match="Found no Python environment"):
        chosen(Here({}, tmp_path, str(tmp_path / folder / "bin/python")))


def test_a_stale_variable_is_passed_over(tmp_path: Path) -> None:
    make_venv(tmp_path / ".venv")
    assert chosen(Here({"VIRTUAL_ENV": "/nowhere"}, tmp_path))[1] == "./.venv"


def test_in_an_image_the_usual_places_are_searched(tmp_path: Path) -> None:
    add(make_venv(tmp_path / "opt/venv"), "sglang", "0.5.9")
    (tmp_path / "usr/lib/python3.11").mkdir(parents=True)
    (tmp_path / "usr/lib/python3.11/os.py").write_text("")
    target = choose(RealSystem(str(tmp_path)), python=None, venv=None, rooted=True)
    assert (target.interpreter.prefix, target.others) == ("/opt/venv", ("/usr (/usr in the image)",))
