"""A plan as a text for people: the answer first, then how, then what was assumed."""

from __future__ import annotations

import shlex
import textwrap
from typing import TYPE_CHECKING

from sgldoctor.install.plan import DONE, FAILED, READY, REFUSED, create_command

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sgldoctor.install.plan import Environment, Plan

_MAIN = ("torch", "flashinfer-python", "sglang-kernel", "sgl-kernel", "transformers")


def headline(plan: Plan) -> str:
    """Return the answer in a sentence."""
    if plan.status in {REFUSED, FAILED}:
        return f"{plan.status.capitalize()}: {plan.reason}"
    what = " and ".join(_engine(environment) for environment in plan.environments)
    target = dict(plan.target)
    where = " and ".join(target["gpus"]) or "any GPU"
    certain = "Done" if plan.status == DONE else "Ready" if plan.resolved else "Ready, not resolved"
    return f"{certain}: {what} for {where}, Python {target['python']}, {target['arch']}."


def lines(plan: Plan, width: int, *, advice: bool = True) -> Iterator[tuple[str, str]]:
    """Yield the lines of the plan, each with its style; with advice what can be done with it."""
    ready = plan.status in {READY, DONE}
    yield from ((line, "bold" if ready else "bold red") for line in _wrapped(headline(plan), width))
    for environment in plan.environments:
        yield from _environment(environment, plan, width)
    yield from _listed("Assumed", plan.assumptions, width, "yellow")
    yield from _listed("Why not newer", [f"{row.release}: {row.reason}" for row in plan.rejected], width, "")
    yield from _listed("To know" if ready else "What would help", plan.notes, width, "")
    if plan.status == READY and not plan.asked():
        yield from _listed(
            "Not resolved", ["The versions come from the tables; the index was not asked."], width, "yellow"
        )
    if ready and advice:
        yield "", ""
        text = (
            "Carry it out: the same command with --execute. As a script with every constraint: --format shell; "
            "or dockerfile, requirements, uv, modal."
        )
        yield from ((line, "dim") for line in _wrapped(text, width))


def outcome(plan: Plan, width: int) -> Iterator[tuple[str, str]]:
    """Yield the lines about an execution that is over: how to start what was made, or why it failed."""
    if plan.status != DONE:
        yield from ((line, "bold red") for line in headline(plan).splitlines())  # an installer's words stay as they are
        return
    yield from ((line, "bold") for line in _wrapped(headline(plan), width))
    for environment in plan.environments:
        yield f"  {environment.name} in {environment.venv}; what was done: {environment.state('record.json')}", ""
        yield from _start(environment)


def _start(environment: Environment) -> Iterator[tuple[str, str]]:
    if environment.launch.command:
        variables = "".join(f"{name}={shlex.quote(value)} " for name, value in environment.launch.env)
        yield f"  then: {variables}{shlex.join(environment.launch.command)}", ""


def _environment(environment: Environment, plan: Plan, width: int) -> Iterator[tuple[str, str]]:
    versions = dict(environment.versions)
    yield "", ""
    yield f"{environment.name} in {environment.venv}", "bold"
    shown = ", ".join(f"{name} {versions[name]}" for name in _MAIN if name in versions)
    count = len(environment.constraints)
    more = f"; {count} packages in all, each exact" if environment.locked else ""
    yield from ((f"  {line}", "") for line in _wrapped(f"{shown}{more}", width - 2))
    if environment.system_packages:
        names = ", ".join(f"{apt} ({dnf} on RHEL): {why}" for apt, dnf, why in environment.system_packages)
        yield from ((f"  {line}", "") for line in _wrapped(f"system packages: {names}", width - 2))
    held = "the whole set" if environment.locked else "the versions above"
    yield from (
        (f"  {line}", "") for line in _wrapped(f"in this order, each step held to {held}, and verified:", width)
    )
    yield f"    {shlex.join(create_command(environment, plan.installer))}", "cyan"
    for step in environment.steps:
        index = ["--index" if plan.installer == "uv" else "--extra-index-url", step.index] if step.index else []
        words = [*(["uv"] if plan.installer == "uv" else []), "pip", "install", *index, *step.requirements]
        yield f"    {shlex.join(words)}", "cyan"
    yield from _start(environment)


def _engine(environment: Environment) -> str:
    versions = dict(environment.versions)
    engine = next((name for name in ("sglang", "vllm") if name in versions), None)
    head = f"{engine} {versions[engine]}" if engine else environment.name
    return f"{head} with torch {versions['torch']}" if "torch" in versions else head


def _listed(title: str, items: tuple[str, ...] | list[str], width: int, style: str) -> Iterator[tuple[str, str]]:
    if not items:
        return
    yield "", ""
    yield f"{title}:", "bold"
    for item in items:
        for number, line in enumerate(_wrapped(item, width - 4)):
            yield f"{'  - ' if number == 0 else '    '}{line}", style


def _wrapped(text: str, width: int) -> list[str]:
    return textwrap.wrap(text, max(width, 40), break_long_words=False, break_on_hyphens=False) or [""]
