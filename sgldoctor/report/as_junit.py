"""The report as JUnit XML, for CI systems: one test suite per subject, one test case per check."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING
from xml.etree.ElementTree import Element, SubElement, indent, tostring

from sgldoctor.report.model import Status
from sgldoctor.report.redacted import redacted
from sgldoctor.rules.model import SUBJECTS, Severity

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sgldoctor.redact import Redactor
    from sgldoctor.report.model import Check, Finding, Report

# What is not in the Char production of XML 1.0 (section 2.2) cannot be written even escaped; control characters
# above 126 are in it, but discouraged there, and terminals obey them.
_INVALID = re.compile(r"[^\t\n\x20-\x7e\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def render(report: Report, redactor: Redactor) -> str:
    """Return the report as JUnit XML: errors and warnings fail, what could not be judged is skipped."""
    report = redacted(report, redactor)
    findings = {finding.id: finding for finding in report.findings}
    root = Element("testsuites", name="sgldoctor")
    suites = {subject: SubElement(root, "testsuite", name=subject) for subject in _subjects(report)}
    for check in report.checks:
        _add_case(suites[check.subject], check, findings)
    for element in (root, *suites.values()):
        element.set("tests", str(len(list(element.iter("testcase")))))
        element.set("failures", str(len(list(element.iter("failure")))))
        element.set("errors", "0")
        element.set("skipped", str(len(list(element.iter("skipped")))))
    indent(root)
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{tostring(root, encoding="unicode")}\n'


def _subjects(report: Report) -> list[str]:
    """Return the subjects of the checks, in the order in which all reports show them."""
    present = {check.subject for check in report.checks}
    return [subject for subject in SUBJECTS if subject in present]


def _add_case(suite: Element, check: Check, findings: Mapping[str, Finding]) -> None:
    case = SubElement(suite, "testcase", classname=check.subject, name=check.id)
    if check.status is Status.OK:
        return
    if check.status is Status.NOT_APPLICABLE:
        SubElement(case, "skipped", message="not applicable")
        return
    finding = findings[check.id]
    if check.status is Status.UNKNOWN:
        SubElement(case, "skipped", message=_valid(finding.message))
    elif finding.severity in {Severity.ERROR, Severity.WARNING}:
        failure = SubElement(case, "failure", type=finding.severity.value, message=_valid(finding.message))
        failure.text = _valid(_text(finding))
    else:
        SubElement(case, "system-out").text = _valid(f"{finding.message}\n{_text(finding)}")


def _text(finding: Finding) -> str:
    lines = [finding.title, f"Why: {finding.cause}"]
    if finding.explained_by:
        lines.append(f"Explained by: {finding.explained_by}")
    lines += [f"Seen: {seen.what} ({seen.where})" for seen in finding.evidence]
    for fix in finding.fixes:
        lines.append(f"Fix: {fix.text}")
        if fix.command:
            lines.append(f"    {fix.command}")
    return "\n".join(lines)


def _valid(text: str) -> str:
    return _INVALID.sub("", text.replace("\r\n", "\n").replace("\r", "\n"))
