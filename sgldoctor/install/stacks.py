"""Stacks: sets of versions for a purpose, each one file of rules/stacks, with what is known to be true of it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from sgldoctor.errors import RulesError, UsageError, did_you_mean
from sgldoctor.install import planner, vllm
from sgldoctor.install.advice import refused
from sgldoctor.install.assemble import launch_for
from sgldoctor.install.plan import READY, Environment, Launch, Plan, Step
from sgldoctor.install.target import addition, named, release_wish
from sgldoctor.rules.conditions import specifier_of
from sgldoctor.rules.load import read_yaml, rules_folder

if TYPE_CHECKING:
    from pathlib import Path

    from sgldoctor.install.target import Target, Wish

ENGINES = ("sglang", "vllm", "packages")
LEVELS = ("report", "metadata", "execution")
_VISIBLE = "CUDA_VISIBLE_DEVICES"
_REQUIRED = ("id", "title", "environments", "references", "evidence")
# fmt: off
_KEYS = {
    "stack": {"id", "title", "target", "environments", "impossible", "notes", "dockerfile", "references", "evidence"},
    "target": {"gpu", "driver", "cuda", "python", "arch", "glibc"},
    "environment": {
        "name", "engine", "release", "extras", "additions", "override", "overrides", "requirements", "launch",
        "image_cuda", "requires_python",
    },
    "launch": {"flags", "command", "env", "env_of_one_gpu"},
    "impossible": {"wish", "because", "instead"},
    "evidence": {"level", "date"},
}
# fmt: on


@dataclass(frozen=True, slots=True)
class Part:
    """One environment of a stack, as its file says it."""

    name: str
    engine: str
    release: str | None = None
    extras: tuple[str, ...] = ()
    additions: tuple[str, ...] = ()
    override: bool = False
    overrides: tuple[str, ...] = ()
    requirements: tuple[str, ...] = ()
    flags: tuple[str, ...] = ()
    command: tuple[str, ...] = ()
    env: tuple[tuple[str, str], ...] = ()
    env_of_one_gpu: tuple[tuple[str, str], ...] = ()
    image_cuda: str | None = None
    requires_python: str = ""


@dataclass(frozen=True, slots=True)
class Stack:
    """One stack.

    Attributes:
        target: the machine that it is for; options of the command line take precedence.
        impossible: what people wish for and cannot have: wish, because, instead.
        dockerfile: a build from source, for who needs it; or None.
    """

    id: str
    title: str
    target: dict[str, str]
    parts: tuple[Part, ...]
    impossible: tuple[tuple[str, str, str], ...]
    notes: tuple[str, ...]
    dockerfile: str | None
    references: tuple[str, ...]
    level: str
    date: str


def load_stacks() -> tuple[Stack, ...]:
    """Return the shipped stacks, sorted by id.

    Raises:
        RulesError: a file holds errors; all of them are listed.
    """
    folder = rules_folder() / "stacks"
    errors: list[str] = []
    stacks = [found for path in sorted(folder.glob("*.yaml")) if (found := _read(path, errors))]
    if errors:
        raise RulesError(errors)
    return tuple(stacks)


def stack(name: str) -> Stack:
    """Return the stack of that id.

    Raises:
        UsageError: there is none.
    """
    known = {found.id: found for found in load_stacks()}
    if name not in known:
        hint = did_you_mean(name, list(known))
        raise UsageError(f"There is no stack {name!r}.{hint} List them with: sgldoctor rules stacks")
    return known[name]


def plan_for(found: Stack, target: Target, wish: Wish) -> Plan:
    """Return the plan of a stack, ready or refused by its first part that cannot be.

    Args:
        found: the stack.
        target: the machine, the stack's own merged in.
        wish: the folder and installer; its additions and extras go into the first environment.
    """
    single = len(found.parts) == 1
    plans = []
    for number, part in enumerate(_shared_out(found.parts, target.count)):
        asked = replace(
            wish,
            engine=part.engine,
            release=part.release,
            extras=(*part.extras, *(wish.extras if number == 0 else ())),
            additions=(*part.additions, *(wish.additions if number == 0 else ())),
            override=part.override or wish.override,
            venv=wish.venv if single else f"{wish.venv}-{part.name}",
        )
        plans.append(_part_plan(part, target, asked))
    if no := next((plan for plan in plans if plan.status != READY), None):
        return replace(no, stack=found.id)
    first = plans[0]
    assumed = [text for plan in plans for text in plan.assumptions]
    if not single and target.count is None:
        assumed.append("Number of GPUs not known: planned for two, one for each environment. With one give --gpu once.")
    facts = [f"{wished}: {because} {instead}" for wished, because, instead in found.impossible]
    return replace(
        first,
        environments=tuple(environment for plan in plans for environment in plan.environments),
        assumptions=tuple(dict.fromkeys(assumed)),
        rejected=(),
        notes=tuple(dict.fromkeys((*facts, *found.notes, *(text for plan in plans for text in plan.notes)))),
        stack=found.id,
    )


def _shared_out(parts: tuple[Part, ...], count: int | None) -> tuple[Part, ...]:
    """Return the parts with the GPUs that each sees: a single one all of them, of more the last one the rest."""
    if count == 1:
        return tuple(replace(part, env=part.env_of_one_gpu or part.env) for part in parts)
    *others, last = parts
    first = dict(last.env).get(_VISIBLE)
    if not others or not first or not count:
        return parts
    rest = ",".join(str(number) for number in range(int(first), count))
    env = tuple((name, rest if name == _VISIBLE else value) for name, value in last.env)
    return (*others, replace(last, env=env))


def _part_plan(part: Part, target: Target, wish: Wish) -> Plan:
    if wish.installer == "pip" and (wish.override or part.overrides):
        reason = f"The environment {part.name} replaces pins of other packages, which pip cannot."
        return refused(target, wish, reason, ("Leave out --installer pip.",))
    if part.engine == "packages":
        return _packages_plan(part, target, wish)
    plan = vllm.plan_for(target, wish) if part.engine == "vllm" else planner.plan_for(target, wish)
    if plan.status != READY:
        return plan
    environment = replace(plan.environments[0], name=part.name, image_cuda=part.image_cuda)
    if part.overrides:
        environment = _overridden(environment, part.overrides)
    if part.engine == "sglang":
        environment = replace(environment, launch=launch_for(wish.venv, part.flags, part.env))
    elif part.flags or part.env:
        command = (*environment.launch.command, *part.flags)
        environment = replace(environment, launch=Launch(command, part.env))
    return replace(plan, environments=(environment,))


def _packages_plan(part: Part, target: Target, wish: Wish) -> Plan:
    """Return the plan of an environment that holds no engine: requirements that uv resolves, torch first."""
    if not specifier_of(part.requires_python).contains(target.minor()):
        return refused(target, wish, f"The environment {part.name} asks for Python {part.requires_python}.", ())
    rows = [*part.requirements, *wish.additions]
    torch = tuple(row for row in rows if row.startswith("torch=="))
    versions = {row.partition("==")[0].partition("[")[0]: row.partition("==")[2] for row in rows if "==" in row}
    steps = [Step("torch", torch, ("torch",))] if torch else []
    rest = tuple(row for row in rows if row not in torch)
    verify = ("versions", "torch-unchanged") if torch else ("versions",)
    python = f"{wish.venv.rstrip('/')}/bin/python"
    environment = Environment(
        part.name,
        wish.venv,
        wish.interpreter or target.python or target.minor(),
        tuple(sorted(versions.items())),
        (*steps, Step("packages", rest, verify)),
        constraints=torch,
        launch=Launch((python, *part.command) if part.command else (), part.env),
    )
    return Plan(
        READY,
        resolved=False,
        reason=None,
        target=target.record(),
        environments=(environment,),
        installer=wish.installer,
    )


def _overridden(environment: Environment, overrides: tuple[str, ...]) -> Environment:
    """Return the environment with other versions than the release pins: in steps, versions and constraints alike."""
    exact = {row.partition("==")[0]: row.partition("==")[2] for row in overrides}

    def changed(row: str) -> str:
        name, _, version = row.partition("==")
        _, plus, label = version.partition("+")
        return f"{name}=={exact[name]}{plus}{label}" if name in exact else row

    return replace(
        environment,
        versions=tuple((name, exact.get(name, version)) for name, version in environment.versions),
        steps=tuple(
            replace(step, requirements=tuple(changed(row) for row in step.requirements)) for step in environment.steps
        ),
        constraints=tuple(changed(row) for row in environment.constraints),
        overrides=(*environment.overrides, *overrides),
    )


def _read(path: Path, errors: list[str]) -> Stack | None:
    row = read_yaml(path)
    wrong = list(_errors(row, path))
    errors += wrong
    if wrong:
        return None
    return Stack(
        row["id"],
        row["title"],
        {str(key): str(value) for key, value in row.get("target", {}).items()},
        tuple(_part(part) for part in row["environments"]),
        tuple((item["wish"], item["because"], item["instead"]) for item in row.get("impossible", ())),
        tuple(row.get("notes", ())),
        row.get("dockerfile"),
        tuple(row["references"]),
        row["evidence"]["level"],
        row["evidence"]["date"],
    )


def _part(row: dict[str, Any]) -> Part:
    launch = row.get("launch", {})
    return Part(
        row["name"],
        row.get("engine", "sglang"),
        release_wish(str(row["release"])) if "release" in row else None,
        tuple(row.get("extras", ())),
        tuple(addition(text) for text in row.get("additions", ())),
        bool(row.get("override", False)),
        tuple(row.get("overrides", ())),
        tuple(row.get("requirements", ())),
        tuple(str(word) for word in launch.get("flags", ())),
        tuple(str(word) for word in launch.get("command", ())),
        _variables(launch.get("env", {})),
        _variables(launch.get("env_of_one_gpu", {})),
        row.get("image_cuda"),
        str(row.get("requires_python", "")),
    )


def _variables(row: dict[str, Any]) -> tuple[tuple[str, str], ...]:
    return tuple((str(name), str(value)) for name, value in row.items())


def _errors(row: dict[str, Any], path: Path) -> list[str]:
    found = _unknown_keys(row, "stack")
    found += [
        f"{key} is missing" for key in ("id", "title", "environments", "references", "evidence") if key not in row
    ]
    if found:
        return [f"{path.name}: {text}" for text in found]
    if row["id"] != path.stem:
        found.append(f"id {row['id']!r} differs from the file's name")
    found += _unknown_keys(row.get("target", {}), "target") + _unknown_keys(row["evidence"], "evidence")
    if row["evidence"].get("level") not in LEVELS:
        found.append(f"evidence.level is none of {', '.join(LEVELS)}")
    for part in row["environments"]:
        found += _unknown_keys(part, "environment") + _unknown_keys(part.get("launch", {}), "launch")
        if part.get("engine", "sglang") not in ENGINES:
            found.append(f"engine {part['engine']!r} is none of {', '.join(ENGINES)}")
    for item in row.get("impossible", ()):
        found += _unknown_keys(item, "impossible")
    try:
        named_target(row.get("target", {}))
        for part in row["environments"]:
            _part(part)
    except (UsageError, KeyError) as error:
        found.append(str(error))
    return [f"{path.name}: {text}" for text in found]


def named_target(row: dict[str, str]) -> Target:
    """Return the machine that a stack names.

    Raises:
        UsageError: it names an unknown GPU, or no version.
    """
    return named(gpus=(row["gpu"],) if "gpu" in row else (), **{k: str(v) for k, v in row.items() if k != "gpu"})


def _unknown_keys(row: dict[str, Any], kind: str) -> list[str]:
    known = sorted(_KEYS[kind])
    return [f"unknown key {key!r} of {kind}.{did_you_mean(key, known)}" for key in row if key not in known]
