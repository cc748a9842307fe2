"""``sgldoctor explain``: the root cause of an error text or a log."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sgldoctor.errors import InputError, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sgldoctor.explain.model import Explanation
    from sgldoctor.explain.scan import Scan
    from sgldoctor.explain.source import Source

EPILOG = """\b
Examples:
  sgldoctor explain "undefined symbol: _ZN3c104cuda9SetDeviceEab"
  sgldoctor explain server.log                    also .gz, and several files of one server
  kubectl logs pod | sgldoctor explain -
  sgldoctor explain --follow server.log           tells as soon as something is wrong
  sgldoctor explain --venv /opt/venv server.log   confirmed by that environment, cures for it
  sgldoctor explain --telemetry server.log        throughput, cache hits and queue over time
  sgldoctor explain --format markdown server.log  for a bug report

\b
A word with / in it, or that ends in .log, .txt or .gz, is a path, unless it holds a space; --text takes all words
as text.

\b
Exit codes: 0 explained or harmless, 2 wrong usage, 3 the input cannot be read, 6 nothing is known about this text.
"""
_TARGET, _OUT = "Where it was seen", "Report"


class Format(str, Enum):
    """The formats of an explanation."""

    TEXT = "text"
    JSON = "json"
    MARKDOWN = "markdown"


def command(  # noqa: PLR0913 - one for each option
    words: Annotated[
        list[str] | None,
        typer.Argument(metavar="[TEXT|FILE|-]...", help="An error text, log files, or - for the standard input."),
    ] = None,
    *,
    as_text: Annotated[bool, typer.Option("--text", help="All words are text, none is a path.")] = False,
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Keep reading a log that grows; Ctrl-C ends it.")
    ] = False,
    telemetry: Annotated[
        bool, typer.Option("--telemetry", help="Sum up the server's Prefill batch and Decode batch lines.")
    ] = False,
    env: Annotated[
        bool,
        typer.Option(
            "--env",
            help="It happened here: confirm by this machine and the nearest environment.",
            rich_help_panel=_TARGET,
        ),
    ] = False,
    venv: Annotated[
        str | None, typer.Option(metavar="DIR", help="It happened in this environment.", rich_help_panel=_TARGET)
    ] = None,
    python: Annotated[
        str | None, typer.Option(metavar="PATH", help="It happened with this interpreter.", rich_help_panel=_TARGET)
    ] = None,
    from_: Annotated[
        str | None,
        typer.Option(
            "--from", metavar="PATH", help="A snapshot or recording of where it happened.", rich_help_panel=_TARGET
        ),
    ] = None,
    everything: Annotated[
        bool, typer.Option("--all", help="All that was recognised, in full.", rich_help_panel=_OUT)
    ] = False,
    format_: Annotated[
        Format, typer.Option("--format", help="Format of the report.", rich_help_panel=_OUT)
    ] = Format.TEXT,
    as_json: Annotated[bool, typer.Option("--json", help="Short for --format json.", rich_help_panel=_OUT)] = False,
    rules: Annotated[
        list[str] | None,
        typer.Option(metavar="PATH", help="Further rule files or folders. Repeatable.", rich_help_panel=_OUT),
    ] = None,
) -> None:
    """Say what an error text or a log means, why, and what to type. Offline.

    The cause stands before its consequences. What is harmless is called harmless, what is not known is not guessed.
    """
    from sgldoctor.cli.place import Place  # noqa: PLC0415 - keeps --help fast
    from sgldoctor.explain.source import sources  # noqa: PLC0415

    format_ = Format.JSON if as_json else format_
    inputs = sources(words or [], as_text=as_text, follow=follow)
    if not words and sys.stdin.isatty():
        raise UsageError('Nothing was given. Name a log, or a text: sgldoctor explain "CUDA out of memory"')
    if telemetry:
        from sgldoctor.cli.telemetry import sum_up  # noqa: PLC0415 - one use of many

        raise typer.Exit(sum_up(inputs, as_json=format_ is Format.JSON))
    from sgldoctor.explain.answer import Explainer  # noqa: PLC0415
    from sgldoctor.rules.book import open_book  # noqa: PLC0415

    place = Place(env=env, venv=venv, python=python, saved=from_)
    explainer = Explainer(open_book(tuple(Path(path) for path in rules or ())))
    scan = explainer.scan()
    told = ""
    broken = None
    try:
        for _ in _read(inputs, scan):
            if follow and (now := explainer.explain(scan, place.snapshot(scan))).first not in {"", told}:
                told = now.first
                _write(now, format_, everything=everything)
    except InputError as error:  # what could be read before is told before
        broken = error
    except KeyboardInterrupt:
        sys.stderr.write("sgldoctor: interrupted; this is what was seen until then.\n")
    explanation = explainer.explain(scan, place.snapshot(scan))
    if (not told or explanation.first != told) and (explanation.first or not broken):
        _write(explanation, format_, everything=everything)
    if broken:
        raise broken
    raise typer.Exit(int(explanation.exit_code))


def _read(inputs: list[Source], scan: Scan) -> Iterator[None]:
    """Judge the inputs block by block.

    Raises:
        InputError: one of them cannot be read.
    """
    for source in inputs:
        for block in source.blocks():
            scan.feed(block, source.name if len(inputs) > 1 else None)
            yield


def _write(explanation: Explanation, format_: Format, *, everything: bool) -> None:
    from sgldoctor import __version__  # noqa: PLC0415
    from sgldoctor.redact import Redactor  # noqa: PLC0415
    from sgldoctor.report import explanation as report  # noqa: PLC0415

    redactor = Redactor(os.environ)
    with suppress(BrokenPipeError):  # the reader left early; the answer stands
        if format_ is Format.TEXT:
            from sgldoctor.cli.terminal import show  # noqa: PLC0415

            show(lambda width: report.lines(explanation, redactor, width, everything=everything))
        elif format_ is Format.JSON:
            sys.stdout.write(report.as_json(explanation, redactor))
        else:
            sys.stdout.write(report.as_markdown(explanation, redactor, __version__))
        sys.stdout.flush()
