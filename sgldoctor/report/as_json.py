"""The report as JSON: the contract for programs, described by ``schemas/check.schema.json``."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

from sgldoctor.report.redacted import redacted
from sgldoctor.snapshot import facts_to_json

if TYPE_CHECKING:
    from sgldoctor.redact import Redactor
    from sgldoctor.report.model import Finding, Report

SCHEMA_VERSION = 1

_CONTROL = re.compile(r"[\x7f-\x9f]")


def document(report: Report, redactor: Redactor) -> dict[str, Any]:
    """Return the report as a JSON object: complete, redacted, findings and checks sorted by id."""
    report = redacted(report, redactor)
    value = report.snapshot.value
    return {
        "schema_version": SCHEMA_VERSION,
        "tool": {"version": report.version, "rules_sha256": report.rules_sha256},
        "target": {
            "python": value("python.executable"),
            "prefix": value("python.prefix"),
            "chosen_because": value("python.chosen_because"),
            "others": value("python.others"),
        },
        "verdict": report.verdict.value,
        "facts": facts_to_json(report.snapshot),
        "findings": [_finding_to_json(finding) for finding in sorted(report.findings, key=lambda f: f.id)],
        "checks": [
            {"id": check.id, "subject": check.subject, "status": check.status.value}
            for check in sorted(report.checks, key=lambda check: check.id)
        ],
        "summary": report.counts,
    }


def _finding_to_json(finding: Finding) -> dict[str, Any]:
    return {
        "id": finding.id,
        "subject": finding.subject,
        "severity": finding.severity.value,
        "status": finding.status.value,
        "title": finding.title,
        "message": finding.message,
        "cause": finding.cause,
        "explained_by": finding.explained_by,
        "confirmed": finding.confirmed,
        "evidence": [{"what": seen.what, "where": seen.where} for seen in finding.evidence],
        "fixes": [{"text": fix.text, "command": fix.command} for fix in finding.fixes],
        "references": list(finding.references),
    }


def render(report: Report, redactor: Redactor) -> str:
    """Return the report as a JSON text with sorted keys, the same for the same snapshot and rules."""
    return written(document(report, redactor), sort_keys=True)


def written(node: dict[str, Any], *, sort_keys: bool) -> str:
    """Return a JSON text that every stream takes and that does nothing to a terminal.

    JSON leaves two things alone: control characters above 127, and what stands for the bytes of a file name
    that is not UTF-8.
    """
    text = json.dumps(node, indent=2, sort_keys=sort_keys, ensure_ascii=False)
    text = text.encode("utf-8", "replace").decode("utf-8")
    return _CONTROL.sub(lambda match: f"\\u{ord(match[0]):04x}", text) + "\n"
