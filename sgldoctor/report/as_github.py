"""The report as GitHub workflow commands: annotations on the run that printed them."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from sgldoctor.report.redacted import redacted
from sgldoctor.rules.model import Severity

if TYPE_CHECKING:
    from sgldoctor.redact import Redactor
    from sgldoctor.report.model import Finding, Report

_COMMANDS = {
    Severity.ERROR: "error",
    Severity.WARNING: "warning",
    Severity.INFO: "notice",
    Severity.BENIGN: "notice",
}

# A log shows what the terminal would; undecodable parts of file names cannot be written to a UTF-8 stream.
_UNPRINTABLE = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff]")


def render(report: Report, redactor: Redactor) -> str:
    """Return one workflow command for each problem found, and one for all that could not be judged."""
    report = redacted(report, redactor)
    lines = [_command(_COMMANDS[finding.severity], finding.title, _text(finding)) for finding in report.found]
    if report.unknown:
        reasons = "\n".join(f"{finding.id}: {finding.message}" for finding in report.unknown)
        lines.append(_command("notice", f"sgldoctor could not judge {len(report.unknown)}", reasons))
    if not lines:
        counts = report.counts
        looked = f"checks: {counts['checks']}, ok: {counts['ok']}, not applicable: {counts['not_applicable']}"
        lines.append(_command("notice", "sgldoctor found nothing wrong", looked))
    return "\n".join(lines) + "\n"


def _text(finding: Finding) -> str:
    lines = [finding.message, f"Why: {finding.cause}"]
    if finding.explained_by:
        lines.append(f"Explained by: {finding.explained_by}")
    lines += [f"Seen: {seen.what} ({seen.where})" for seen in finding.evidence]
    lines += [f"Fix: {fix.text}" + (f"\n{fix.command}" if fix.command else "") for fix in finding.fixes]
    return "\n".join(lines)


def _command(name: str, title: str, message: str) -> str:
    """Return a command that stays one line, whatever its texts hold.

    The escapes are those of the runner's own library, actions/toolkit packages/core/src/command.ts.
    """
    return f"::{name} title={_escaped(title).replace(':', '%3A').replace(',', '%2C')}::{_escaped(message)}"


def _escaped(text: str) -> str:
    return _UNPRINTABLE.sub("", text).replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")
