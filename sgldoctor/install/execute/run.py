"""Carrying out a plan: environment by environment, step by step, verified after each."""

from __future__ import annotations

import platform
import shlex
import shutil
import signal
import sys
import threading
import time
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, TypeAlias

from packaging.utils import canonicalize_name

from sgldoctor.errors import SgldoctorError
from sgldoctor.install.execute import ahead, disk, interpreter, judge, lockfile, record
from sgldoctor.install.execute.engine import Engine
from sgldoctor.install.execute.errors import InstallFailedError, InstallRefusedError
from sgldoctor.install.execute.folder import LOCK, Folder
from sgldoctor.install.execute.resolve import resolve
from sgldoctor.install.plan import (
    BUILD_CONSTRAINTS,
    CONSTRAINTS,
    DONE,
    FAILED,
    MADE_FOR,
    READY,
    as_record,
    create_command,
    install_command,
    moved,
)
from sgldoctor.system import RealSystem

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path
    from types import FrameType

    from sgldoctor.install.execute.ahead import Ahead
    from sgldoctor.install.execute.lockfile import Lock
    from sgldoctor.install.execute.reporter import Reporter
    from sgldoctor.install.plan import Environment, Plan, Step

LOG = "install.log"
_STEP_LOCK = "pylock.step.toml"


_Fetched: TypeAlias = "dict[tuple[str, str], Ahead | None]"
"""What is fetched ahead, by the names of environment and step."""


@dataclass(frozen=True, slots=True)
class Work:
    """How a plan is carried out.

    Attributes:
        resume: go on where an installation in the plan's folders was interrupted.
        clean: remove an environment whose installation fails.
        locks: resolved sets by the environment's name; others are resolved.
        settle: makes the plan exact, and shows it, when its folders are taken; what it refuses is not begun.
    """

    resume: bool = False
    clean: bool = False
    locks: Mapping[str, Lock] = field(default_factory=dict)
    settle: Callable[[Plan], Plan] = lambda plan: plan


@dataclass
class _Site:
    """One environment that is being made."""

    plan: Plan
    environment: Environment
    folder: Folder
    engine: Engine
    reporter: Reporter
    lock: Lock
    state: dict[str, Any]
    fetched: _Fetched

    @property
    def log(self) -> Path:
        return self.folder.file(LOG)

    def save(self, **changes: Any) -> None:  # noqa: ANN401 - any JSON value
        self.state |= changes
        self.folder.save(self.state)

    def todo(self) -> list[Step]:
        """Return the steps that are not verified."""
        return [step for step in self.environment.steps if "verified" not in self.state["steps"].get(step.name, {})]

    def fetch(self) -> None:
        """Begin to fetch what the later steps need, unless that was done."""
        for place, step in enumerate(self.todo()):
            key = (self.environment.name, step.name)
            if place and key not in self.fetched and self.plan.installer == "uv":
                part = self.lock.part(self.lock.steps[step.name])
                self.fetched[key] = ahead.step(
                    step.name, part, self.state["python"], self.engine, self.folder, behind=place
                )


def execute(plan: Plan, work: Work, reporter: Reporter) -> Plan:
    """Carry out a plan and return it as done, as failed with the reason, or as refused while it was settled.

    Args:
        plan: a ready plan; its folders are relative to the current one.
        work: how.
        reporter: hears how far it is.

    Raises:
        InstallRefusedError: it cannot begin; nothing was made.
        KeyboardInterrupt: the user or the system stopped it; it can be resumed.
    """
    if plan.status != READY:
        raise InstallRefusedError(f"The plan is {plan.status}, so nothing is installed: {plan.reason}")
    _refuse_elsewhere(plan)
    engine = Engine.find(RealSystem())
    with ExitStack() as stack:
        stack.enter_context(_stoppable(engine))
        folders = _claimed(plan, work, stack)
        fetched: _Fetched = {}
        stack.callback(_stop, fetched)
        try:
            plan = _settled(plan, work, folders, engine, fetched)
            if plan.status != READY:
                return plan
            sites = _prepared(plan, work, folders, engine, reporter, fetched)
            for site in sites:
                if problem := _problem(site):
                    return replace(plan, status=FAILED, reason=f"{problem}\n{_after_failure(site, work)}")
        except KeyboardInterrupt:
            if not folders[0].state_folder.exists():
                reporter.note("Stopped; nothing was made.")
                raise
            reporter.end("stopped")
            reporter.note(f"Go on with: {_again(folders[0])}")
            raise
    return replace(plan, status=DONE, resolved=True)


def _problem(site: _Site) -> str | None:
    """Make one environment; return why that failed, or None."""
    try:
        _carry_out(site)
    except SgldoctorError as error:
        problem = str(error)
    except OSError as error:
        problem = f"Cannot write to {site.folder.path}: {error.strerror or error}."
    else:
        return None
    site.reporter.end("failed")
    return problem


def _refuse_elsewhere(plan: Plan) -> None:
    """Raise where the plan is for another kind of machine than this one.

    Raises:
        InstallRefusedError: naming both.
    """
    here = {"os": sys.platform, "arch": platform.machine()}
    for part, wanted in dict(plan.target).items():
        if part in here and wanted and wanted != here[part]:
            raise InstallRefusedError(
                f"The plan is for {wanted} and this machine is {here[part]}. "
                "Write it down instead: --format dockerfile, shell or requirements."
            )


@contextmanager
def _stoppable(engine: Engine) -> Iterator[None]:
    """Treat a polite end as Ctrl-C, and leave no child behind."""

    def stop(_number: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    main = threading.current_thread() is threading.main_thread()
    before = {number: signal.signal(number, stop) for number in (signal.SIGTERM, signal.SIGHUP)} if main else {}
    try:
        yield
    finally:
        engine.stop()
        for number, handler in before.items():
            signal.signal(number, handler)


def _claimed(plan: Plan, work: Work, stack: ExitStack) -> list[Folder]:
    folders = [Folder(environment.venv) for environment in plan.environments]
    taken: list[Folder] = []
    try:
        for folder in folders:
            folder.claim(resume=work.resume)
            taken.append(folder)
            stack.callback(folder.release)
    except InstallRefusedError:
        for folder in taken:
            folder.abandon()
        raise
    return folders


def _first_fetched(plan: Plan, work: Work, folder: Folder, engine: Engine) -> _Fetched:
    """Begin to fetch what the plan names itself, where the rest is not known yet."""
    first = plan.environments[0]
    if first.name in work.locks or folder.file(LOCK).exists() or plan.installer != "uv":
        return {}
    return {(first.name, first.steps[0].name): ahead.first_step(first, engine, folder)}


def _stop(fetched: _Fetched) -> None:
    for each in fetched.values():
        if each:
            each.stop()


def _settled(plan: Plan, work: Work, folders: list[Folder], engine: Engine, fetched: _Fetched) -> Plan:
    """Return the plan as it is to be carried out; where that is not to be, fresh folders are gone again."""
    settled = None
    try:
        _begun(plan, folders)
        fetched.update(_first_fetched(plan, work, folders[0], engine))
        settled = work.settle(plan)
    except InstallFailedError as error:
        raise InstallRefusedError(str(error)) from None
    finally:
        if not settled or settled.status != READY:
            _give_up(folders, fetched)
    return settled


def _begun(plan: Plan, folders: list[Folder]) -> Plan:
    """Write into each folder what it is for, so that a run that is killed can be resumed; return the plan for here."""
    here = moved(plan, [str(folder.path) for folder in folders])
    for environment, folder in zip(here.environments, folders, strict=True):
        folder.save({"steps": {}} | folder.load() | {"plan": as_record(here), "environment": environment.name})
    return here


def _give_up(folders: list[Folder], fetched: _Fetched) -> None:
    _stop(fetched)
    for folder in folders:
        folder.abandon()


def _prepared(
    plan: Plan, work: Work, folders: list[Folder], engine: Engine, reporter: Reporter, fetched: _Fetched
) -> list[_Site]:
    """Return what is to be made, after all that can be known before has been looked at.

    Raises:
        InstallRefusedError: an interpreter, the index or room on the disk is missing; fresh folders are gone again.
    """
    sites: list[_Site] = []
    try:
        whole = _begun(plan, folders)
        for environment, folder in zip(whole.environments, folders, strict=True):
            state = folder.load()
            site = _Site(whole, environment, folder, engine, reporter, lockfile.Lock({}, {}), state, fetched)
            reporter.begin(f"{environment.name}: resolving")
            site.save(python=state.get("python") or interpreter.find(environment.python, engine))
            site.lock = _locked(site, work)
            if not sites and ahead.has_room(engine, folder):
                site.fetch()
            site.lock = _weighed(site, work)
            sites.append(site)
            count = len(site.lock.packages)
            reporter.end(f"{count} packages, Python at {site.state['python']}")
    except (InstallRefusedError, InstallFailedError) as error:
        reporter.end("refused")
        _give_up(folders, fetched)
        raise InstallRefusedError(str(error)) from None
    return sites


def _locked(site: _Site, work: Work) -> Lock:
    """Return what is to be installed: as it was begun, as it is given, or as it resolves."""
    path, python = site.folder.file(LOCK), site.state["python"]
    if path.exists():
        return lockfile.read(path)
    lock = work.locks.get(site.environment.name)
    if lock is None:
        lock = resolve(site.plan, site.environment, python, site.engine, site.folder)
        lock = lockfile.narrowed(lock, interpreter.minor_of(python, site.engine))
    return replace(lock, plan=site.plan, environment=site.environment.name)


def _weighed(site: _Site, work: Work) -> Lock:
    """Return the lock with sizes, when there is room for it, and store it.

    Raises:
        InstallRefusedError: there is not.
    """
    path = site.folder.file(LOCK)
    if path.exists():
        return site.lock
    lock = site.lock if site.environment.name in work.locks else disk.with_sizes(site.lock)
    part = lockfile.write(lock, site.folder.file(_STEP_LOCK))
    target = ["--target", str(site.folder.file("none")), "--python", site.state["python"]]
    dry = ["pip", "install", "--dry-run", *target, "-r", str(part)]
    disk.refuse_too_little(lock, site.folder.path, site.engine, dry)
    return lockfile.read(lockfile.write(lock, path))


def _carry_out(site: _Site) -> None:
    started = time.monotonic()
    steps: dict[str, dict[str, Any]] = site.state["steps"]
    if not site.state.get("made"):
        made = replace(site.environment, python=site.state["python"])
        command = create_command(made, site.plan.installer)
        site.engine.run(command + (["--allow-existing"] if command[0] == "uv" else []), site.reporter, site.log)
        site.folder.write(MADE_FOR, [site.environment.made_for()])
        site.save(made=True)
    site.fetch()
    for step in site.todo():
        _step(site, step, steps)
    begun = time.monotonic()
    site.reporter.begin(f"{site.environment.name}: check")
    report = judge.judged(site.environment, site.plan)
    for text in judge.refuse_errors(report):
        site.reporter.note(text)
    checked = time.monotonic() - begun
    warnings = report.counts["warnings"]
    site.reporter.end(f"no error, {warnings} warning{'' if warnings == 1 else 's'}")
    record.write(site.plan, site.environment, site.lock, site.folder, site.state, report, checked)
    site.folder.file(_STEP_LOCK).unlink(missing_ok=True)
    ahead.tidy(site.folder)
    shutil.rmtree(site.folder.file("scratch"), ignore_errors=True)
    site.save(finished=True, seconds=round(time.monotonic() - started, 1))


def _step(site: _Site, step: Step, steps: dict[str, dict[str, Any]]) -> None:
    """Install one step, when what is fetched ahead of it is there, and verify it.

    Raises:
        InstallFailedError: the installer failed, or something does not hold.
    """
    part = site.lock.part(site.lock.steps[step.name])
    site.reporter.begin(f"{site.environment.name}: {step.name}, {len(part.packages)} packages", part.size())
    begun = time.monotonic()
    if step.name in steps:  # it was interrupted, or did not hold
        _forget(site, part)
    steps[step.name] = {}
    site.save()
    if fetch := site.fetched.get((site.environment.name, step.name)):
        fetch.told.listen(site.reporter, part.packages)
        fetch.wait()
    for each in fetch.split(part) if fetch else [part]:
        site.engine.run_cached(_command(site, step, each), site.reporter, site.log)
    steps[step.name]["installed"] = round(time.monotonic() - begun, 1)
    site.save()
    site.reporter.verifying()
    verified = time.monotonic()
    said = judge.verify(site.environment, step, site.engine, site.folder.file("scratch"))
    if "kernel" in step.verify and step is not site.environment.steps[-1]:
        judge.refuse_errors(judge.judged(site.environment, site.plan, ("sgl-kernel",)))
    steps[step.name]["verified"] = round(time.monotonic() - verified, 1)
    site.save()
    site.reporter.end(said)


def _command(site: _Site, step: Step, part: Lock) -> list[str]:
    """Return the command of a step: the plan's own for pip, the files of the lock for uv, which bring the same."""
    if site.plan.installer == "pip":
        pins = tuple(f"{name}=={row['version']}" for name, row in site.lock.packages.items() if "version" in row)
        site.folder.write(CONSTRAINTS, pins)
        return install_command(replace(site.environment, constraints=pins), step, "pip")
    path = lockfile.write(part, site.folder.file(_STEP_LOCK))
    # flashinfer before 0.5.0 asks for any torch to be built with, and writes that torch into its requirements.
    torch = [f"torch=={row['version']}" for name, row in site.lock.packages.items() if name == "torch"]
    build = ["--build-constraints", str(site.folder.write(BUILD_CONSTRAINTS, torch))] if torch else []
    return ["uv", "pip", "install", "--python", site.environment.interpreter(), *build, *ahead.exactly(path)]


def _forget(site: _Site, part: Lock) -> None:
    """Remove the marks of packages that an earlier run may have installed by half; they are installed again."""
    for folder in site.folder.path.glob("lib/python3*/site-packages/*.dist-info"):
        if canonicalize_name(folder.name.partition("-")[0]) in part.packages:
            shutil.rmtree(folder)


def _after_failure(site: _Site, work: Work) -> str:
    if work.clean:
        site.folder.clean()
        return f"{site.folder.path} was removed."
    return f"{site.folder.path} was kept; its log is {site.log}\nGo on with: {_again(site.folder)}"


def _again(folder: Folder) -> str:
    return f"sgldoctor install --execute --resume --venv {shlex.quote(str(folder.path))}"
