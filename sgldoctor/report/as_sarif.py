"""The report as SARIF 2.1.0, for code scanning.

Section numbers are those of the standard: https://docs.oasis-open.org/sarif/sarif/v2.1.0/
What GitHub asks for beyond it: https://docs.github.com/code-security/reference/code-scanning/sarif-files
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sgldoctor.report.as_json import written
from sgldoctor.report.model import Status
from sgldoctor.report.redacted import redacted
from sgldoctor.rules.model import Severity

if TYPE_CHECKING:
    from sgldoctor.redact import Redactor
    from sgldoctor.report.model import Finding, Report

_LEVELS = {
    Severity.ERROR: "error",
    Severity.WARNING: "warning",
    Severity.INFO: "note",
    Severity.BENIGN: "note",
}

# GitHub shows no result without a place in a file; an environment has none, so all of them share this name.
_PLACE = {
    "artifactLocation": {"uri": "environment"},
    "region": {"startLine": 1, "startColumn": 1, "endLine": 1, "endColumn": 2},
}


def render(report: Report, redactor: Redactor) -> str:
    """Return the report as SARIF: a result for each problem found and each that could not be judged."""
    report = redacted(report, redactor)
    findings = (*report.found, *report.unknown)
    prefix = report.snapshot.text("python.prefix")
    driver = {
        "name": "sgldoctor",
        "version": report.version,
        "rules": [_rule(finding) for finding in findings],
        "properties": {"rules_sha256": report.rules_sha256},
    }
    document = {
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [
            {
                "tool": {"driver": driver},
                "results": [_result(number, finding, prefix) for number, finding in enumerate(findings)],
            }
        ],
    }
    return written(document, sort_keys=False)


def _rule(finding: Finding) -> dict[str, Any]:
    help_text = "\n".join([finding.cause, *(f"See: {reference}" for reference in finding.references)])
    return {
        "id": finding.id,
        "shortDescription": {"text": _literal(finding.title)},
        "fullDescription": {"text": _literal(finding.cause)},
        "help": {"text": _literal(help_text)},
        "defaultConfiguration": {"level": _LEVELS[finding.severity]},
        "properties": {"tags": [finding.subject]},
    }


def _result(number: int, finding: Finding, prefix: str | None) -> dict[str, Any]:
    location: dict[str, Any] = {"physicalLocation": _PLACE}
    if prefix:
        location["logicalLocations"] = [{"name": prefix, "kind": "environment"}]
    judged = finding.status is Status.FOUND
    text = _text(finding) if judged else f"Could not be judged: {finding.message}"
    return {
        "ruleId": finding.id,
        "ruleIndex": number,
        # 3.27.9: "open" means too little information to decide; 3.27.10: its level is then "none".
        "kind": "fail" if judged else "open",
        "level": _LEVELS[finding.severity] if judged else "none",
        "message": {"text": _literal(text)},
        "locations": [location],
        # Each problem is found once at most, so its id is all that tells one alert from another.
        "partialFingerprints": {"primaryLocationLineHash": f"{finding.id}:1"},
    }


def _text(finding: Finding) -> str:
    lines = [finding.message]
    if finding.explained_by:
        lines.append(f"Explained by: {finding.explained_by}")
    lines += [f"Seen: {seen.what} ({seen.where})" for seen in finding.evidence]
    lines += [f"Fix: {fix.text}" + (f"\n{fix.command}" if fix.command else "") for fix in finding.fixes]
    return "\n".join(lines)


def _literal(text: str) -> str:
    """Return a text that no reader takes for a message with placeholders (3.11.5)."""
    return text.replace("{", "{{").replace("}", "}}")
