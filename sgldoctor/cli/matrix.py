"""``sgldoctor matrix`` and ``sgldoctor release``: what can work where, before anything is installed."""

from __future__ import annotations

import platform
import re
import sys
from enum import Enum
from functools import partial
from typing import TYPE_CHECKING, Annotated

import typer

from sgldoctor.errors import ExitCode, UsageError, did_you_mean

if TYPE_CHECKING:
    from sgldoctor.matrix import Target

EPILOG = """\b
Examples:
  sgldoctor matrix --gpu A40 --driver 535               the newest release that works there, and why not the others
  sgldoctor matrix --gpu GH200 --python 3.11 --json
  sgldoctor matrix --gpu "RTX 5090" --glibc 2.31        Ubuntu 20.04
  sgldoctor matrix --format html > matrix.html          releases against Python and GPU generations, to share

\b
Exit codes: 0 a release works there, 1 none does, 2 wrong usage, 3 the tables cannot be read.
"""
RELEASE_EPILOG = """\b
Examples:
  sgldoctor release 0.5.9                pins, CUDA, kernels, GPUs, and whether it still resolves
  sgldoctor release 0.5.9 --json
"""
_VERSION = re.compile(r"^\d+(?:\.\d+){0,2}$")
_PYTHON = re.compile(r"^3\.\d{1,2}$")
_PAGE = (("T4", "x86_64"), ("A40", "x86_64"), ("L4", "x86_64"), ("H100", "x86_64"), ("B200", "x86_64"),
         ("RTX 5090", "x86_64"), ("GH200", "aarch64"), ("GB10", "aarch64"))  # fmt: skip


class Format(str, Enum):
    """The formats of the matrix."""

    TEXT = "text"
    JSON = "json"
    HTML = "html"


def command(
    *,
    gpu: Annotated[str | None, typer.Option(metavar="NAME", help="Such as A40; see sgldoctor rules gpus.")] = None,
    driver: Annotated[str | None, typer.Option(metavar="VERSION", help="NVIDIA driver, such as 535.")] = None,
    python: Annotated[str, typer.Option(metavar="3.Y", help="Python.")] = "3.12",
    glibc: Annotated[str | None, typer.Option(metavar="2.Y", help="C library; Ubuntu 20.04 has 2.31.")] = None,
    arch: Annotated[str | None, typer.Option(metavar="CPU", help="x86_64 or aarch64; the GPU may tell.")] = None,
    output: Annotated[Format, typer.Option("--format", help="How to print it.")] = Format.TEXT,
    as_json: Annotated[bool, typer.Option("--json", help="Short for --format json.")] = False,
) -> int:
    """Show which sglang releases can work on a machine, and why not the others. From tables, nothing is installed."""
    from sgldoctor import matrix  # noqa: PLC0415 - keeps --help fast
    from sgldoctor.cli.terminal import show  # noqa: PLC0415
    from sgldoctor.report import matrix as report  # noqa: PLC0415
    from sgldoctor.rules import knowledge  # noqa: PLC0415

    if output is Format.HTML and not as_json:
        columns = [f"{name}, Python {version}" for name, _ in _PAGE for version in ("3.10", "3.12")]
        targets = [
            matrix.Target(version, cpu, knowledge.gpu(name)) for name, cpu in _PAGE for version in ("3.10", "3.12")
        ]
        rows = [[matrix.judge(release, target) for target in targets] for release in matrix.releases()]
        sys.stdout.write(report.as_html("SGLang releases", columns, rows, knowledge.age("health.json")))
        return int(ExitCode.OK)
    target = _target(gpu, driver, python, glibc, arch)
    cells = [matrix.judge(release, target) for release in matrix.releases()]
    newest = matrix.newest_that_works(target)
    if as_json or output is Format.JSON:
        sys.stdout.write(report.as_json(cells, newest, target, knowledge.age("health.json")))
    else:
        show(lambda width: report.lines(cells, newest, target, width, knowledge.age("health.json")))
    return int(ExitCode.OK if newest else ExitCode.FINDINGS)


def _target(gpu: str | None, driver: str | None, python: str, glibc: str | None, arch: str | None) -> Target:
    """Return the machine that the options name.

    Raises:
        UsageError: one of them is none.
    """
    from sgldoctor.matrix import Target  # noqa: PLC0415 - keeps --help fast
    from sgldoctor.rules import knowledge  # noqa: PLC0415

    if not _PYTHON.match(python):
        raise UsageError(f"{python!r} is no Python version. Name one such as 3.12.")
    for option, value in (("--driver", driver), ("--glibc", glibc)):
        if value is not None and not _VERSION.match(value):
            raise UsageError(f"{value!r} is no version for {option}. Name one such as 535.183 or 2.31.")
    model = knowledge.gpu(gpu) if gpu else None
    known = knowledge.CPU_ARCHITECTURES
    if arch:
        machine = knowledge.cpu_architecture(arch)
    else:
        bound = model.cpu if model else None
        machine = next((cpu for cpu in (bound, platform.machine()) if cpu in known), "x86_64")
    return Target(python, machine, model, driver, glibc)


def release(
    version: Annotated[str, typer.Argument(metavar="VERSION", help="An sglang release, such as 0.5.9.")],
    *,
    as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
) -> int:
    """Show one sglang release: pins, CUDA, kernels, GPUs, Python, and whether it still resolves."""
    from sgldoctor.cli.terminal import show  # noqa: PLC0415 - keeps --help fast
    from sgldoctor.report import release as report  # noqa: PLC0415
    from sgldoctor.rules.knowledge import table  # noqa: PLC0415

    known = table("sglang.json")["releases"]
    name = version.removeprefix("v").removeprefix("sglang==")
    if name not in known:
        raise UsageError(f"No sglang release {version!r} is known.{did_you_mean(name, list(known))}")
    if as_json:
        sys.stdout.write(report.as_json(name))
    else:
        show(partial(report.lines, name))
    return int(ExitCode.OK)
