"""A plan as the definition of a Modal image, and a function that serves from it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sgldoctor.install.render.common import apt_packages, base_image, cuda_of, head

if TYPE_CHECKING:
    from sgldoctor.install.plan import Environment, Plan

_NAMES = {
    "NVIDIA T4": "T4",
    "NVIDIA L4": "L4",
    "NVIDIA L40S": "L40S",
    "NVIDIA A10": "A10",
    "NVIDIA A10G": "A10",
    "NVIDIA A100 40GB": "A100-40GB",
    "NVIDIA A100 80GB": "A100-80GB",
    "NVIDIA H100 80GB HBM3": "H100",
    "NVIDIA H100 PCIe": "H100",
    "NVIDIA H100 NVL": "H100",
    "NVIDIA H200": "H200",
    "NVIDIA H200 NVL": "H200",
    "NVIDIA B200": "B200",
    "NVIDIA RTX PRO 6000 Blackwell Workstation Edition": "RTX-PRO-6000",
    "NVIDIA RTX PRO 6000 Blackwell Max-Q Workstation Edition": "RTX-PRO-6000",
    "NVIDIA RTX PRO 6000 Blackwell Server Edition": "RTX-PRO-6000",
}
"""The models of gpus.yaml by Modal's names: modal.com/docs/guide/gpu, read on 2026-11-21."""
_BUILD = "/build-constraints.txt"


def render(plan: Plan) -> str:
    """Return the Python file."""
    environment = plan.environments[0]
    target = dict(plan.target)
    model = str(target["gpu"] or "")
    gpu = f", gpu={_NAMES[model]!r}" if model in _NAMES else ""
    missing = f"# Modal has no {model}; name a GPU that it has, as in gpu='L40S'.\n" if model and not gpu else ""
    image = base_image(cuda_of(environment))
    apt = sorted({"g++", *apt_packages([environment])})
    return "".join(
        [
            head(plan),
            "import subprocess\n\nimport modal\n\n",
            _packages(environment),
            "\nimage = (\n",
            f"    modal.Image.from_registry({image!r}, add_python={str(target['python'])!r})\n",
            "    .entrypoint([])\n",
            f"    .apt_install({', '.join(repr(package) for package in apt)})\n",
            *_installs(environment),
            ")\n",
            f'app = modal.App("{environment.name}", image=image)\n\n\n',
            f"{missing}@app.function(timeout=3600{gpu})\n",
            _serve(environment),
        ]
    )


def _packages(environment: Environment) -> str:
    """Return the whole set, where it was resolved: installed without a resolver, it is the plan's, byte for byte."""
    if not environment.locked:
        return ""
    lines = environment.locked.splitlines()
    rows = [line.removesuffix("\\").strip() for line in lines if line and not line[0].isspace()]
    return "PACKAGES = [\n" + "".join(f"    {row!r},\n" for row in rows) + "]\n"


def _installs(environment: Environment) -> list[str]:
    torch = dict(environment.versions).get("torch")
    build = ["--build-constraints", _BUILD] if environment.builds_flashinfer() and torch else []
    found = [f"    .run_commands(\"echo 'torch=={torch}' > {_BUILD}\")\n"] if build else []
    if environment.locked:
        indexes = dict.fromkeys(step.index for step in environment.steps if step.index)
        options = ["--no-deps", *(word for index in indexes for word in ("--index", index))]
        options += ["--index-strategy", "unsafe-best-match"] if indexes else []
        return [*found, f"    .uv_pip_install(*PACKAGES, extra_options={' '.join([*options, *build])!r})\n"]
    for step in environment.steps:
        words = ", ".join(repr(line) for line in step.requirements)
        index = (
            f", extra_index_url={step.index!r}, extra_options='--index-strategy unsafe-best-match'"
            if step.index
            else ""
        )
        found.append(f"    .uv_pip_install({words}{index})\n")
    return found


def _serve(environment: Environment) -> str:
    command = ["python", *environment.launch.command[1:], "--host", "0.0.0.0"]  # noqa: S104 - inside a container
    port = command[command.index("--port") + 1] if "--port" in command else "30000"
    variables = "".join(f"    os.environ[{name!r}] = {value!r}\n" for name, value in environment.launch.env)
    start = f"    import os\n\n{variables}" if variables else ""
    return (
        f"@modal.web_server(port={port}, startup_timeout=1800)\n"
        f"def serve():\n{start}    subprocess.Popen({command!r})\n"
    )
