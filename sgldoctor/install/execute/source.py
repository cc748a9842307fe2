"""Plans that were made before: in a folder that was begun, in a lock file, in a folder of wheels."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from sgldoctor.install.execute import lockfile
from sgldoctor.install.execute.errors import InstallRefusedError
from sgldoctor.install.execute.folder import LOCK, read_state
from sgldoctor.install.plan import READY, STATE, from_record, moved

if TYPE_CHECKING:
    from sgldoctor.install.plan import Plan


def plan_in_folder(venv: str) -> Plan | None:
    """Return the plan of the installation that was begun in a folder, or None where none was.

    Raises:
        InstallRefusedError: its state cannot be read.
    """
    state = read_state(venv)
    if state is None:
        return None
    try:
        return from_record(state["plan"])
    except (KeyError, TypeError, ValueError) as error:
        raise InstallRefusedError(
            f"The state in {venv} cannot be used ({error}). Remove the folder, or name another one with --venv."
        ) from None


def is_locked(venv: str) -> bool:
    """Return whether the installation that was begun in a folder knows its files."""
    return Path(venv, STATE, LOCK).exists()


def plan_in_lock(path: str, venv: str | None = None) -> tuple[Plan, dict[str, lockfile.Lock]]:
    """Return the plan of one environment and its lock, by the environment's name.

    Args:
        path: a lock file that an installation wrote.
        venv: where the environment goes now; None: where it was.

    Raises:
        InstallRefusedError: it is no such file.
    """
    lock = lockfile.read(Path(path))
    own = [
        environment
        for environment in (lock.plan.environments if lock.plan else ())
        if environment.name == lock.environment
    ]
    if not lock.plan or not own:
        raise InstallRefusedError(f"{path} names no plan. Give a lock file that sgldoctor install wrote.")
    plan = moved(replace(lock.plan, environments=tuple(own)), [venv or own[0].venv])
    return replace(plan, status=READY, reason=None), {lock.environment: lock}


def plan_in_wheelhouse(folder: str, venv: str | None = None) -> tuple[Plan, dict[str, lockfile.Lock]]:
    """Return the plan of a folder that `--download` filled, and the locks of its environments.

    Args:
        folder: the folder.
        venv: where a single environment goes now, and the folder beside which several go; None: where they were.

    Raises:
        InstallRefusedError: there are no locks in it.
    """
    locks = [lockfile.read(path) for path in sorted(Path(folder).glob("pylock.*.toml"))]
    plan = next((lock.plan for lock in locks if lock.plan), None)
    if plan is None:
        raise InstallRefusedError(
            f"{folder} holds no lock file. Fill it with: sgldoctor install ... --download {folder}"
        )
    by_name = {lock.environment: lock for lock in locks}
    environments = plan.environments
    if missing := [environment.name for environment in environments if environment.name not in by_name]:
        raise InstallRefusedError(f"{folder} holds no lock file for {', '.join(missing)}. Collect it again.")
    if venv:
        single = len(environments) == 1
        plan = moved(plan, [venv if single else f"{venv.rstrip('/')}-{each.name}" for each in environments])
    return replace(plan, status=READY, reason=None), by_name
