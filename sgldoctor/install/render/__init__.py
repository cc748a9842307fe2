"""A plan in the words of others: a text, a shell script, a Dockerfile, requirements, a uv project, a Modal image."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sgldoctor.errors import UsageError
from sgldoctor.install.plan import to_json
from sgldoctor.install.render import dockerfile, modal, project, requirements, shell

if TYPE_CHECKING:
    from collections.abc import Callable

    from sgldoctor.install.plan import Plan

FORMATS: dict[str, Callable[[Plan], str]] = {
    "shell": shell.render,
    "dockerfile": dockerfile.render,
    "requirements": requirements.render,
    "uv": project.render,
    "modal": modal.render,
    "json": to_json,
}


def render(plan: Plan, form: str) -> str:
    """Return a ready plan in a format.

    Raises:
        UsageError: the format cannot hold this plan.
    """
    if len(plan.environments) > 1 and form in {"requirements", "uv", "modal"}:
        raise UsageError(
            f"This plan has {len(plan.environments)} environments, which --format {form} cannot hold. "
            "Take --format shell or dockerfile."
        )
    return FORMATS[form](plan)
