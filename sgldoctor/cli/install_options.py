"""What the options of ``sgldoctor install`` may be, and which go together."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import Any

from sgldoctor.errors import UsageError


class Format(str, Enum):
    """How a plan is written down."""

    TEXT = "text"
    SHELL = "shell"
    DOCKERFILE = "dockerfile"
    REQUIREMENTS = "requirements"
    UV = "uv"
    MODAL = "modal"
    JSON = "json"


class Engine(str, Enum):
    """What shall serve."""

    SGLANG = "sglang"
    VLLM = "vllm"


class Installer(str, Enum):
    """Whose commands the plan shows."""

    UV = "uv"
    PIP = "pip"


def written_as(output: Format | None, *, as_json: bool, write_to: str | None, acts: bool) -> Format:
    """Return how the plan is written down.

    Raises:
        UsageError: two ways are named, or one where nothing is written.
    """
    if as_json and output not in {None, Format.JSON}:
        raise UsageError("--json and --format name two ways to write the plan. Give one of them.")
    form = Format.JSON if as_json else output or Format.TEXT
    if acts and (write_to or form not in {Format.TEXT, Format.JSON}):
        raise UsageError("--execute and --download write no plan. Leave out --output and --format, or name json.")
    if write_to and form is Format.TEXT:
        raise UsageError("--output needs --format: shell, dockerfile, requirements, uv, modal or json.")
    if write_to and form is not Format.UV and (write_to.endswith("/") or Path(write_to).is_dir()):
        raise UsageError(f"--output {write_to} is a folder. Name a file in it.")
    return form


def folder(venv: str) -> str:
    """Return the environment's folder as commands can name it.

    Raises:
        UsageError: there can be none.
    """
    if not venv.strip() or not venv.strip("/"):
        raise UsageError(f"--venv {venv!r} cannot be an environment. Name a folder such as .venv-sglang.")
    return f"./{venv}" if venv.startswith("-") else venv


def refuse_contradictions(given: dict[str, Any], sources: dict[str, str | None]) -> None:
    """Raise where options contradict each other.

    Raises:
        UsageError: what is stored names all that shall be installed, and a stack its releases.
    """
    named = [option for option, value in given.items() if value]
    stored = [option for option, value in sources.items() if value]
    if len(stored) > 1:
        raise UsageError("--from and --wheelhouse each name what to install. Give one of them.")
    if stored and named:
        raise UsageError(f"{stored[0]} names what to install and for which machine. Leave out {', '.join(named)}.")
    if given["--stack"] and (more := [option for option in ("--sglang", "--engine") if given[option]]):
        raise UsageError(f"--stack names the releases. Leave out {', '.join(more)}.")
