"""``sgldoctor schema``: the JSON Schemas of what the commands print."""

from __future__ import annotations

import sys
from typing import Annotated

import typer


def command(
    name: Annotated[
        str, typer.Argument(help="Which document: check, explain, inspect, install, knowledge, telemetry.")
    ] = "check",
) -> None:
    """Print the JSON Schema of a report, such as the one of check --json."""
    from sgldoctor.schema import schema_text  # noqa: PLC0415 - keeps --help fast

    sys.stdout.write(schema_text(name))
