"""A plan: which environments, which versions, in which steps; pure data, to JSON and back."""

from __future__ import annotations

import json
import re
import shlex
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from packaging.version import Version

if TYPE_CHECKING:
    from collections.abc import Iterable

SCHEMA_VERSION = 1
READY, REFUSED, DONE, FAILED = "ready", "refused", "done", "failed"

NOT_RESOLVED = "Not resolved: "
"""What begins the note about an index that was asked for a set and did not answer."""
STATE = ".sgldoctor"
"""The folder inside an environment where its constraints, its overrides and the state of an execution lie."""
CONSTRAINTS = "constraints.txt"
OVERRIDES = "overrides.txt"
MADE_FOR = "made-for"
"""What `check` reads, so that an environment for vLLM is not blamed for having no sglang."""
BUILD_CONSTRAINTS = "build-constraints.txt"
"""What a package is built with where the index has only its source: flashinfer-python before 0.5.0 asks for any torch
to be built with, and writes that torch into its requirements."""


_FLASHINFER_WHEELS = Version("0.5.0")
"""The first flashinfer-python that the package index has as a wheel."""


@dataclass(frozen=True, slots=True)
class Step:
    """One call of the installer, and what must hold after it.

    Attributes:
        name: torch, flashinfer, sglang, vllm or packages.
        requirements: exact, as the installer takes them; with a local label where the plan needs one.
        index: the wheel index that this step needs beside the configured one, or None.
        verify: names of the checks after it: torch, torch-unchanged, flashinfer, kernel, sglang, vllm, versions.
    """

    name: str
    requirements: tuple[str, ...]
    verify: tuple[str, ...]
    index: str | None = None


@dataclass(frozen=True, slots=True)
class Launch:
    """How to start the engine: the command's words and the variables it wants."""

    command: tuple[str, ...] = ()
    env: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Environment:
    """One virtual environment.

    Attributes:
        name: sglang, vllm, trainer or server.
        venv: its folder, as the user named it.
        python: a version such as 3.12, or the path of an interpreter.
        versions: canonical distribution names and public versions, of the packages that decide.
        steps: in their order.
        constraints: the whole resolved set as ``name==version`` lines, or only what the tables know.
        overrides: requirements that replace those of other packages; only where the user asked for them.
        locked: the whole resolved set with hashes, as uv prints it, or empty where nothing was resolved.
        system_packages: what the host needs: (apt name, dnf name, why).
        prerelease: whether its packages include pre-releases.
        image_cuda: the CUDA of the image to build on, or None: that of its torch.
        launch: how to start it.
    """

    name: str
    venv: str
    python: str
    versions: tuple[tuple[str, str], ...]
    steps: tuple[Step, ...]
    constraints: tuple[str, ...] = ()
    overrides: tuple[str, ...] = ()
    locked: str = ""
    system_packages: tuple[tuple[str, str, str], ...] = ()
    prerelease: bool = False
    launch: Launch = Launch()
    image_cuda: str | None = None

    def interpreter(self) -> str:
        """Return the path of the environment's own Python."""
        return f"{self.venv.rstrip('/')}/bin/python"

    def moved(self, venv: str) -> Environment:
        """Return the environment in another folder, with the commands that name it."""
        old, new = self.venv.rstrip("/"), venv.rstrip("/")
        words = (f"{new}{word[len(old) :]}" if word.startswith(f"{old}/") else word for word in self.launch.command)
        return replace(self, venv=venv, launch=replace(self.launch, command=tuple(words)))

    def made_for(self) -> str:
        """Return what the environment serves: sglang, vllm, or packages alone."""
        return next((name for name in ("sglang", "vllm") if name in dict(self.versions)), "packages")

    def files(self) -> list[tuple[str, tuple[str, ...]]]:
        """Return what lies in the state folder before the first step: name and lines."""
        torch = dict(self.versions).get("torch")
        found = [
            (CONSTRAINTS, self.constraints),
            (OVERRIDES, self.overrides),
            (BUILD_CONSTRAINTS, (f"torch=={torch}",) if torch else ()),
            (MADE_FOR, (self.made_for(),)),
        ]
        return [(name, rows) for name, rows in found if rows]

    def builds_flashinfer(self) -> bool:
        """Return whether the index has only the source of its flashinfer, so that it is built when installed."""
        found = dict(self.versions).get("flashinfer-python")
        return found is not None and Version(found) < _FLASHINFER_WHEELS

    def state(self, name: str) -> str:
        """Return the path of a file in the state folder."""
        return f"{self.venv.rstrip('/')}/{STATE}/{name}"


@dataclass(frozen=True, slots=True)
class Rejected:
    """A release that the plan does not take, and why."""

    release: str
    reason: str


@dataclass(frozen=True, slots=True)
class Plan:
    """What will be installed, or why nothing can be.

    Attributes:
        status: ready or refused; done or failed after an execution.
        resolved: whether the installer has resolved every environment.
        reason: why it was refused or failed, or None.
        target: the machine as planned for: plain values, for JSON.
        environments: one, or two where one cannot hold everything.
        assumptions: what was neither given nor found, and what it changes.
        rejected: the newer releases nearest to the chosen one, newest first.
        nearest: where it was refused, the nearest release that works there, or None.
        notes: what else the user should know.
        installer: uv or pip.
        stack: the id of the stack that it follows, or None.
    """

    status: str
    resolved: bool
    reason: str | None
    target: tuple[tuple[str, Any], ...]
    environments: tuple[Environment, ...] = ()
    assumptions: tuple[str, ...] = ()
    rejected: tuple[Rejected, ...] = ()
    nearest: str | None = None
    notes: tuple[str, ...] = ()
    installer: str = "uv"
    stack: str | None = None

    def asked(self) -> bool:
        """Return whether the index was asked for the set, also where it did not answer."""
        return self.resolved or any(note.startswith(NOT_RESOLVED) for note in self.notes)


def moved(plan: Plan, venvs: Iterable[str]) -> Plan:
    """Return the plan with its environments in other folders, in their order; its notes name those too."""
    environments = tuple(each.moved(venv) for each, venv in zip(plan.environments, venvs, strict=True))
    notes = plan.notes
    for old, new in zip(plan.environments, environments, strict=True):
        was, now = (f"{each.venv.rstrip('/')}/bin/" for each in (old, new))
        notes = tuple(re.sub(rf"(?<!\S){re.escape(was)}", now.replace("\\", r"\\"), note) for note in notes)
    return replace(plan, environments=environments, notes=notes)


def create_command(environment: Environment, installer: str = "uv") -> list[str]:
    """Return the command that makes the empty environment."""
    if installer == "pip":
        python = environment.python if "/" in environment.python else f"python{environment.python}"
        return [python, "-m", "venv", environment.venv]
    return ["uv", "venv", "--python", environment.python, environment.venv]


def install_command(environment: Environment, step: Step, installer: str = "uv") -> list[str]:
    """Return the command of a step; the environment's files lie in the state folder before it runs.

    pip knows no overrides; a plan with overrides is never made for it. Its builds see the whole set of constraints.
    """
    place = environment.steps.index(step) if step in environment.steps else 0
    indexes = dict.fromkeys(each.index for each in (*environment.steps[:place], step) if each.index)
    if installer == "pip":
        return [*_pip(environment), *_words("--extra-index-url", indexes), *step.requirements]
    command = ["uv", "pip", "install", "--python", environment.interpreter()]
    options = {CONSTRAINTS: "--constraint", OVERRIDES: "--override", BUILD_CONSTRAINTS: "--build-constraints"}
    for name, _ in environment.files():
        command += [options[name], environment.state(name)] if name in options else []
    if environment.prerelease and environment.locked:
        command.append("--prerelease=allow")
    if indexes:
        command += [*_words("--index", indexes), "--index-strategy", "unsafe-best-match"]
    return [*command, *step.requirements]


def _pip(environment: Environment) -> list[str]:
    """Return pip's command; what it builds heeds variables only, in pip 25.3 and newer the second one.

    pip splits these variables at spaces, so that in a folder with spaces it is run from there.
    """
    options = ["-m", "pip", "install", *(["--pre"] if environment.prerelease and environment.locked else [])]
    if not environment.constraints:
        return [environment.interpreter(), *options]
    folder: list[str] = []
    if any(letter.isspace() for letter in environment.venv):
        folder, environment = [f"--chdir={environment.venv}"], replace(environment, venv=".")
    path = environment.state(CONSTRAINTS)
    variables = [f"PIP_CONSTRAINT={path}", f"PIP_BUILD_CONSTRAINT={path}"]
    return ["env", *folder, *variables, environment.interpreter(), *options]


def _words(option: str, values: Iterable[str]) -> list[str]:
    return [word for value in values for word in (option, value)]


def as_record(plan: Plan) -> dict[str, Any]:
    """Return the plan for JSON, by the contract; the first environment also stands at the top level."""
    environments = [_environment(environment, plan.installer) for environment in plan.environments]
    first = environments[0] if environments else {"python": None, "versions": {}, "steps": []}
    return {
        "schema_version": SCHEMA_VERSION,
        "status": plan.status,
        "resolved": plan.resolved,
        "reason": plan.reason,
        "target": dict(plan.target),
        "environments": environments,
        "python": first["python"],
        "versions": first["versions"],
        "steps": first["steps"],
        "assumptions": list(plan.assumptions),
        "why_not_newer": [{"release": row.release, "reason": row.reason} for row in plan.rejected],
        "nearest": plan.nearest,
        "notes": list(plan.notes),
        "installer": plan.installer,
        "stack": plan.stack,
    }


def to_json(plan: Plan) -> str:
    """Return the plan as JSON text that ends with a newline."""
    return json.dumps(as_record(plan), indent=2, sort_keys=True, ensure_ascii=False) + "\n"


def from_record(record: dict[str, Any]) -> Plan:
    """Return the plan that `as_record` wrote.

    Raises:
        KeyError, TypeError, ValueError: it is no plan.
    """
    return Plan(
        record["status"],
        record["resolved"],
        record["reason"],
        tuple(record["target"].items()),
        tuple(_read_environment(row) for row in record["environments"]),
        tuple(record["assumptions"]),
        tuple(Rejected(row["release"], row["reason"]) for row in record["why_not_newer"]),
        record["nearest"],
        tuple(record["notes"]),
        record["installer"],
        record["stack"],
    )


def _environment(environment: Environment, installer: str) -> dict[str, Any]:
    return {
        "name": environment.name,
        "venv": environment.venv,
        "python": environment.python,
        "versions": dict(environment.versions),
        "steps": [
            {
                "name": step.name,
                "requirements": list(step.requirements),
                "index": step.index,
                "command": shlex.join(install_command(environment, step, installer)),
                "verify": list(step.verify),
            }
            for step in environment.steps
        ],
        "constraints": list(environment.constraints),
        "overrides": list(environment.overrides),
        "locked": environment.locked,
        "system_packages": [{"apt": apt, "dnf": dnf, "why": why} for apt, dnf, why in environment.system_packages],
        "prerelease": environment.prerelease,
        "image_cuda": environment.image_cuda,
        "launch": {"command": shlex.join(environment.launch.command), "env": dict(environment.launch.env)},
    }


def _read_environment(row: dict[str, Any]) -> Environment:
    return Environment(
        row["name"],
        row["venv"],
        row["python"],
        tuple(row["versions"].items()),
        tuple(
            Step(step["name"], tuple(step["requirements"]), tuple(step["verify"]), step["index"])
            for step in row["steps"]
        ),
        tuple(row["constraints"]),
        tuple(row["overrides"]),
        row["locked"],
        tuple((package["apt"], package["dnf"], package["why"]) for package in row["system_packages"]),
        row["prerelease"],
        Launch(tuple(shlex.split(row["launch"]["command"])), tuple(row["launch"]["env"].items())),
        row["image_cuda"],
    )
