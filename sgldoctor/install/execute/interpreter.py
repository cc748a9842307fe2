"""The interpreter that an environment is made with: found by uv, pyenv and on PATH, else fetched by uv."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING

from packaging.version import Version

from sgldoctor.install.execute.errors import InstallRefusedError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sgldoctor.install.execute.engine import Engine

_ASK = (
    "import platform,sys,sysconfig;print(platform.python_implementation(),"
    "'.'.join(map(str,sys.version_info[:3])),bool(sysconfig.get_config_var('Py_GIL_DISABLED')))"
)
_FETCH_TIMEOUT = 600.0


def find(wanted: str, engine: Engine) -> str:
    """Return the path of an interpreter.

    Args:
        wanted: a version such as 3.12 or 3.12.1, or a path.
        engine: who is asked, and who fetches one where the machine has none.

    Raises:
        InstallRefusedError: there is none, and none can be fetched.
    """
    if "/" in wanted:
        if _answers(engine, wanted) is None:
            raise InstallRefusedError(f"{wanted} does not run as a Python interpreter. Name another one with --python.")
        return wanted
    for path in _candidates(wanted, engine):
        if (version := _answers(engine, path)) and _is(version, wanted):
            return path
    fetched = engine.ask(["python", "install", "--quiet", wanted], timeout=_FETCH_TIMEOUT)
    if fetched.code == 0:
        found = engine.ask(["python", "find", "--managed-python", "--no-python-downloads", wanted])
        if found.code == 0 and _answers(engine, found.out.strip()):
            return found.out.strip()
    reason = " ".join((fetched.err or fetched.out).split("cause:")[-1].split())[-200:]
    raise InstallRefusedError(
        f"No Python {wanted} was found by uv, by pyenv or on PATH, and uv cannot fetch one ({reason}). "
        "Install it, or name an interpreter with --python PATH."
    )


def minor_of(python: str, engine: Engine) -> tuple[int, int]:
    """Return the minor version of an interpreter that `find` gave or takes, such as (3, 12)."""
    major, minor, *_ = str(_answers(engine, python) if "/" in python else python).split(".")
    return int(major), int(minor)


def _candidates(wanted: str, engine: Engine) -> Iterator[str]:
    found = engine.ask(["python", "find", "--system", "--no-python-downloads", wanted])
    if found.code == 0:
        yield found.out.strip()
    minor = ".".join(wanted.split(".")[:2])
    root = Path(engine.environment.get("PYENV_ROOT") or Path.home() / ".pyenv")
    versions = [path for path in root.glob("versions/*") if re.fullmatch(r"\d+\.\d+\.\d+", path.name)]
    for path in sorted(versions, key=lambda path: Version(path.name), reverse=True):
        yield str(path / "bin" / "python")
    for folder in engine.environment.get("PATH", os.defpath).split(os.pathsep):
        yield os.path.join(folder, f"python{minor}")
    yield "/usr/bin/python3"


def _answers(engine: Engine, path: str) -> str | None:
    """Return the version of a CPython with a lock, or None: SGLang has no wheels for others."""
    if not os.access(path, os.X_OK) or os.path.isdir(path):
        return None
    try:
        done = engine.system.run([path, "-I", "-c", _ASK], timeout=30)
    except OSError:
        return None
    kind, _, rest = done.out.strip().partition(" ")
    version, _, free_threaded = rest.partition(" ")
    return version if done.code == 0 and kind == "CPython" and free_threaded == "False" else None


def _is(version: str, wanted: str) -> bool:
    parts = wanted.split(".")
    return version.split(".")[: len(parts)] == parts
