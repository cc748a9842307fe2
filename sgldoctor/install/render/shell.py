"""A plan as a shell script: stops at the first failure, may be run again, says what it does."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

from sgldoctor.install.plan import create_command, install_command
from sgldoctor.install.render.common import head
from sgldoctor.install.verify import scripts

if TYPE_CHECKING:
    from sgldoctor.install.plan import Environment, Plan

OLDEST_UV = "0.12"
"""Before it uv takes no pre-releases of requirements, and installs an old sglang without a word."""
MARK = "SGLDOCTOR_END"

_UV = f"""
if ! command -v uv >/dev/null; then
    echo "uv is missing; install it with: pip install 'uv>={OLDEST_UV}'" >&2
    exit 3
fi
uv_version=$(uv --version | cut -d ' ' -f 2)
if [ "$(printf '%s\\n' "{OLDEST_UV}" "$uv_version" | sort -V | head -n 1)" != "{OLDEST_UV}" ]; then
    echo "uv $uv_version is too old; update it with: pip install --upgrade 'uv>={OLDEST_UV}'" >&2
    exit 3
fi
"""
_LINT = "# shellcheck disable=SC2016  # a dollar sign in a quoted folder is meant\n"
_LIBNUMA = """
case "$(ldconfig -p 2>/dev/null || true)" in
    *libnuma.so.1*) ;;
    *) echo "libnuma.so.1 is missing here: apt-get install -y libnuma1, or dnf install -y numactl-libs" >&2 ;;
esac
"""


def render(plan: Plan) -> str:
    """Return the script."""
    parts = ["#!/usr/bin/env bash\n", head(plan), _LINT, "set -euo pipefail\n"]
    if plan.installer == "uv":
        parts.append(_UV)
    if any(apt == "libnuma1" for environment in plan.environments for apt, _, _ in environment.system_packages):
        parts.append(_LIBNUMA)
    parts += [_environment(environment, plan.installer) for environment in plan.environments]
    return "".join(parts)


def here_document(text: str) -> str:
    """Return a here-document whose text the shell leaves alone."""
    return f"<<'{MARK}'\n{text if text.endswith(chr(10)) else text + chr(10)}{MARK}\n"


def _environment(environment: Environment, installer: str) -> str:
    python = shlex.quote(environment.interpreter())
    lines = [f"\n# {environment.name}\n"]
    lines.append(f"if [ ! -x {python} ]; then\n    {shlex.join(create_command(environment, installer))}\nfi\n")
    lines.append(f"mkdir -p {shlex.quote(environment.state('').rstrip('/'))}\n")
    for name, rows in environment.files():
        lines.append(f"cat >{shlex.quote(environment.state(name))} {here_document(chr(10).join(rows))}")
    for step in environment.steps:
        lines.append(f"\necho {shlex.quote(f'{environment.name}: {step.name}')}\n")
        lines.append(f"{shlex.join(install_command(environment, step, installer))}\n")
        lines.append(f"{python} - {here_document(scripts(step.verify, dict(environment.versions)))}")
    if environment.launch.command:
        variables = "".join(f"{name}={shlex.quote(value)} " for name, value in environment.launch.env)
        lines.append(f"\necho {shlex.quote(f'Start it with: {variables}{shlex.join(environment.launch.command)}')}\n")
    return "".join(lines)
