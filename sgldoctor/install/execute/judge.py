"""Whether an environment is what the plan says: a child process after each step, the whole check at the end."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sgldoctor.api import check, observe
from sgldoctor.install.execute.errors import InstallFailedError
from sgldoctor.install.verify import SAID, scripts
from sgldoctor.report.model import Status
from sgldoctor.rules.model import ENVIRONMENT_SUBJECTS, Severity
from sgldoctor.simulate import Machine, simulate
from sgldoctor.system.children import Child

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from sgldoctor.install.execute.engine import Engine
    from sgldoctor.install.plan import Environment, Plan, Step
    from sgldoctor.report.model import Finding, Report

_LIBNUMA = "kernel-needs-libnuma"
_SYSTEM_INSTALLERS = ("apt-get", "dnf", "zypper")
TIMEOUT = 600.0
"""Seconds for the imports of one step; a cold import of torch from a network disk takes a minute."""


def verify(environment: Environment, step: Step, engine: Engine, scratch: Path) -> str:
    """Return what the environment says of itself after a step.

    Args:
        environment: where it is.
        step: names what must hold.
        engine: knows the variables of a child process.
        scratch: a folder for what the imports want to write; it is the child's home.

    Raises:
        InstallFailedError: something does not hold.
    """
    try:
        return holds(environment.interpreter(), step.verify, dict(environment.versions), engine, scratch)
    except InstallFailedError as error:
        raise InstallFailedError(f"after {step.name}: {error}") from None


def holds(python: str, names: tuple[str, ...], versions: dict[str, str], engine: Engine, scratch: Path) -> str:
    """Return what an interpreter says when it is asked, in one child process, whether checks hold.

    Raises:
        InstallFailedError: one does not.
    """
    lines: list[str] = []
    scratch.mkdir(exist_ok=True)
    # tvm_ffi, which flashinfer imports, compiles a bridge to torch at its first import: half a minute, not needed here.
    home = {
        "TVM_FFI_DISABLE_TORCH_C_DLPACK": "1", "HOME": str(scratch), "XDG_CACHE_HOME": str(scratch),
        "FLASHINFER_WORKSPACE_BASE": str(scratch),
    }  # fmt: skip
    command = [python, "-I", "-B", "-W", "ignore", "-c", scripts(names, versions)]
    child = Child(command, env={**engine.environment, **home})
    code = child.wait(lines.append, TIMEOUT)
    said = [line for line in lines if line.strip()]
    if child.timed_out:
        raise InstallFailedError(f"the imports took longer than {TIMEOUT / 60:g} minutes")
    if code:
        raise InstallFailedError(said[-1] if said else f"the check ended with {code}")
    return "; ".join(line.removeprefix(SAID) for line in said if line.startswith(SAID))


def judged(environment: Environment, plan: Plan, subjects: Iterable[str] = ENVIRONMENT_SUBJECTS) -> Report:
    """Return what `sgldoctor check` says about an environment on the plan's machine, for some subjects."""
    wanted = frozenset(subjects)
    snapshot = simulate(observe(venv=environment.venv), machine_of(plan))
    return check(snapshot, keep=lambda problem: problem.subject in wanted)


def errors(report: Report) -> list[Finding]:
    """Return the errors that were found, roots first."""
    return [
        finding for finding in report.found if finding.severity is Severity.ERROR and finding.status is Status.FOUND
    ]


def refuse_errors(report: Report) -> list[str]:
    """Raise where a check found an error of the environment; return what the host alone lacks.

    Raises:
        InstallFailedError: naming each.
    """
    found = [(_lacking(each), f"{each.message} [{each.id}]") for each in errors(report)]
    if own := [f"  {text}" for lacking, text in found if not lacking]:
        raise InstallFailedError("\n".join(["check finds:", *own]))
    return [f"This machine lacks something that the environment needs: {text}" for _, text in found]


def _lacking(finding: Finding) -> bool:
    """Return whether system packages mend it, so that it says nothing about the environment."""
    commands = [fix.command.split()[0] for fix in finding.fixes if fix.command]
    return finding.id == _LIBNUMA or commands[:1] in [[name] for name in _SYSTEM_INSTALLERS]


def machine_of(plan: Plan) -> Machine:
    """Return the machine that a plan is for."""
    target = dict(plan.target)
    gpus = target.get("gpus") or target.get("gpu") or ()
    names = (gpus,) if isinstance(gpus, str) else tuple(str(name) for name in gpus)
    return Machine(names, target.get("driver"), None, target.get("glibc"), target.get("arch"))
