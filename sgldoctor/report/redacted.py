"""The report without secrets: what every format starts from."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from sgldoctor.report.model import Evidence, FilledFix
from sgldoctor.snapshot import Known, Snapshot, Unknown

if TYPE_CHECKING:
    from collections.abc import Callable

    from sgldoctor.redact import Redactor
    from sgldoctor.report.model import Finding, Report
    from sgldoctor.snapshot import Fact


def redacted(report: Report, redactor: Redactor, *, homes: bool = False) -> Report:
    """Return the report without secrets.

    Ids, statuses and references stay as they are, even where a variable holds the same word as its secret:
    they are the rules' own words and cannot hold anything of this machine, programs compare them, and a link
    must keep the part after its ``#``.

    Args:
        report: the report.
        redactor: knows the secrets of the machine.
        homes: keep the names of home folders, for a terminal, where commands are copied from.
    """
    say = redactor.text if homes else redactor.without_home
    snapshot = redacted_snapshot(report.snapshot, redactor, homes=homes)
    findings = tuple(_finding(finding, say) for finding in report.findings)
    return replace(report, snapshot=snapshot, findings=findings)


def redacted_snapshot(snapshot: Snapshot, redactor: Redactor, *, homes: bool = False) -> Snapshot:
    """Return a snapshot without secrets; see `redacted`."""
    say = redactor.text if homes else redactor.without_home
    return Snapshot({name: _fact(fact, redactor, say) for name, fact in snapshot.facts.items()})


def _fact(fact: Fact, redactor: Redactor, say: Callable[[str], str]) -> Fact:
    if isinstance(fact, Unknown):
        return Unknown(say(fact.reason))
    return Known(redactor.values(fact.value, say), say(fact.source))


def _finding(finding: Finding, say: Callable[[str], str]) -> Finding:
    return replace(
        finding,
        title=say(finding.title),
        message=say(finding.message),
        cause=say(finding.cause),
        evidence=tuple(Evidence(say(seen.what), say(seen.where)) for seen in finding.evidence),
        fixes=tuple(FilledFix(say(fix.text), fix.command and say(fix.command)) for fix in finding.fixes),
    )
