"""``sgldoctor explain --telemetry``: what a server's log says of its throughput."""

from __future__ import annotations

import sys
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING

from sgldoctor.errors import ExitCode
from sgldoctor.explain.telemetry import Telemetry

if TYPE_CHECKING:
    from sgldoctor.explain.source import Source

_WORDS = ("batch", "gen throughput", "Retract requests")


def sum_up(inputs: list[Source], *, as_json: bool) -> int:
    """Print the sums over all inputs and return the exit code.

    Raises:
        InputError: one of them cannot be read.
    """
    from sgldoctor.cli.terminal import show  # noqa: PLC0415 - colours only where a person looks
    from sgldoctor.report import telemetry as report  # noqa: PLC0415

    telemetry = Telemetry()
    with suppress(KeyboardInterrupt):  # what was read until then is summed up
        for source in inputs:
            for block in source.blocks():
                for line in block.data.decode(errors="replace").splitlines():
                    if any(word in line for word in _WORDS):
                        telemetry.add(line)
    if not telemetry.decode + telemetry.prefill:
        sys.stderr.write('sgldoctor: no "Decode batch" or "Prefill batch" line was found.\n')
        return int(ExitCode.NOT_EXPLAINED)
    with suppress(BrokenPipeError):
        if as_json:
            sys.stdout.write(report.as_json(telemetry))
        else:
            show(partial(report.lines, telemetry))
    return int(ExitCode.OK)
