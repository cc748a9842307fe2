"""Mending an environment that exists: package changes alone, inside it alone, and undoable."""

from __future__ import annotations

import json
import re
import shlex
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from packaging.utils import canonicalize_name

from sgldoctor.api import check, observe
from sgldoctor.install.cures import Cure, cures
from sgldoctor.install.execute import judge
from sgldoctor.install.execute.engine import Engine
from sgldoctor.install.execute.errors import InstallFailedError, InstallRefusedError
from sgldoctor.install.execute.folder import held
from sgldoctor.install.plan import STATE
from sgldoctor.simulate import Machine, simulate
from sgldoctor.system import RealSystem
from sgldoctor.system.files import write_text

if TYPE_CHECKING:
    from sgldoctor.install.execute.reporter import Reporter
    from sgldoctor.report.model import Report

SAVED = "before-fix.json"
_LOG = "fix.log"
_IMPORTED = frozenset({"python", "torch", "flashinfer", "sgl-kernel", "packages"})
"""Subjects whose errors would also fail an import."""
_CONSTRAINTS = "fix-constraints.txt"
_PINNED = re.compile(r"^(?P<name>[A-Za-z0-9][\w.-]*)(?:==| @ )")


@dataclass(frozen=True, slots=True)
class Patient:
    """The environment to mend, and the machine that it is judged for.

    Attributes:
        venv: its folder, or None where `python` names it.
        python: its interpreter, or None.
        machine: in place of this one.
    """

    venv: str | None
    python: str | None
    machine: Machine

    def report(self) -> Report:
        """Return what check says about it now."""
        return check(simulate(observe(venv=self.venv, python=self.python), self.machine))


def mend(patient: Patient, report: Report, reporter: Reporter) -> Report:
    """Apply the cures that a report names, each verified, and return what check says afterwards.

    Args:
        patient: named by the user, never guessed.
        report: what was shown to the user.
        reporter: hears how far it is.

    Raises:
        InstallRefusedError: the environment cannot be changed.
        InstallFailedError: a cure failed, or did not mend what it is for; what is done can be undone.
    """
    prefix, python = _changeable(report)
    engine = Engine.find(RealSystem())
    with held(prefix / STATE):
        _save(prefix, python, engine)
        for cure in cures(report):
            now = patient.report()
            if cure.finding not in {finding.id for finding in now.found}:
                continue  # an earlier cure has mended it too
            _apply(cure, now, prefix, python, engine, reporter)
            after = patient.report()
            if cure.finding in {finding.id for finding in after.found}:
                raise InstallFailedError(f"{cure.finding} is still there. {_undo_hint(prefix)}")
        after = patient.report()
        if not {finding.subject for finding in judge.errors(after)} & _IMPORTED:
            _import_all(after, prefix, python, engine, reporter)
    return after


def undo(patient: Patient, reporter: Reporter) -> list[str]:
    """Bring back the set of packages from before the last `mend`; return what was changed, as requirements.

    Raises:
        InstallRefusedError: nothing was mended here.
        InstallFailedError: a package cannot be had any more.
    """
    prefix, python = _changeable(patient.report())
    engine = Engine.find(RealSystem())
    path = prefix / STATE / SAVED
    try:
        before: list[str] = json.loads(path.read_text("utf-8"))["packages"]
    except (OSError, ValueError, KeyError):
        raise InstallRefusedError(f"{path} is not there, so nothing was mended here that could be undone.") from None
    with held(prefix / STATE):
        now = _frozen(python, engine)
        back = [line for line in before if line not in now]
        names = {_name(line) for line in before}
        extra = [_name(line) for line in now if _name(line) not in names]
        log = prefix / STATE / _LOG
        reporter.begin("undo")
        if extra:
            engine.run(["uv", "pip", "uninstall", "--python", python, *extra], reporter, log)
        if back:
            wanted = prefix / STATE / "undo.txt"
            write_text(wanted, "".join(f"{line}\n" for line in back))
            engine.run(
                ["uv", "pip", "install", "--python", python, "--no-deps", "--reinstall", "-r", str(wanted)],
                reporter, log,
            )  # fmt: skip
            wanted.unlink()
        path.unlink()
        reporter.end(f"{len(back)} brought back, {len(extra)} removed")
    return [*back, *(f"without {name}" for name in extra)]


def _changeable(report: Report) -> tuple[Path, str]:
    """Return the folder and the interpreter of an environment that may be changed.

    Raises:
        InstallRefusedError: it belongs to the operating system, or is not there.
    """
    value = report.snapshot.value
    prefix, python = value("python.prefix"), value("python.executable")
    if not prefix or not python:
        raise InstallRefusedError("No environment was found. Name one with --venv.")
    if value("python.externally_managed") is True:
        raise InstallRefusedError(
            f"{prefix} belongs to the operating system. Make an environment of its own: sgldoctor install"
        )
    return Path(str(prefix)), str(python)


def _apply(cure: Cure, report: Report, prefix: Path, python: str, engine: Engine, reporter: Reporter) -> None:
    torch = report.snapshot.value("package.torch")
    log = prefix / STATE / _LOG
    reporter.begin(f"{cure.finding}: {cure.text}")
    for words in cure.commands:
        command = list(words)
        if cure.keeps_torch and torch and "uninstall" not in words:
            pins = prefix / STATE / _CONSTRAINTS
            write_text(pins, f"torch=={torch}\n")
            command += ["--constraint", str(pins)]
        try:
            engine.run(command, reporter, log)
        except InstallFailedError as error:
            reporter.end("failed")
            raise InstallFailedError(f"{shlex.join(words)} failed.\n{error}\n{_undo_hint(prefix)}") from None
    reporter.end("done")
    now = [line for line in _frozen(python, engine) if _name(line) == "torch"]
    if cure.keeps_torch and torch and now != [f"torch=={torch}"]:
        raise InstallFailedError(f"torch was {torch} and is now {now}. {_undo_hint(prefix)}")


def _import_all(report: Report, prefix: Path, python: str, engine: Engine, reporter: Reporter) -> None:
    """Import what is installed, in one child process."""
    versions = {
        str(item["name"]): str(item["version"]).partition("+")[0] for item in report.snapshot.records("packages")
    }
    kernel = {"sgl-kernel", "sglang-kernel"} & versions.keys()
    asked = (("torch", "torch" in versions), ("flashinfer", "flashinfer-python" in versions), ("kernel", bool(kernel)))
    names = tuple(name for name, there in asked if there)
    if not names:
        return
    scratch = prefix / STATE / "scratch"
    reporter.begin("verify")
    try:
        reporter.end(judge.holds(python, names, versions, engine, scratch))
    except InstallFailedError as error:
        reporter.end("failed")
        raise InstallFailedError(f"{error}. {_undo_hint(prefix)}") from None
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _undo_hint(prefix: Path) -> str:
    return f"Take it back with: sgldoctor fix --undo --venv {prefix}"


def _save(prefix: Path, python: str, engine: Engine) -> None:
    document: dict[str, Any] = {"schema_version": 1, "packages": _frozen(python, engine)}
    write_text(prefix / STATE / SAVED, json.dumps(document, indent=1) + "\n")


def _frozen(python: str, engine: Engine) -> list[str]:
    done = engine.ask(["pip", "freeze", "--quiet", "--python", python])
    if done.code:
        raise InstallRefusedError(f"uv cannot list the packages of {python}: {' '.join(done.err.split())[-300:]}")
    return done.out.splitlines()


def _name(line: str) -> str:
    match = _PINNED.match(line)
    return canonicalize_name(match["name"]) if match else line
