"""``sgldoctor explain``: the root cause of an error text or a log."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

EPILOG = ""


def command(
    text: Annotated[
        list[str] | None, typer.Argument(metavar="[TEXT|FILE|-]...", help="Error text, log files, or -.")
    ] = None,
    *,
    as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
) -> None:
    """Say what an error text or a log means, why, and what to type. Offline."""
    from sgldoctor.explain.answer import Explainer  # noqa: PLC0415 - keeps --help fast
    from sgldoctor.report import explanation_json  # noqa: PLC0415
    from sgldoctor.rules.load import load_problems  # noqa: PLC0415

    words = text or ["-"]
    if words == ["-"]:
        given = sys.stdin.buffer.read().decode("utf-8", "replace")
    elif len(words) == 1 and Path(words[0]).is_file():
        given = Path(words[0]).read_text(encoding="utf-8", errors="replace")
    else:
        given = " ".join(words)
    explanation = Explainer(load_problems()).explain_text(given)
    if as_json:
        sys.stdout.write(explanation_json.render(explanation))
    else:
        for match in explanation.matches:
            typer.echo(f"{match.id}: {match.message}")
    raise typer.Exit(int(explanation.exit_code))
