"""What an installation came to: the plan, the files with their hashes, the times."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from sgldoctor import __version__
from sgldoctor.install.execute.lockfile import Lock, file_of, name_of
from sgldoctor.install.plan import as_record

if TYPE_CHECKING:
    from sgldoctor.install.execute.folder import Folder
    from sgldoctor.install.plan import Environment, Plan
    from sgldoctor.report.model import Report

RECORD = "record.json"
SCHEMA_VERSION = 1


def write(
    plan: Plan,
    environment: Environment,
    lock: Lock,
    folder: Folder,
    state: dict[str, Any],
    report: Report,
    checked: float,
) -> None:
    """Write the record of a finished installation into its folder.

    Raises:
        InstallFailedError: it cannot be written.
    """
    steps: dict[str, dict[str, float]] = state["steps"]
    document = {
        "schema_version": SCHEMA_VERSION,
        "tool": {"version": __version__, "rules_sha256": report.rules_sha256},
        "environment": environment.name,
        "python": state["python"],
        "packages": [_package(name, row) for name, row in sorted(lock.packages.items())],
        "download_bytes": lock.size(),
        "seconds": {
            "install": {name: times.get("installed") for name, times in steps.items()},
            "verify": {name: times.get("verified") for name, times in steps.items()} | {"check": round(checked, 1)},
        },
        "check": {"verdict": report.verdict.value, "counts": report.counts},
        "plan": as_record(plan),
    }
    folder.write(RECORD, [json.dumps(document, indent=1)])


def _package(name: str, row: dict[str, Any]) -> dict[str, Any]:
    file = file_of(row)
    return {
        "name": name,
        "version": row.get("version"),
        "file": name_of(file),
        "size": file.get("size"),
        "hashes": file.get("hashes", {}),
    }
