"""A plan as a uv project: pyproject.toml; `uv lock` writes its lock from it without a choice left."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from sgldoctor.install.plan import BUILD_CONSTRAINTS
from sgldoctor.install.render.common import head

if TYPE_CHECKING:
    from sgldoctor.install.plan import Plan


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
            labelled = [line.partition("==")[0] for line in step.requirements if "+" in line]
            sources += [f'{name} = {{ index = "{step.name}" }}\n' for name in labelled]
    if sources:
        lines.append("\n[tool.uv.sources]\n" + "".join(sources))
    return "".join(lines)


def _list(key: str, rows: list[str]) -> str:
    return f"{key} = [\n" + "".join(f"  {json.dumps(row)},\n" for row in rows) + "]\n"
