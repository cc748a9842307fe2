"""``sgldoctor inspect``: what a library, a wheel or a release holds and asks for."""

from __future__ import annotations

import platform
import sys
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Annotated

import typer

from sgldoctor import __version__
from sgldoctor.errors import ExitCode, TargetError, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sgldoctor.inspection.describe import Library
    from sgldoctor.inspection.sources import Found
    from sgldoctor.rules.knowledge import GpuModel

EPILOG = """\b
Examples:
  sgldoctor inspect sgl-kernel==0.3.21 --gpu "RTX 5090"     before it is installed: is there code for my GPU
  sgldoctor inspect .venv/lib/python3.12/site-packages      every extension module: what is missing, what fits
  sgldoctor inspect sgl_kernel/common_ops.abi3.so --json    one file
  sgldoctor inspect some.whl --member "common_ops*"         one library of a wheel

\b
Exit codes: 0 fine; 1 no code for a GPU that was asked for, or a single library that misses something;
2 wrong usage; 3 the target cannot be read.
"""


def command(
    target: Annotated[str, typer.Argument(help="A shared library, a wheel, a folder, or NAME==VERSION.")],
    *,
    gpu: Annotated[
        list[str] | None, typer.Option("--gpu", metavar="NAME", help="Does it run there; repeatable.")
    ] = None,
    member: Annotated[str | None, typer.Option(metavar="PATTERN", help="Only libraries whose name matches.")] = None,
    arch: Annotated[
        str | None, typer.Option(metavar="CPU", help="Wheel for x86_64 or aarch64; default: this CPU's.")
    ] = None,
    index_url: Annotated[str | None, typer.Option(metavar="URL", help="Package index; default: pip's or uv's.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
) -> int:
    """Say what a library needs, which torch it fits, which GPUs it holds code for. Nothing is loaded or installed."""
    from sgldoctor.cli.terminal import show  # noqa: PLC0415 - keeps --help fast
    from sgldoctor.inspection.sources import Request, find  # noqa: PLC0415
    from sgldoctor.report import inspection  # noqa: PLC0415
    from sgldoctor.rules import knowledge  # noqa: PLC0415

    models = [knowledge.gpu(name) for name in gpu or ()]
    machine = knowledge.cpu_architecture(arch or platform.machine())
    source, found = find(Request(target, member, machine, index_url))
    libraries: list[Library] = []
    alone = False
    if not as_json and source != target.rpartition("/")[2]:
        typer.echo(source, err=True)
    for item in found:
        with _progress(item.name):
            library = _described(item)
        libraries.append(library)
        alone = library.file == source
        if not as_json and (member or alone or not library.is_plain) and not (alone and library.problem):
            show(partial(inspection.lines, library, models))
    if not libraries and member:
        raise UsageError(f"{source} holds no shared library whose name matches {member!r}.")
    if len(libraries) == 1 and libraries[0].problem and libraries[0].file == source:
        raise TargetError(f"{target} is no shared library that can be read: {libraries[0].problem}.")
    if as_json:
        sys.stdout.write(inspection.as_json(source, libraries, models, __version__))
    elif not member and not alone and (plain := sum(library.is_plain for library in libraries)):
        typer.echo(f"{plain} more hold no GPU code, ask nothing of torch or CUDA, and miss nothing.", err=True)
    alone = len(libraries) == 1  # a folder holds variants for other torches and CPUs, of which one loads
    ailing = any(_ails(library, models, alone=alone) for library in libraries)
    return int(ExitCode.FINDINGS if ailing else ExitCode.OK)


@contextmanager
def _progress(name: str) -> Iterator[None]:
    """Show on a terminal which library is being read: one on the index takes seconds."""
    if not sys.stderr.isatty():
        yield
        return
    from rich.console import Console  # noqa: PLC0415 - keeps --help fast

    with Console(stderr=True, highlight=False, markup=False).status(f"reading {name}"):
        yield


def _described(item: Found) -> Library:
    """Return what is to be said of one library; what cannot be read is said of it too."""
    from dataclasses import replace  # noqa: PLC0415 - keeps --help fast

    from sgldoctor.inspection.describe import Library, describe  # noqa: PLC0415
    from sgldoctor.inspection.environment import loaded  # noqa: PLC0415

    try:
        library = describe(item.name, item.read())
        if item.path is None or library.problem:
            return library
        outcome = loaded(item.path)
    except OSError as error:
        return Library(item.name, problem=error.strerror or str(error))
    if outcome is None:
        return library
    failures, where = outcome
    resolved = None if failures else tuple((name, where[name]) for name in library.needed if name in where)
    return replace(library, missing=tuple(failure.name for failure in failures), resolved=resolved)


def _ails(library: Library, models: list[GpuModel], *, alone: bool) -> bool:
    """Return whether a library that was asked for misses something, or holds no code for a GPU that was asked for."""
    from sgldoctor.gpu_code import any_runs  # noqa: PLC0415 - keeps --help fast
    from sgldoctor.rules.knowledge import serves_some_gpus  # noqa: PLC0415

    code = list(library.gpu_code)
    judged = code and not serves_some_gpus(library.file)
    return (alone and bool(library.problem or library.missing)) or any(
        judged and any_runs(code, model.capability) is not True for model in models
    )
