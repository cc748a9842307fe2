"""Asking every probe, each in its own thread with a time-out; what fails leaves its error as a fact."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sgldoctor.facts import CATALOGUE
from sgldoctor.probes import (
    binaries,
    container,
    deep,
    engine,
    gpu,
    host,
    knowledge,
    packages,
    ports,
    python,
    requirements,
    storage,
    toolchain,
    variables,
    wanted,
)  # fmt: skip
from sgldoctor.probes.packages import Environment
from sgldoctor.probes.target import Target, choose
from sgldoctor.snapshot import Facts, Known, Snapshot, Unknown

if TYPE_CHECKING:
    from collections.abc import Callable

    from sgldoctor.system import System

TIMEOUT = 20.0
"""Seconds that one probe may take; NVML on a machine without persistence mode needs several."""


@dataclass(frozen=True, slots=True)
class Scope:
    """What to look at: which environment, which ports, and whether the machine or the environment is left out."""

    python: str | None = None
    venv: str | None = None
    rooted: bool = False
    ports: tuple[tuple[int, str], ...] = ((30000, "server"),)
    environment: bool = True
    machine: bool = True
    requirements: tuple[str, ...] = ()
    python_version: str | None = None
    deep: bool = False


def observe(system: System, scope: Scope) -> Snapshot:
    """Return the facts about a machine and the environment chosen on it.

    Raises:
        TargetError: the environment that was asked for is missing, or is none.
    """
    target = choose(system, python=scope.python, venv=scope.venv, rooted=scope.rooted) if scope.environment else None
    tasks: dict[str, Callable[[], Facts]] = {"host": lambda: host.probe(system)}
    if scope.machine:
        tasks["gpu"] = lambda: gpu.probe(system)
        tasks["container"] = lambda: container.probe(system)
        tasks["ports"] = lambda: ports.probe(system, dict(scope.ports))
        tasks["storage"] = lambda: storage.probe(system, target.interpreter.prefix if target else None)
    if target and not scope.requirements:
        tasks["environment"] = lambda: _environment(system, target)
        tasks["knowledge"] = lambda: knowledge.probe(system)
        tasks["torch"] = lambda: engine.probe_torch(system, target.folders)
        tasks["toolchain"] = lambda: _toolchain(system, target)
        tasks["binaries"] = lambda: _binaries(system, target)
    tasks["variables"] = lambda: variables.probe(
        system, engine.folder_of(system, target.folders, "sglang") if target else None
    )
    facts = _run(tasks) if target else {**_left_out(), **_run(tasks)}
    if scope.requirements:
        reason = Unknown("not known before the installation")
        facts = {**dict.fromkeys((*_FACTS_OF["environment"], *_FACTS_OF["toolchain"]), reason), **facts}
        facts |= _wanted(system, scope, target)
    elif target and scope.deep:
        environment = Environment(system, target.folders)
        facts |= deep.probe(system, environment, target.interpreter.executable, target.folders)
    return Snapshot(facts)


def _left_out() -> Facts:
    """Return the facts by which rules about machine and environment together do not apply to the machine alone."""
    source = "the environment was left out by --only or --skip"
    return {"packages": Known([], source), **dict.fromkeys(_named("torch."), Known(None, source))}


def _wanted(system: System, scope: Scope, target: Target | None) -> Facts:
    """Return what requirements files would install, for the Python that was named or would be used."""
    facts: Facts = {}
    version = scope.python_version
    if target and not version:
        facts = python.probe(system, target.interpreter, target.folders)
        facts["python.chosen_because"] = Known(target.because, "the order of choice")
        version = target.interpreter.version or f"{target.interpreter.minor}.0"
    try:
        machine = system.uname()["machine"]
    except OSError:
        machine = None
    markers = requirements.marker_variables(version or "3.12.0", machine=machine)
    return facts | wanted.probe(system, scope.requirements, markers)


def _environment(system: System, target: Target) -> Facts:
    found = target.interpreter
    facts = python.probe(system, found, target.folders)
    facts["python.chosen_because"] = Known(target.because, "the order of choice")
    facts["python.others"] = Known(list(target.others), "the order of choice")
    environment = Environment(system, target.folders)
    source = ", ".join(target.folders) or found.prefix
    facts |= packages.probe(system, environment, source)
    facts |= engine.probe_kernel(system, environment, target.folders)
    facts |= engine.probe_wheel(system, environment)
    facts |= engine.probe_assertions(system, environment, target.folders)
    try:
        machine = system.uname()["machine"]
    except OSError:
        machine = None
    facts |= requirements.probe(environment, requirements.marker_environment(found, machine))
    return facts


def _binaries(system: System, target: Target) -> Facts:
    found = target.interpreter
    return binaries.probe(system, found.executable, target.folders, found.minor)


def _toolchain(system: System, target: Target) -> Facts:
    found = target.interpreter
    return toolchain.probe(system, target.folders, found.prefix, found.base_prefix, found.minor)


def _run(tasks: dict[str, Callable[[], Facts]]) -> Facts:
    """Run the tasks side by side; one that fails or hangs leaves its error as a fact, the others go on."""
    results: dict[str, Facts] = {}
    problems: dict[str, str] = {}

    def work(name: str, task: Callable[[], Facts]) -> None:
        try:
            results[name] = task()
        except OSError as error:
            problems[name] = error.strerror or str(error)
        except Exception as error:  # noqa: BLE001 - a fault of one probe is a fact; the others go on
            problems[name] = f"{type(error).__name__}: {error}"

    threads = [threading.Thread(target=work, args=item, name=item[0], daemon=True) for item in tasks.items()]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(TIMEOUT)
        if thread.is_alive():
            problems[thread.name] = f"it took longer than {TIMEOUT:g} s"
    facts: Facts = {}
    for name in tasks:
        facts |= results.get(name, {}) if name not in problems else {}
    for name, reason in problems.items():
        for fact in _FACTS_OF[name]:
            facts[fact] = Unknown(f"the {name} probe failed: {reason}")
    return facts


def _named(*prefixes: str) -> tuple[str, ...]:
    return tuple(s.name for s in CATALOGUE if s.name.startswith(prefixes) and not s.name.endswith("*"))


_FACTS_OF = {
    "knowledge": ("knowledge.days",),
    "host": _named("os.", "libc.", "cpu.arch", "memory.total", "proxy."),
    "gpu": _named("driver.", "gpu.", "gpus"),
    "container": _named("container.", "memory.limit", "cpu.limit", "shm.", "limits."),
    "ports": ("ports",),
    "storage": ("disks",),
    "environment": tuple(
        name
        for name in _named("python.", "packages", "requirements.unmet", "sglang.", "kernel.module")
        if name != "python.headers"  # the toolchain probe tells it
    ),
    "binaries": binaries.FACTS,
    "torch": ("torch.cuda", "torch.backend", "torch.cxx11_abi", "torch.libraries", "torch.targets"),
    "toolchain": _named("toolchain.", "python.headers"),
    "variables": _named("variables"),
}
