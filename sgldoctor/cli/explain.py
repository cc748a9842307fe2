"""``sgldoctor explain``: the root cause of an error text or a log."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

EPILOG = ""


def command(
    text: Annotated[
        list[str] | None, typer.Argument(metavar="[TEXT|FILE|-]...", help="Error text, log files, or -.")
    ] = None,
    *,
    as_text: Annotated[bool, typer.Option("--text", help="All words are text, none is a path.")] = False,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Keep reading a log that grows.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
) -> None:
    """Say what an error text or a log means, why, and what to type. Offline."""
    from sgldoctor.explain.answer import Explainer  # noqa: PLC0415 - keeps --help fast
    from sgldoctor.explain.source import sources  # noqa: PLC0415
    from sgldoctor.report import explanation_json  # noqa: PLC0415
    from sgldoctor.rules.load import load_problems  # noqa: PLC0415

    explainer = Explainer(load_problems())
    scan = explainer.scan()
    for source in sources(text or [], as_text=as_text, follow=follow):
        for block in source.blocks():
            scan.feed(block, source.name)
    explanation = explainer.explain(scan)
    if as_json:
        sys.stdout.write(explanation_json.render(explanation))
    else:
        for match in explanation.matches:
            typer.echo(f"{match.id}: {match.message}")
    raise typer.Exit(int(explanation.exit_code))
