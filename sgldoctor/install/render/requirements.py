"""A plan as a requirements file that pip and uv read: every version exact, with the hashes of its files."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sgldoctor.install.render.common import head

if TYPE_CHECKING:
    from sgldoctor.install.plan import Plan


def render(plan: Plan) -> str:
    """Return the file; a resolved one is complete, so that nothing beside it needs to be resolved."""
    environment = plan.environments[0]
    indexes = dict.fromkeys(step.index for step in environment.steps if step.index)
    extra = "".join(f"--extra-index-url {index}\n" for index in indexes)
    if environment.locked:
        usage = (
            "# Install it whole:          pip install --no-deps --require-hashes -r FILE\n"
            "# Or keep others within it:  pip install --constraint FILE ...\n"
        )
        if environment.builds_flashinfer():
            torch = dict(environment.versions).get("torch")
            usage += (
                "# flashinfer-python is built when installed. Let it see this torch: "
                f"echo torch=={torch} > build.txt, then\n"
                "# uv pip install --build-constraints build.txt ..., or PIP_CONSTRAINT=build.txt pip install ...\n"
            )
        return f"{head(plan)}{usage}{extra}{environment.locked}"
    rows = [line for step in environment.steps for line in step.requirements]
    named = {line.partition("==")[0].partition("[")[0] for line in rows}
    rows += [line for line in environment.constraints if line.partition("==")[0] not in named]
    return f"{head(plan)}{extra}" + "".join(f"{line}\n" for line in rows)
