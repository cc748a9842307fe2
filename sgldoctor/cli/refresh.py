"""``sgldoctor rules refresh``: the tables anew from the package index."""

from __future__ import annotations

import os
import sys
import time
from contextlib import contextmanager
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sgldoctor.errors import ExitCode, UsageError, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from rich.progress import Task

    from sgldoctor.refresh.health import Resolver
    from sgldoctor.refresh.index import PackageIndex
    from sgldoctor.system import System

EPILOG = """\b
Examples:
  sgldoctor rules refresh                        everything
  sgldoctor rules refresh sglang                 releases and their pins alone
  sgldoctor rules refresh packages               torch, flashinfer, vllm and others: wheels, glibc, CUDA, pins
  sgldoctor rules refresh sources                flags, variables and start-up assertions of each release
  sgldoctor rules refresh kernels --cache DIR    read new wheels only

\b
What was read is kept in the cache folder, so that an interrupted run goes on. A run that would lose rows or change old
ones stops, shows them, and leaves the old table: exit code 1. 3: the index or uv does not answer.
"""


def refresh(
    parts: Annotated[
        list[str] | None, typer.Argument(metavar="[PART]...", help="sglang, packages, sources, kernels, health.")
    ] = None,
    *,
    index_url: Annotated[str | None, typer.Option(metavar="URL", help="Package index; default: pip's or uv's.")] = None,
    out: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Folder of the tables; default: the ones in use.")
    ] = None,
    cache: Annotated[Path | None, typer.Option(metavar="DIR", help="Folder for what was read.")] = None,
    accept: Annotated[bool, typer.Option("--accept-changes", help="Write even if old rows change.")] = False,
) -> int:
    """Write the tables of releases, packages, kernels and health anew from the package index. Uses the network."""
    from sgldoctor.refresh.index import PackageIndex, find_index  # noqa: PLC0415 - requests is heavy
    from sgldoctor.refresh.metadata import CONNECTIONS  # noqa: PLC0415
    from sgldoctor.refresh.tables import PARTS, Run  # noqa: PLC0415
    from sgldoctor.rules.load import rules_folder  # noqa: PLC0415
    from sgldoctor.system import RealSystem  # noqa: PLC0415

    for part in parts or ():
        if part not in PARTS:
            raise UsageError(f"There is no part {part!r}.{did_you_mean(part, list(PARTS))} Known: {', '.join(PARTS)}.")
    system = RealSystem()
    index = PackageIndex(index_url or find_index(system), CONNECTIONS, system.environ().get("PIP_CERT"))
    kept = cache or _cache_folder()
    run = Run(
        index=index,
        folder=out or rules_folder() / "knowledge",
        cache=kept,
        generated_at=datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ"),
        accept=accept,
        resolver=lambda: _resolver(system, kept / f"resolutions-{datetime.now(timezone.utc):%Y-%m-%d}", index_url),
    )
    for part in PARTS:
        if part in (parts or PARTS):
            began, before = time.monotonic(), index.read
            with _progress(part, index) as progress:
                paths = run.write(part, progress)
            for path in paths:
                typer.echo(f"wrote {path}")
            typer.echo(
                f"{part}: read {(index.read - before) / 1e6:.1f} MB in {time.monotonic() - began:.0f} s", err=True
            )
    return int(ExitCode.OK)


UPDATE_EPILOG = """\b
Examples:
  sgldoctor rules update                                 from the newest release of sgldoctor on the package index
  sgldoctor rules update knowledge.json.gz               from a file, with knowledge.json.gz.sha256 beside it
  sgldoctor rules update https://host/knowledge.json.gz --sha256 DIGEST

\b
Only tables are taken: no rule, no command, no code. Exit codes: 1 rows would be lost or changed, 2 no digest is known,
3 the file is not the announced one, or not as its schema says; then nothing is written.
"""


def update(
    source: Annotated[
        str | None, typer.Argument(metavar="[FILE|URL]", help="Default: the newest release on the package index.")
    ] = None,
    *,
    sha256: Annotated[
        str | None, typer.Option("--sha256", metavar="DIGEST", help="Of the file; default: what FILE.sha256 says.")
    ] = None,
    index_url: Annotated[str | None, typer.Option(metavar="URL", help="Package index; default: pip's or uv's.")] = None,
    out: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Folder of the tables; default: the ones in use.")
    ] = None,
    accept: Annotated[bool, typer.Option("--accept-changes", help="Take them even if old rows change.")] = False,
) -> int:
    """Take newer tables that somebody published, verified by digest and schema. Uses the network for URLs only."""
    from sgldoctor.refresh import publish  # noqa: PLC0415 - keeps --help fast
    from sgldoctor.refresh.index import PackageIndex, find_index  # noqa: PLC0415 - requests is heavy
    from sgldoctor.refresh.tables import take  # noqa: PLC0415
    from sgldoctor.rules.load import rules_folder  # noqa: PLC0415
    from sgldoctor.system import RealSystem  # noqa: PLC0415

    system = RealSystem()
    certificates = system.environ().get("PIP_CERT")
    if source is None:
        index = PackageIndex(index_url or find_index(system), 1, certificates)
        name, content, digest = publish.newest_release(index)
    elif publish.is_url(source):
        index, name = PackageIndex(source, 1, certificates), source.rpartition("/")[2]
        digest = publish.announced(sha256, sha256 or index.get(f"{source}.sha256").text, name)
        content = index.get(source).content
    else:
        name, beside = source, Path(f"{source}.sha256")
        try:
            digest = publish.announced(sha256, beside.read_text("utf-8") if beside.exists() else None, name)
            content = Path(source).read_bytes()
        except OSError as error:
            raise publish.KnowledgeError(f"{source} cannot be read: {error.strerror or error}.") from error
    taken = take(out or rules_folder() / "knowledge", publish.read(content, digest, name), accept=accept)
    for path in taken:
        typer.echo(f"wrote {path}")
    if not taken:
        typer.echo(f"Nothing in {name} is newer than what is here.")
    return int(ExitCode.OK)


def export(
    path: Annotated[Path, typer.Argument(metavar="FILE", help="Such as knowledge.json.gz.")],
    *,
    folder: Annotated[
        Path | None, typer.Option("--from", metavar="DIR", help="Folder of the tables; default: the ones in use.")
    ] = None,
) -> int:
    """Write all generated tables into one file to publish, and its digest into FILE.sha256."""
    from sgldoctor.refresh import publish  # noqa: PLC0415 - keeps --help fast
    from sgldoctor.rules.load import rules_folder  # noqa: PLC0415

    digest = publish.export(folder or rules_folder() / "knowledge", path)
    typer.echo(f"wrote {path}\nSHA-256 {digest}")
    return int(ExitCode.OK)


def _cache_folder() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "sgldoctor"


def _resolver(system: System, cache: Path, index_url: str | None) -> Resolver:
    """Return uv, from beside this Python or from PATH.

    Raises:
        UsageError: there is no uv.
    """
    from sgldoctor.refresh.health import Resolver  # noqa: PLC0415 - keeps --help fast

    beside = Path(sys.executable).parent / "uv"
    uv = str(beside) if beside.exists() else system.which("uv")
    if uv is None:
        raise UsageError("Resolving needs uv, which is not on PATH. Install it with: pip install uv")
    return Resolver(system, uv, cache, index_url)


@contextmanager
def _progress(part: str, index: PackageIndex) -> Iterator[Callable[[int, int], None]]:
    """Show how much was read, and how many of how many resolutions are done, where a person is watching."""
    from rich.console import Console  # noqa: PLC0415 - keeps --help fast
    from rich.progress import BarColumn, Progress, ProgressColumn, TextColumn, TimeElapsedColumn  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    class Read(ProgressColumn):
        def render(self, task: Task) -> Text:
            done = f"{task.completed:.0f} of {task.total:.0f}, " if task.total else ""
            return Text(f"{done}{index.read / 1e6:.1f} MB")

    columns = (TextColumn("{task.description}"), BarColumn(), Read(), TimeElapsedColumn())
    console = Console(stderr=True)
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as shown:
        task = shown.add_task(part, total=None)
        yield lambda done, total: shown.update(task, completed=done, total=total)
