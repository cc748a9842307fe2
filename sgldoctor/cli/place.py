"""The machine and environment that a text comes from, where they can be looked at."""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from sgldoctor.errors import SgldoctorError, UsageError

if TYPE_CHECKING:
    from sgldoctor.explain.scan import Scan
    from sgldoctor.snapshot import Snapshot


@dataclass
class Place:
    """What the command line says about where a text comes from; each place is looked at once."""

    env: bool = False
    venv: str | None = None
    python: str | None = None
    saved: str | None = None
    _seen: dict[str | None, Snapshot] = field(default_factory=dict)

    def __post_init__(self) -> None:
        named = [name for name in ("venv", "python", "saved") if getattr(self, name) is not None]
        if len(named) + (self.env and self.saved is not None) > 1:
            raise UsageError("--env, --venv, --python and --from name one place. Leave all but one of them out.")

    def snapshot(self, scan: Scan) -> Snapshot | None:
        """Return the facts of the place that was asked for, else of an environment here that the text names.

        Raises:
            TargetError: there is no such environment.
            SnapshotError: the saved snapshot cannot be read.
        """
        if self.env or self.venv or self.python or self.saved:
            return self._look(self.venv)
        from sgldoctor.explain.told import places  # noqa: PLC0415 - only without an option

        for prefix, witness in places(scan.hits):
            if os.path.exists(witness):
                with suppress(SgldoctorError):  # nobody asked for it, so it is no error that it cannot be judged
                    venv = prefix if os.path.exists(f"{prefix}/pyvenv.cfg") else None
                    return self._look(venv, f"{prefix}/bin/python3")
        return None

    def _look(self, venv: str | None, python: str | None = None) -> Snapshot:
        from sgldoctor.cli.take import Sources, take  # noqa: PLC0415 - needs every probe
        from sgldoctor.simulate import Machine  # noqa: PLC0415

        if venv not in self._seen:
            sources = Sources(
                venv=venv, python=None if venv else self.python or python, saved=self.saved,
                ports=((30000, "server"),),
            )  # fmt: skip
            sources.refuse_contradictions()
            self._seen[venv], _ = take(sources, Machine())
        return self._seen[venv]
