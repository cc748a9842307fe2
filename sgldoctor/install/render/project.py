"""A plan as a uv project: pyproject.toml; `uv lock` writes its lock from it without a choice left."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from sgldoctor.install.plan import BUILD_CONSTRAINTS
from sgldoctor.install.render.common import head

if TYPE_CHECKING:
    from sgldoctor.install.plan import Environment, Plan, Step


def render(plan: Plan) -> str:
    """Return the text of pyproject.toml."""
    environment = plan.environments[0]
    target = dict(plan.target)
    python = str(target["python"])
    steps = environment.steps
    lines = [
        head(plan),
        "# Lock it with: uv lock    Install it with: uv sync --frozen\n",
        "[project]\n",
        f'name = "{environment.name}-environment"\n',
        'version = "0"\n',
        f'requires-python = "=={python}.*"\n',
        _list("dependencies", [line for step in steps for line in step.requirements]),
        "\n[tool.uv]\n",
        "package = false\n",
        'required-version = ">=0.12"\n',
        _list("environments", [f"sys_platform == 'linux' and platform_machine == '{target['arch']}'"]),
        _list("constraint-dependencies", list(environment.constraints)),
    ]
    lines.append(_list("build-constraint-dependencies", list(dict(environment.files()).get(BUILD_CONSTRAINTS, ()))))
    if environment.overrides:
        lines.append(_list("override-dependencies", list(environment.overrides)))
    if environment.prerelease and environment.locked:
        lines.append('prerelease = "allow"\n')
    sources: list[str] = []
    for step in steps:
        if step.index:
            lines.append(f'\n[[tool.uv.index]]\nname = "{step.name}"\nurl = "{step.index}"\nexplicit = true\n')
            sources += [f'{name} = {{ index = "{step.name}" }}\n' for name in _from_index(step, environment)]
    if sources:
        lines.append("\n[tool.uv.sources]\n" + "".join(sources))
    return "".join(lines)


def _from_index(step: Step, environment: Environment) -> list[str]:
    """Return what comes from a step's own index; uv takes nothing else from it.

    An index of kernels serves what the step labels. That of torch serves its companions too: all of its step, or, where
    they were resolved, all other packages with a label.
    """
    if step.name != "torch":
        return _with_label(step.requirements)
    if not environment.locked:
        return [row.partition("==")[0] for row in step.requirements]
    others = {name for other in environment.steps if other is not step for name in _with_label(other.requirements)}
    return [name for name in _with_label(environment.constraints) if name not in others]


def _with_label(rows: tuple[str, ...]) -> list[str]:
    return [row.partition("==")[0] for row in rows if "+" in row.partition("==")[2]]


def _list(key: str, rows: list[str]) -> str:
    return f"{key} = [\n" + "".join(f"  {json.dumps(row)},\n" for row in rows) + "]\n"
