"""``sgldoctor install``: planned, and honest about it."""

from __future__ import annotations

import typer

from sgldoctor.errors import ExitCode

_TEXT = """\
sgldoctor {version} cannot plan an installation yet. By hand, into a fresh environment:

  uv venv .venv-sglang --python 3.12
  uv pip install --python .venv-sglang/bin/python --prerelease=allow sglang

then judge it:

  sgldoctor check --venv .venv-sglang
"""


def command() -> None:
    """Say how to install SGLang by hand; this version makes no plans of its own yet."""
    from sgldoctor import __version__  # noqa: PLC0415 - a constant of the package

    typer.echo(_TEXT.format(version=__version__), nl=False)
    raise typer.Exit(int(ExitCode.FINDINGS))
