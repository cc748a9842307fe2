"""A plan as a Dockerfile: CUDA's devel image with its patch level, a plain user, cache mounts, a health check."""

from __future__ import annotations

import json
import shlex
from dataclasses import replace
from typing import TYPE_CHECKING

from sgldoctor.install.plan import STATE, create_command, install_command
from sgldoctor.install.render.common import apt_packages, base_image, cuda_of, head
from sgldoctor.install.render.shell import here_document
from sgldoctor.install.verify import scripts
from sgldoctor.rules.knowledge import newest_cuda, table

if TYPE_CHECKING:
    from sgldoctor.install.plan import Environment, Plan

_USER = "sglang"
_UID = 10001
_CACHE = "--mount=type=cache,target=/root/.cache/uv,sharing=locked"

_COMPATIBLE = """\
# Driver {driver} states an older CUDA than this image, so that its start may be refused, and the image's libraries for
# that (compat) do not run on consumer GPUs. Programs of the same CUDA major run with this driver all the same.
ENV NVIDIA_DISABLE_REQUIRE=1

"""


def render(plan: Plan) -> str:
    """Return the Dockerfile; uv installs, whatever the plan's installer."""
    python = str(dict(plan.target)["python"])
    environments = [moved(environment, python) for environment in plan.environments]
    first = environments[0]
    packages = apt_packages(environments)
    image = base_image(max((cuda_of(each) for each in environments), key=_number))
    driver = dict(plan.target)["driver"]
    ahead = _ahead_of(driver, image)
    parts = [
        "# syntax=docker/dockerfile:1\n",
        "# hadolint global ignore=DL3059\n",  # a layer per step, so that a failing one does not undo those before it
        head(plan),
        f"FROM {image}\n\n",
        _COMPATIBLE.format(driver=driver) if ahead else "",
        'SHELL ["/bin/bash", "-o", "pipefail", "-c"]\n\n',
        "# hadolint ignore=DL3008\n",
        "RUN apt-get update \\\n",
        f"    && apt-get install -y --no-install-recommends ca-certificates curl {' '.join(packages)} \\\n",
        f"    && rm -rf /var/lib/apt/lists/*{' /usr/local/cuda*/compat' if ahead else ''}\n\n",
        f"COPY --from={table('cuda_images.yaml')['uv']['image']} /uv /usr/local/bin/uv\n",
        "ENV UV_LINK_MODE=copy UV_PYTHON_INSTALL_DIR=/opt/python\n",
        *(_environment(environment) for environment in environments),
        f"RUN useradd --create-home --shell /bin/bash --uid {_UID} {_USER}\n",
        f"USER {_UID}\n",
        f"WORKDIR /home/{_USER}\n",
        f'ENV PATH="{first.venv}/bin:${{PATH}}"\n',
        *_serving(first),
    ]
    return "".join(parts)


def moved(environment: Environment, python: str) -> Environment:
    """Return the environment in its place inside an image, on a Python that uv brings."""
    venv = f"/opt/{environment.name}"
    old = environment.interpreter()
    command = tuple(f"{venv}/bin/python" if word == old else word for word in environment.launch.command)
    launch = replace(environment.launch, command=command)
    return replace(environment, venv=venv, python=python, launch=launch)


def _environment(environment: Environment) -> str:
    lines = [f"\n# {environment.name}\n", f"RUN {shlex.join(create_command(environment))}\n"]
    for name, rows in environment.files():
        marker, _, text = here_document("\n".join(rows)).partition("\n")
        lines.append(f"COPY {marker} {environment.venv}/{STATE}/{name}\n{text}\n")
    for step in environment.steps:
        words = [shlex.quote(word) for word in install_command(environment, step)]
        lines.append(f"RUN {_CACHE} \\\n    {' '.join(words)}\n")
    checks = tuple(dict.fromkeys(name for step in environment.steps for name in step.verify))
    lines.append(f"RUN {environment.interpreter()} - {here_document(scripts(checks, dict(environment.versions)))}\n")
    return "".join(lines)


def _serving(environment: Environment) -> list[str]:
    command = list(environment.launch.command)
    if not command:
        return []
    port = command[command.index("--port") + 1] if "--port" in command else "30000"
    if "--host" not in command:
        command += ["--host", "0.0.0.0"]  # noqa: S104 - inside a container
    variables = [f"ENV {name}={shlex.quote(value)}\n" for name, value in environment.launch.env]
    return [
        *variables,
        f"EXPOSE {port}\n",
        "HEALTHCHECK --interval=30s --timeout=10s --start-period=15m --retries=3 \\\n",
        f"    CMD {json.dumps(['curl', '--fail', '--silent', '--show-error', f'http://127.0.0.1:{port}/health'])}\n",
        f"CMD {json.dumps(command)}\n",
    ]


def _ahead_of(driver: str | None, image: str) -> bool:
    """Return whether an image asks for a newer CUDA than a driver states, of the same major."""
    states = newest_cuda(driver) if driver else None
    if states is None:
        return False
    have, wants = _number(states), [int(part) for part in image.partition(":")[2].split(".")[:2]]
    return have[0] == wants[0] and have < wants


def _number(cuda: str) -> list[int]:
    return [int(part) for part in cuda.split(".")]
