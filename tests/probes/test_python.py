from __future__ import annotations

from pathlib import Path

import pytest

from sgldoctor.errors import TargetError
from sgldoctor.probes.python import probe, read_executable, read_venv, site_packages
from sgldoctor.snapshot import Known
from sgldoctor.system import RealSystem
from tests.environments import make_venv

SYSTEM = RealSystem()


def test_a_venv_is_read_from_its_configuration(tmp_path: Path) -> None:
    site = make_venv(tmp_path / "env", "3.10.13")
    found = read_venv(SYSTEM, str(tmp_path / "env"))
    assert (found.kind, found.version, found.minor, found.executable, found.sees_system_packages) == (
        "venv", "3.10.13", "3.10", str(tmp_path / "env/bin/python"), False,
    )  # fmt: skip
    assert site_packages(SYSTEM, found) == [str(site)]


def test_virtualenv_writes_a_longer_version(tmp_path: Path) -> None:
    make_venv(tmp_path / "env", "3.11.7")
    (tmp_path / "env/pyvenv.cfg").write_text("home = /usr/bin\nversion_info = 3.11.7.final.0\n")
    assert read_venv(SYSTEM, str(tmp_path / "env")).version == "3.11.7"


def test_a_conda_prefix_tells_its_version_by_its_packages(tmp_path: Path) -> None:
    (tmp_path / "lib/python3.10/site-packages").mkdir(parents=True)
    (tmp_path / "conda-meta").mkdir()
    (tmp_path / "conda-meta/python-3.10.13-h955ad1f_0.json").write_text("{}")
    found = read_venv(SYSTEM, str(tmp_path))
    assert (found.kind, found.version, site_packages(SYSTEM, found)[-1]) == (
        "conda", "3.10.13", str(tmp_path / "lib/python3.10/site-packages"),
    )  # fmt: skip


def test_a_free_threaded_and_a_pypy_installation_are_told_apart(tmp_path: Path) -> None:
    (tmp_path / "t/lib/python3.13t/site-packages").mkdir(parents=True)
    (tmp_path / "p/lib/pypy3.10/site-packages").mkdir(parents=True)
    threads, pypy = read_venv(SYSTEM, str(tmp_path / "t")), read_venv(SYSTEM, str(tmp_path / "p"))
    assert (threads.minor, threads.free_threaded, threads.implementation) == ("3.13", True, "cpython")
    assert (pypy.minor, pypy.free_threaded, pypy.implementation) == ("3.10", False, "pypy")


def test_an_interpreter_in_a_venv_belongs_to_the_venv_and_not_to_its_base(tmp_path: Path) -> None:
    make_venv(tmp_path / "env")
    base = tmp_path / "base"
    (base / "bin").mkdir(parents=True)
    (base / "bin/python3.12").write_text("#!/bin/sh\n")
    python = tmp_path / "env/bin/python"
    python.unlink()
    python.symlink_to(base / "bin/python3.12")
    assert read_executable(SYSTEM, str(python)).prefix == str(tmp_path / "env")


def test_a_shim_is_run_once_to_find_its_place(tmp_path: Path) -> None:
    prefix = tmp_path / "real"
    (prefix / "lib/python3.12/site-packages").mkdir(parents=True)
    shim = tmp_path / "shims" / "python3"
    shim.parent.mkdir()
    shim.write_text(f'#!/bin/sh\necho \'["{prefix}/bin/python3.12", "{prefix}", "{prefix}", "3.12.1", []]\'\n')
    shim.chmod(0o755)
    found = read_executable(SYSTEM, str(shim))
    assert (found.prefix, found.version, found.executable) == (str(prefix), "3.12.1", str(shim))


def test_pth_files_add_folders_but_run_nothing(tmp_path: Path) -> None:
    site = make_venv(tmp_path / "env")
    (tmp_path / "src").mkdir()
    (site / "a.pth").write_text(f"import os; os.abort()\n# note\n{tmp_path}/src\n/nowhere\n")
    found = read_venv(SYSTEM, str(tmp_path / "env"))
    assert site_packages(SYSTEM, found) == [str(site), str(tmp_path / "src")]


def test_a_venv_that_sees_system_packages_reads_the_base_too(tmp_path: Path) -> None:
    base_site = tmp_path / "base/lib/python3.12/site-packages"
    base_site.mkdir(parents=True)
    site = make_venv(tmp_path / "env", system_packages=True, home=str(tmp_path / "base/bin"))
    found = read_venv(SYSTEM, str(tmp_path / "env"))
    assert site_packages(SYSTEM, found) == [str(site), str(base_site)]


def test_a_venv_whose_base_is_gone_says_so(tmp_path: Path) -> None:
    make_venv(tmp_path / "env")
    python = tmp_path / "env/bin/python"
    python.unlink()
    python.symlink_to("/nowhere/bin/python3.12")
    found = read_venv(SYSTEM, str(tmp_path / "env"))
    assert probe(SYSTEM, found, [])["python.base_missing"] == Known(True, f"{tmp_path}/env/pyvenv.cfg")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("missing", "does not exist"),
        ("file", "is no folder"),
        ("folder", "is no Python environment"),
    ],
)
def test_what_is_no_environment_is_named_with_its_reason(tmp_path: Path, name: str, message: str) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "folder").mkdir()
    with pytest.raises(TargetError, match=message) as caught:
        read_venv(SYSTEM, str(tmp_path / name))
    assert str(tmp_path / name) in str(caught.value)


def test_a_missing_interpreter_is_an_error_that_names_it(tmp_path: Path) -> None:
    with pytest.raises(TargetError, match="no such file"):
        read_executable(SYSTEM, str(tmp_path / "python"))


def test_an_interpreter_that_answers_nonsense_is_an_error(tmp_path: Path) -> None:
    fake = tmp_path / "bin/python"
    fake.parent.mkdir()
    fake.write_text("#!/bin/sh\necho hello\n")
    fake.chmod(0o755)
    with pytest.raises(TargetError, match="did not answer as an interpreter does"):
        read_executable(SYSTEM, str(fake))


def test_a_relative_folder_of_pythonpath_counts_from_the_current_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = make_venv(tmp_path / "env", "3.10.13")
    (tmp_path / "work/mine").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "work")
    monkeypatch.setenv("PYTHONPATH", "mine:")
    found = read_venv(SYSTEM, str(tmp_path / "env"))
    assert site_packages(SYSTEM, found) == [str(tmp_path / "work/mine"), str(site)]


def test_the_users_own_packages_may_lie_elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "conda/lib/python3.10/site-packages").mkdir(parents=True)
    (tmp_path / "conda/conda-meta").mkdir()
    (tmp_path / "conda/conda-meta/python-3.10.13-h955ad1f_0.json").write_text("{}")
    (tmp_path / "base/lib/python3.10/site-packages").mkdir(parents=True)
    monkeypatch.setenv("PYTHONUSERBASE", str(tmp_path / "base"))
    folders = site_packages(SYSTEM, read_venv(SYSTEM, str(tmp_path / "conda")))
    assert str(tmp_path / "base/lib/python3.10/site-packages") in folders
    monkeypatch.setenv("PYTHONNOUSERSITE", "1")
    folders = site_packages(SYSTEM, read_venv(SYSTEM, str(tmp_path / "conda")))
    assert str(tmp_path / "base/lib/python3.10/site-packages") not in folders


def test_what_an_environment_was_made_for_stands_in_it(tmp_path: Path) -> None:
    make_venv(tmp_path / "env", "3.12.1")
    found = read_venv(SYSTEM, str(tmp_path / "env"))
    place = str(tmp_path / "env/.sgldoctor/made-for")
    assert probe(SYSTEM, found, [])["python.made_for"] == Known(None, place)
    (tmp_path / "env/.sgldoctor").mkdir()
    (tmp_path / "env/.sgldoctor/made-for").write_text("vllm\n")
    assert probe(SYSTEM, found, [])["python.made_for"] == Known("vllm", place)
