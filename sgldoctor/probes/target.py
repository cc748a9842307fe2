"""Choosing the patient: which of the Python environments in reach is examined, and why."""

from __future__ import annotations

from dataclasses import dataclass
from posixpath import dirname, join
from typing import TYPE_CHECKING

from sgldoctor.errors import TargetError
from sgldoctor.probes.python import Interpreter, read_executable, read_venv, site_packages

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sgldoctor.system import System

# Where tools keep the environments that they make for themselves: pipx, uv tool, uvx.
_TOOL_FOLDERS = ("/pipx/venvs/", "/uv/tools/", "/uv/archive-v", "/uv/environments-v")
_IMAGE_PREFIXES = (
    "/opt/venv", "/venv", "/.venv", "/app/.venv", "/workspace/.venv", "/sgl-workspace/.venv", "/opt/conda",
    "/root/miniconda3", "/usr/local", "/usr",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Target:
    """The environment to examine, why it was chosen, and the others that were in reach."""

    interpreter: Interpreter
    folders: list[str]
    because: str
    others: tuple[str, ...] = ()


def choose(system: System, *, python: str | None, venv: str | None, rooted: bool) -> Target:
    """Return the environment to examine.

    Order: ``--python``, ``--venv``; then VIRTUAL_ENV, CONDA_PREFIX, ./.venv, ./.venv-sglang, python3 on PATH,
    the doctor's own; among the latter the first that holds sglang, else the first.

    Raises:
        TargetError: the named one is no environment, or none was found.
    """
    if python:
        return _target(system, read_executable(system, _absolute(system, python)), "--python names it")
    if venv:
        return _target(system, read_venv(system, _absolute(system, venv)), "--venv names it")
    targets = list(_candidates(system, rooted=rooted))
    if not targets:
        raise TargetError("Found no Python environment to examine. Name one with --venv DIR or --python PATH.")
    chosen = next((target for target in targets if _holds_sglang(system, target)), targets[0])
    others = tuple(f"{target.interpreter.prefix} ({target.because})" for target in targets if target is not chosen)
    reason = f"{chosen.because}{', which holds sglang' if others and _holds_sglang(system, chosen) else ''}"
    return Target(chosen.interpreter, chosen.folders, reason, others)


def _absolute(system: System, path: str) -> str:
    if path.startswith("/"):
        return path
    try:
        if "/" not in path and not system.exists(join(system.cwd(), path)):
            return system.which(path) or path
        return join(system.cwd(), path)
    except OSError:
        return f"/{path}"


def _target(system: System, interpreter: Interpreter, because: str) -> Target:
    return Target(interpreter, site_packages(system, interpreter), because)


def _candidates(system: System, *, rooted: bool) -> Iterator[Target]:
    seen: set[str] = set()
    for prefix, executable, because in _image_places() if rooted else _places(system):
        try:
            found = read_executable(system, executable) if executable else read_venv(system, prefix)
        except (TargetError, OSError):
            continue
        if found.prefix not in seen:
            seen.add(found.prefix)
            yield _target(system, found, because)


def _image_places() -> Iterator[tuple[str, str, str]]:
    for prefix in _IMAGE_PREFIXES:
        yield prefix, "", f"{prefix} in the image"


def _places(system: System) -> Iterator[tuple[str, str, str]]:
    environ, cwd, own = system.environ(), system.cwd(), system.own_python()
    for variable in ("VIRTUAL_ENV", "CONDA_PREFIX"):
        if environ.get(variable):
            yield environ[variable], "", f"{variable} is set"
    for name in (".venv", ".venv-sglang"):
        yield join(cwd, name), "", f"./{name}"
    if python3 := system.which("python3"):
        yield "", python3, "python3 on PATH"
    if own and not any(folder in own for folder in _TOOL_FOLDERS):
        yield dirname(dirname(own)), own, "the doctor's own interpreter"


def _holds_sglang(system: System, target: Target) -> bool:
    for folder in target.folders:
        try:
            names = system.list_dir(folder)
        except OSError:
            continue
        if "sglang" in names or any(name.startswith("sglang-") and "-info" in name for name in names):
            return True
    return False
