"""Taking the snapshot that a command asks for: from this machine, a file, a recording or a requirements file."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from sgldoctor.api import load_snapshot, save_snapshot
from sgldoctor.errors import SnapshotError, TargetError, UsageError
from sgldoctor.redact import Redactor
from sgldoctor.report.redacted import redacted_snapshot
from sgldoctor.simulate import Machine, simulate
from sgldoctor.snapshot import Snapshot
from sgldoctor.system import RealSystem, RecordedSystem, RecordingSystem, System

if TYPE_CHECKING:
    from sgldoctor.probes.run import Scope


@dataclass(frozen=True, slots=True)
class Sources:
    """Where the facts come from and where they are kept."""

    venv: str | None = None
    python: str | None = None
    root: str | None = None
    requirements: tuple[str, ...] = ()
    saved: str | None = None
    deep: bool = False
    ports: tuple[tuple[int, str], ...] = ()
    machine: bool = True
    environment: bool = True
    record: str | None = None
    save: str | None = None

    def refuse_contradictions(self) -> None:
        """Raise where two options exclude each other.

        Raises:
            UsageError: naming both.
        """
        given = {
            "--venv": self.venv, "--python": self.python, "--root": self.root, "--from": self.saved,
            "--requirement": self.requirements, "--deep": self.deep, "--record": self.record,
        }  # fmt: skip
        for name, value in {**given, "--save": self.save}.items():
            if value in {"", ("",)}:
                raise UsageError(f"{name} takes a path; an empty one was given. Is a variable unset?")
        used = [name for name, value in given.items() if value]
        for first, second in (
            ("--venv", "--python"), ("--from", "--venv"), ("--from", "--python"), ("--from", "--root"),
            ("--from", "--deep"), ("--root", "--deep"), ("--from", "--requirement"),
            ("--requirement", "--deep"), ("--requirement", "--venv"),
        ):  # fmt: skip
            if first in used and second in used:
                raise UsageError(f"{first} and {second} exclude each other. Leave one of them out.")


def take(sources: Sources, machine: Machine) -> tuple[Snapshot, Redactor]:
    """Return the snapshot to judge and the redactor for its report.

    Raises:
        TargetError: the environment or image is missing, or is none.
        SnapshotError: the saved snapshot or recording cannot be read.
        UsageError: the simulated machine is none.
        OutputError: ``--save`` or ``--record`` cannot be written.
    """
    if sources.saved and Path(sources.saved).is_file():
        snapshot, redactor = load_snapshot(sources.saved), Redactor()
    else:
        snapshot, redactor = _observe(sources, machine)
    snapshot = simulate(snapshot, machine)
    if sources.save:
        save_snapshot(redacted_snapshot(snapshot, redactor), sources.save)
    return snapshot, redactor


def _observe(sources: Sources, machine: Machine) -> tuple[Snapshot, Redactor]:
    from sgldoctor.probes.run import Scope, observe  # noqa: PLC0415 - a saved snapshot needs no probe

    if sources.root and not Path(sources.root).is_dir():
        raise TargetError(f"{sources.root} is no folder. Name the folder that an image was unpacked into.")
    recorded = RecordedSystem(sources.saved) if sources.saved else None
    inner: System = recorded or RealSystem(sources.root)
    system = RecordingSystem(inner) if sources.record else inner
    try:
        redactor = Redactor(system.environ())
    except OSError:
        redactor = Redactor()
    scope = Scope(
        python=sources.python, venv=sources.venv, rooted=sources.root is not None, ports=sources.ports,
        requirements=sources.requirements, deep=sources.deep, python_version=machine.python_version,
    )  # fmt: skip
    if recorded and recorded.scope:
        scope = _scope_of(recorded)
    if sources.environment and not scope.environment:
        raise SnapshotError(f"{sources.saved} holds a machine without an environment. Judge it with: --only machine")
    scope = replace(scope, environment=sources.environment, machine=sources.machine and scope.machine)
    snapshot = observe(system, scope)
    if isinstance(system, RecordingSystem) and sources.record:
        system.save(sources.record, redactor, asdict(scope))
    return snapshot, redactor


def _scope_of(recorded: RecordedSystem) -> Scope:
    """Return what was looked at when a recording was made.

    Raises:
        SnapshotError: the recording does not say it in the words of this version.
    """
    from sgldoctor.probes.run import Scope  # noqa: PLC0415 - only a recording has one

    told = recorded.scope
    try:
        ports = tuple((int(port), str(use)) for port, use in told["ports"])
        return Scope(**{**told, "ports": ports, "requirements": tuple(told["requirements"])})
    except (KeyError, TypeError, ValueError):
        raise SnapshotError(
            "The recording does not say what was looked at. Make a new one with: sgldoctor check --record DIR"
        ) from None
