"""``sgldoctor fix``: the cures of what check finds that are changes of packages, shown or applied."""

from __future__ import annotations

import json
import shlex
import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sgldoctor.errors import ExitCode, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sgldoctor.install.cures import Cure
    from sgldoctor.report.model import Finding, Report

EPILOG = """\b
Examples:
  sgldoctor fix                                   what would be done in the nearest environment
  sgldoctor fix --venv .venv --execute            do it there, verified
  sgldoctor fix --venv .venv --undo               bring back the packages from before

\b
Exit codes: 0 no error is left, 1 errors are left, 2 wrong usage, 3 the environment cannot be changed, 5 a cure failed.
"""


def command(
    *,
    venv: Annotated[str | None, typer.Option(metavar="DIR", help="Folder of the environment.")] = None,
    python: Annotated[str | None, typer.Option(metavar="PATH", help="Interpreter of the environment.")] = None,
    gpu: Annotated[list[str] | None, typer.Option(metavar="NAME", help="Judge for this GPU. Repeatable.")] = None,
    driver: Annotated[str | None, typer.Option(metavar="VERSION", help="Judge for this driver.")] = None,
    execute: Annotated[bool, typer.Option("--execute", help="Apply the cures inside that environment.")] = False,
    undo: Annotated[bool, typer.Option("--undo", help="Bring back the packages from before.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
) -> int:
    """Propose the cures of check's findings that are changes of packages; with --execute apply them.

    Nothing but the named environment is touched. System packages, drivers and variables are left to you.
    """
    from sgldoctor.cli import progress  # noqa: PLC0415 - keeps --help fast
    from sgldoctor.install.execute import fix  # noqa: PLC0415
    from sgldoctor.simulate import Machine  # noqa: PLC0415

    if (execute or undo) and not (venv or python):
        raise UsageError("--execute and --undo change an environment. Name it with --venv or --python.")
    if execute and undo:
        raise UsageError("--execute and --undo exclude each other. Leave one of them out.")
    if venv and python:
        raise UsageError("--venv and --python exclude each other. Leave one of them out.")
    patient = fix.Patient(venv, python, Machine(tuple(gpu or ()), driver))
    if undo:
        changed = fix.undo(patient, progress.reporter())
        typer.echo("\n".join(changed) if changed else "The packages are those from before; nothing was changed.")
        return int(ExitCode.OK)
    report = patient.report()
    if execute:
        report = fix.mend(patient, report, progress.reporter())
    _show(report, as_json=as_json)
    return int(report.exit_code())


def _show(report: Report, *, as_json: bool) -> None:
    from sgldoctor.cli.terminal import show  # noqa: PLC0415 - keeps --help fast
    from sgldoctor.install.cures import cures, roots  # noqa: PLC0415

    proposed = cures(report)
    others = [finding for finding in roots(report) if finding.id not in {cure.finding for cure in proposed}]
    if as_json:
        sys.stdout.write(json.dumps(_record(report, proposed, others), indent=2, sort_keys=True) + "\n")
    else:
        show(lambda _width: _lines(report, proposed, others))


def _record(report: Report, proposed: list[Cure], others: list[Finding]) -> dict[str, Any]:
    return {
        "schema_version": 1,
        "target": {"python": report.snapshot.value("python.executable")},
        "cures": [
            {"id": cure.finding, "message": cure.message, "commands": [shlex.join(words) for words in cure.commands]}
            for cure in proposed
        ],
        "others": [
            {"id": finding.id, "severity": finding.severity.value, "message": finding.message} for finding in others
        ],
    }


def _lines(report: Report, proposed: list[Cure], others: list[Finding]) -> Iterator[tuple[str, str]]:
    value = report.snapshot.value
    yield f"{value('python.prefix')} (Python {value('python.version')})", "bold"
    if not proposed:
        yield "Nothing that a change of packages would mend.", "green"
    for cure in proposed:
        yield "", ""
        yield f"{cure.message} [{cure.finding}]", "red"
        yield f"  {cure.text}", ""
        for words in cure.commands:
            yield f"  {shlex.join(words)}", "bold"
    if others:
        yield "", ""
        yield "Not mended by packages; see sgldoctor check:", ""
        for finding in others:
            yield f"  {finding.severity.value}: {finding.message} [{finding.id}]", "yellow"
    if proposed:
        yield "", ""
        yield f"Do this with: sgldoctor fix --execute --venv {shlex.quote(str(value('python.prefix')))}", ""
