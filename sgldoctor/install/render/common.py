"""What several formats share: the head of a file, and the images of CUDA."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sgldoctor import __version__
from sgldoctor.install.builds import default_cuda
from sgldoctor.install.plan import NOT_RESOLVED
from sgldoctor.install.render.text import headline
from sgldoctor.matrix import cuda_of_label
from sgldoctor.rules.knowledge import table

if TYPE_CHECKING:
    from sgldoctor.install.plan import Environment, Plan


IMAGE_GLIBC = "2.35"
"""Of Ubuntu 22.04, on which all images of cuda_images.yaml stand."""


def head(plan: Plan) -> str:
    """Return the comment at the top of a file: what it makes, what was assumed, what to know."""
    lines = [headline(plan), f"Made by sgldoctor {__version__}."]
    lines += [f"Assumed: {text}" for text in plan.assumptions]
    lines += [f"Note: {text}" for text in plan.notes]
    if not plan.asked():
        lines.append(f"{NOT_RESOLVED}the versions come from tables; the index was not asked.")
    return "".join(f"# {' '.join(line.split())}\n" for line in lines)


def cuda_of(environment: Environment) -> str:
    """Return the CUDA of the environment's image, or that its torch is built for, such as 12.8."""
    if environment.image_cuda:
        return environment.image_cuda
    step = environment.steps[0]
    torch = next((line for line in step.requirements if line.startswith("torch==")), "")
    _, _, label = torch.partition("+")
    return (
        cuda_of_label(label)
        if label.startswith("cu")
        else default_cuda(dict(environment.versions).get("torch", "")) or "12.8"
    )


def apt_packages(environments: list[Environment]) -> list[str]:
    """Return the Debian packages that an image needs: what is loaded and compiled with, and git where it is fetched."""
    found = {apt for environment in environments for apt, _, _ in environment.system_packages}
    steps = [step for environment in environments for step in environment.steps]
    from_git = any("git+" in row for step in steps for row in step.requirements)
    return sorted({*found, "git"} if from_git else found)


def base_image(cuda: str) -> str:
    """Return the tag of the CUDA image for a CUDA version: with a compiler, for what is compiled at first use."""
    images: dict[str, str] = {str(row["cuda"]): str(row["tag"]) for row in table("cuda_images.yaml")["images"]}
    major = cuda.partition(".")[0]
    fallback = max((key for key in images if key.partition(".")[0] == major), default=max(images))
    return f"nvidia/cuda:{images.get(cuda, images[fallback])}"
