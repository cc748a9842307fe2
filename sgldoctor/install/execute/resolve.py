"""Resolving an environment once: the whole set, and which packages each step brings."""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from packaging.utils import canonicalize_name

from sgldoctor.install.execute import lockfile
from sgldoctor.install.execute.engine import failure
from sgldoctor.install.execute.errors import InstallRefusedError
from sgldoctor.install.plan import CONSTRAINTS, OVERRIDES

if TYPE_CHECKING:
    from sgldoctor.install.execute.engine import Engine
    from sgldoctor.install.execute.folder import Folder
    from sgldoctor.install.plan import Environment, Plan

_TIMEOUT = 900.0
_PINNED = re.compile(r"^([A-Za-z0-9][\w.-]*)(?:==| @ )", re.MULTILINE)


def resolve(plan: Plan, environment: Environment, python: str, engine: Engine, folder: Folder) -> lockfile.Lock:
    """Return the lock of an environment: the plan's versions, each with the files and hashes of the index.

    Raises:
        InstallRefusedError: the set cannot be resolved, or the index does not answer.
    """
    if environment.constraints:
        folder.write(CONSTRAINTS, environment.constraints)
    if environment.overrides:
        folder.write(OVERRIDES, environment.overrides)
    every = len(environment.steps)
    path = folder.file("pylock.uv.toml")
    with ThreadPoolExecutor(every) as pool:
        whole = pool.submit(
            _compile, environment, every, python, engine, folder, ["--format", "pylock.toml", "-o", str(path)]
        )
        parts = [pool.submit(_compile, environment, count, python, engine, folder, []) for count in range(1, every)]
        whole.result()
        brought: list[set[str]] = [
            {canonicalize_name(name) for name in _PINNED.findall(part.result())} for part in parts
        ]
    lock = lockfile.read(path)
    path.unlink()
    steps: dict[str, tuple[str, ...]] = {}
    done: set[str] = set()
    for step, names in zip(environment.steps, [*brought, set(lock.packages)], strict=True):
        steps[step.name] = tuple(sorted((names & set(lock.packages)) - done))
        done |= names
    return lockfile.Lock(lock.packages, steps, plan, environment.name, lock.header)


def _compile(
    environment: Environment, count: int, python: str, engine: Engine, folder: Folder, output: list[str]
) -> str:
    """Return what uv resolves the first steps to."""
    steps = environment.steps[:count]
    wanted = folder.write(f"wanted.{count}.txt", (line for step in steps for line in step.requirements))
    command = [
        "pip", "compile", str(wanted), "--python", python, "--no-header", "--no-annotate", "--quiet",
        "--color", "never", *output,
    ]  # fmt: skip
    if environment.constraints:
        command += ["--constraint", str(folder.file(CONSTRAINTS))]
    if environment.overrides:
        command += ["--override", str(folder.file(OVERRIDES))]
    if environment.prerelease:
        command.append("--prerelease=allow")
    if indexes := dict.fromkeys(step.index for step in environment.steps if step.index):
        command += [word for index in indexes for word in ("--index", index)]
        command += ["--index-strategy", "unsafe-best-match"]
    # Planning has just asked the index for every pin of a locked plan.
    done = engine.ask([*command, "--offline"], timeout=_TIMEOUT) if environment.locked else None
    if done is None or done.code:
        done = engine.ask(command, timeout=_TIMEOUT)
    wanted.unlink()
    if done.code:
        raise InstallRefusedError(
            f"The plan for {environment.venv} cannot be resolved; nothing was installed.\n{failure(done.err)}"
        )
    return done.out
