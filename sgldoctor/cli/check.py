"""``sgldoctor check``: what is wrong with this machine and this environment."""

from __future__ import annotations

import sys
from contextlib import suppress
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sgldoctor.errors import UsageError, did_you_mean
from sgldoctor.rules.model import ENVIRONMENT_SUBJECTS, MACHINE_SUBJECTS, SUBJECTS, Severity

if TYPE_CHECKING:
    from collections.abc import Callable

    from sgldoctor.redact import Redactor
    from sgldoctor.report.model import Report
    from sgldoctor.rules.model import Problem
    from sgldoctor.snapshot import Snapshot

EPILOG = """\b
Examples:
  sgldoctor check                                 this machine, the nearest environment
  sgldoctor check --venv /opt/venv --port 30000   that environment; is the port free
  sgldoctor check --gpu A40 --driver 550.90       as if on that machine
  sgldoctor check -r requirements.txt --gpu L4    before anything is installed
  sgldoctor check --json --fail-on warning        for CI

\b
Exit codes: 0 fine, 1 findings, 2 wrong usage, 3 the doctor could not do its job,
4 an error rule could not be judged and --strict was given.
"""


class Format(str, Enum):
    """The formats of a report."""

    TEXT = "text"
    JSON = "json"
    JUNIT = "junit"
    SARIF = "sarif"
    GITHUB = "github"
    MARKDOWN = "markdown"


class FailOn(str, Enum):
    """The least severity that makes the exit code 1."""

    ERROR = "error"
    WARNING = "warning"
    INFO = "info"
    NEVER = "never"


_TARGET = "The environment"
_OTHER = "Another machine"
_OUT = "The report"


def command(  # noqa: PLR0913 - every option of the command stands here
    *,
    venv: Annotated[
        str | None,
        typer.Option(metavar="DIR", help="Folder of the environment to examine.", rich_help_panel=_TARGET),
    ] = None,
    python: Annotated[
        str | None,
        typer.Option(metavar="PATH", help="Interpreter of the environment to examine.", rich_help_panel=_TARGET),
    ] = None,
    root: Annotated[
        str | None,
        typer.Option(
            metavar="DIR",
            help="Judge an unpacked image below DIR; nothing in it is run.",
            rich_help_panel=_TARGET,
        ),
    ] = None,
    requirement: Annotated[
        list[str] | None,
        typer.Option(
            "--requirement",
            "-r",
            metavar="FILE",
            help="Judge a requirements file before anything is installed. Repeatable.",
            rich_help_panel=_TARGET,
        ),
    ] = None,
    from_: Annotated[
        str | None,
        typer.Option(
            "--from",
            metavar="PATH",
            help="Judge a snapshot file or a recording folder taken elsewhere.",
            rich_help_panel=_TARGET,
        ),
    ] = None,
    deep: Annotated[
        bool,
        typer.Option(
            "--deep",
            help="Also import torch, flashinfer, sgl_kernel and sglang in child processes.",
            rich_help_panel=_TARGET,
        ),
    ] = False,
    port: Annotated[
        list[int] | None,
        typer.Option(
            "--port",
            min=1,
            max=65535,
            metavar="N",
            help="Port that the server will listen on. Repeatable; default 30000.",
            rich_help_panel=_TARGET,
        ),
    ] = None,
    dist_init_port: Annotated[
        int | None,
        typer.Option(min=1, max=65535, metavar="N", help="Port of --dist-init-addr.", rich_help_panel=_TARGET),
    ] = None,
    metrics_port: Annotated[
        int | None,
        typer.Option(min=1, max=65535, metavar="N", help="Port of the metrics server.", rich_help_panel=_TARGET),
    ] = None,
    gpu: Annotated[
        list[str] | None,
        typer.Option(
            "--gpu",
            metavar="NAME",
            help="Judge for this GPU instead of the one here, such as A40. Repeatable.",
            rich_help_panel=_OTHER,
        ),
    ] = None,
    driver: Annotated[
        str | None,
        typer.Option(metavar="VERSION", help="Judge for this driver, such as 550.90.", rich_help_panel=_OTHER),
    ] = None,
    python_version: Annotated[
        str | None,
        typer.Option(metavar="VERSION", help="Judge for this Python, such as 3.12.", rich_help_panel=_OTHER),
    ] = None,
    glibc: Annotated[
        str | None,
        typer.Option(metavar="VERSION", help="Judge for this glibc, such as 2.31.", rich_help_panel=_OTHER),
    ] = None,
    arch: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Judge for this CPU: x86_64 or aarch64.", rich_help_panel=_OTHER),
    ] = None,
    format_: Annotated[
        Format, typer.Option("--format", help="Format of the report.", rich_help_panel=_OUT)
    ] = Format.TEXT,
    as_json: Annotated[bool, typer.Option("--json", help="Short for --format json.", rich_help_panel=_OUT)] = False,
    output: Annotated[
        str | None,
        typer.Option("--output", "-o", metavar="FILE", help="Write the report to FILE.", rich_help_panel=_OUT),
    ] = None,
    quiet: Annotated[
        bool,
        typer.Option(
            "--quiet",
            "-q",
            help="Print root problems only, a line each; nothing when there are none.",
            rich_help_panel=_OUT,
        ),
    ] = False,
    fail_on: Annotated[
        FailOn, typer.Option(help="Least severity that makes the exit code 1.", rich_help_panel=_OUT)
    ] = FailOn.ERROR,
    strict: Annotated[
        bool,
        typer.Option(
            "--strict",
            help="Exit 4 when an error rule that applies could not be judged.",
            rich_help_panel=_OUT,
        ),
    ] = False,
    only: Annotated[
        list[str] | None,
        typer.Option(
            metavar="WHAT",
            help="Only these subjects or rules: machine, environment, torch, driver, ... Repeatable.",
            rich_help_panel=_OUT,
        ),
    ] = None,
    skip: Annotated[
        list[str] | None,
        typer.Option(metavar="WHAT", help="Leave out these subjects or rules. Repeatable.", rich_help_panel=_OUT),
    ] = None,
    rules: Annotated[
        list[str] | None,
        typer.Option(metavar="PATH", help="Further rule files or folders. Repeatable.", rich_help_panel=_OUT),
    ] = None,
    save: Annotated[
        str | None,
        typer.Option(metavar="FILE", help="Save what was seen as a snapshot.", rich_help_panel=_OUT),
    ] = None,
    record: Annotated[
        str | None,
        typer.Option(
            metavar="DIR",
            help="Record everything the probes read, redacted, for a bug report.",
            rich_help_panel=_OUT,
        ),
    ] = None,
) -> None:
    """Say what is wrong with a machine and a Python environment for SGLang, why, and what to type.

    Nothing is imported or changed. Without --venv or --python it examines VIRTUAL_ENV, CONDA_PREFIX, ./.venv,
    ./.venv-sglang, python3 on PATH or its own interpreter: the first that holds sglang, else the first.
    """
    from sgldoctor.cli.take import Sources, take  # noqa: PLC0415 - keeps --help fast
    from sgldoctor.simulate import Machine  # noqa: PLC0415

    selection = _Selection(only or [], skip or [])
    ports = [(number, "server") for number in port or [30000]]
    ports += [(number, use) for number, use in ((dist_init_port, "dist-init"), (metrics_port, "metrics")) if number]
    sources = Sources(
        venv=venv,
        python=python,
        root=root,
        requirements=tuple(requirement or ()),
        saved=from_,
        deep=deep,
        ports=tuple(ports),
        machine=selection.any(MACHINE_SUBJECTS),
        environment=selection.any(ENVIRONMENT_SUBJECTS),
        record=record,
        save=save,
    )
    sources.refuse_contradictions()
    if python_version and not (requirement or from_ or not sources.environment):
        raise UsageError("--python-version goes with -r; an installed environment has a Python of its own.")
    machine = Machine(tuple(gpu or ()), driver, python_version, glibc, arch)
    snapshot, redactor = take(sources, machine)
    report = _judge(snapshot, tuple(rules or ()), selection)
    with suppress(BrokenPipeError):  # the reader left early; the verdict stands
        _write(report, redactor, Format.JSON if as_json else format_, output, quiet=quiet)
    severity = None if fail_on is FailOn.NEVER else Severity(fail_on.value)
    raise typer.Exit(int(report.exit_code(severity, strict=strict)))


class _Selection:
    """Which rules are asked for: by subject, by rule, or by the words machine and environment."""

    def __init__(self, only: list[str], skip: list[str]) -> None:
        self.only = frozenset(self._words(only))
        self.skip = frozenset(self._words(skip))

    @staticmethod
    def _words(given: list[str]) -> list[str]:
        return [word.strip() for text in given for word in text.split(",") if word.strip()]

    def keeps(self, identity: str, subject: str) -> bool:
        room = "machine" if subject in MACHINE_SUBJECTS else "environment"
        names = {identity, subject, room}
        return (not self.only or bool(names & self.only)) and not names & self.skip

    def any(self, subjects: tuple[str, ...]) -> bool:
        """Return whether a rule about one of these subjects may be asked for."""
        named = {"machine", "environment", *SUBJECTS}
        if self.only - named:
            return True
        return any(self.keeps("", subject) for subject in subjects)

    def check(self, identities: list[str]) -> None:
        known = [*SUBJECTS, "machine", "environment", *identities]
        for word in sorted(self.only | self.skip):
            if word not in known:
                raise UsageError(
                    f"--only and --skip take subjects or rules; there is no {word!r}.{did_you_mean(word, known)} "
                    f"Subjects: {', '.join(['machine', 'environment', *SUBJECTS])}."
                )


def _judge(snapshot: Snapshot, rules: tuple[str, ...], selection: _Selection) -> Report:
    from sgldoctor.api import check  # noqa: PLC0415 - keeps --help fast

    seen: list[str] = []

    def keep(problem: Problem) -> bool:
        seen.append(problem.id)
        return selection.keeps(problem.id, problem.subject)

    report = check(snapshot, rules=rules, keep=keep)
    selection.check(seen)
    if not report.checks:
        raise UsageError("--only and --skip leave nothing to judge. Leave one of them out.")
    return report


def _renderer(format_: Format) -> Callable[[Report, Redactor], str]:
    from importlib import import_module  # noqa: PLC0415 - one format is needed, not six

    render: Callable[[Report, Redactor], str] = import_module(f"sgldoctor.report.as_{format_.value}").render
    return render


def _write(report: Report, redactor: Redactor, format_: Format, output: str | None, *, quiet: bool) -> None:
    if quiet and format_ is Format.TEXT:
        text = "".join(
            f"{f.severity.value}: {redactor.text(f.message)} [{f.id}]\n"
            for f in report.found
            if f.severity is not Severity.INFO and not f.explained_by
        )
    elif format_ is Format.TEXT and output is None:
        from sgldoctor.cli.terminal import show  # noqa: PLC0415 - colours only where a person looks
        from sgldoctor.report.as_text import lines  # noqa: PLC0415

        show(lambda width: lines(report, redactor, width))
        return
    elif format_ is Format.TEXT:
        from sgldoctor.report.as_text import lines  # noqa: PLC0415

        text = "".join(f"{line}\n" for line, _ in lines(report, redactor, 100))
    else:
        text = _renderer(format_)(report, redactor)
    if output is None:
        sys.stdout.write(text)
        return
    from sgldoctor.system.files import write_text  # noqa: PLC0415

    write_text(Path(output), text)
