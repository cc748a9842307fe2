"""How old the tables are that verdicts about releases rest on."""

from __future__ import annotations

from datetime import date
from typing import TYPE_CHECKING

from sgldoctor.rules.knowledge import table
from sgldoctor.snapshot import Facts, Known

if TYPE_CHECKING:
    from sgldoctor.system import System

_TABLES = ("sglang.json", "kernel_abi.json", "health.json")


def probe(system: System) -> Facts:
    """Return the age in days of the oldest generated table."""
    today = date.fromisoformat(system.today())
    written = min(date.fromisoformat(str(table(name)["generated_at"])[:10]) for name in _TABLES)
    return {"knowledge.days": Known(max(0, (today - written).days), "generated_at of the tables")}
