"""The report as Markdown, to be pasted into a bug report."""

from __future__ import annotations

import re
from collections import Counter
from typing import TYPE_CHECKING

from sgldoctor.report.redacted import redacted
from sgldoctor.snapshot import Unknown

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sgldoctor.redact import Redactor
    from sgldoctor.report.model import Finding, Report
    from sgldoctor.snapshot import Snapshot

# What maintainers ask for first; one row for each, so that two reports can be laid side by side.
_ROWS = (
    ("OS", ("os.id", "os.version")),
    ("OS kernel", ("os.kernel",)),
    ("C library", ("libc.name", "libc.version")),
    ("CPU", ("cpu.arch",)),
    ("Container", ("container.kind",)),
    ("Driver", ("driver.version",)),
    ("GPUs", ("gpus",)),
    ("Python", ("python.version",)),
    ("Environment", ("python.prefix",)),
    ("sglang", ("package.sglang",)),
    ("torch", ("package.torch",)),
    ("CUDA of torch", ("torch.cuda",)),
    ("Kernels", ("kernel.distribution", "kernel.version")),
    ("flashinfer", ("package.flashinfer-python",)),
    ("transformers", ("package.transformers",)),
)

_COUNTS = {
    "errors": "errors",
    "warnings": "warnings",
    "infos": "notes",
    "unknown": "not judged",
    "ok": "ok",
    "not_applicable": "not applicable",
}

_UNPRINTABLE = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff]")
# Underscores within a word mean nothing in GitHub's Markdown, and names are easier to read unescaped.
_MARKUP = re.compile(r"[\\`*\[<|~]|(?<![^\W_])_|_(?![^\W_])")


def render(report: Report, redactor: Redactor) -> str:
    """Return the report as Markdown: verdict, key facts, what was found, what is unknown, all packages."""
    return "\n\n".join(_blocks(redacted(report, redactor))) + "\n"


def _blocks(report: Report) -> Iterator[str]:
    counts = report.counts
    yield f"### sgldoctor {report.version}: {report.verdict.value}"
    counted = ", ".join(f"{label}: {counts[key]}" for key, label in _COUNTS.items())
    yield f"{counted} (rules {report.rules_sha256[:12]})"
    rows = [f"| {label} | {prose(_cell(report.snapshot, names))} |" for label, names in _ROWS]
    yield "\n".join(["| Fact | Value |", "| --- | --- |", *rows])
    for finding in report.found:
        yield from _problem(finding)
    if report.unknown:
        lines = [f"- {prose(f.title)} ({f.id}): {prose(f.message)}" for f in report.unknown]
        yield _folded(f"Could not be judged: {len(report.unknown)}", "\n".join(lines))
    yield _packages(report.snapshot)


def _problem(finding: Finding) -> Iterator[str]:
    unconfirmed = "" if finding.confirmed else ", unconfirmed"
    yield f"#### {finding.severity.value}{unconfirmed}: {prose(finding.title)} ({finding.id})"
    if finding.message != finding.title:
        yield f"**What:** {prose(finding.message)}"
    yield f"**Why:** {prose(finding.cause)}"
    if finding.explained_by:
        yield f"**Explained by:** {finding.explained_by}"
    if finding.evidence:
        seen = [f"- {prose(item.what)} ({prose(item.where)})" for item in finding.evidence]
        yield "\n".join(["**Seen:**", "", *seen])
    for fix in finding.fixes:
        yield f"**Fix:** {prose(fix.text)}"
        if fix.command:
            yield fenced(fix.command, "sh")


def _cell(snapshot: Snapshot, names: tuple[str, ...]) -> str:
    """Return what is known about the facts, "none" for absent ones, and the reasons for unknown ones."""
    known = [_value(snapshot, name) for name in names if snapshot.value(name) is not None]
    facts = [snapshot.get(name) for name in names]
    reasons = list(dict.fromkeys(fact.reason for fact in facts if isinstance(fact, Unknown)))
    if reasons:
        return "; ".join([*([" ".join(known)] if known else []), f"unknown: {', '.join(reasons)}"])
    return " ".join(known) or "none"


def _value(snapshot: Snapshot, name: str) -> str:
    if name != "gpus":
        return str(snapshot.value(name))
    models = Counter((gpu.get("name"), gpu.get("capability")) for gpu in snapshot.records(name))
    return ", ".join(
        f"{count} x {model or 'unnamed'} ({capability or 'capability unknown'})"
        for (model, capability), count in models.items()
    )


def _packages(snapshot: Snapshot) -> str:
    fact = snapshot.get("packages")
    if isinstance(fact, Unknown):
        return f"Packages: unknown: {prose(fact.reason)}"
    packages = snapshot.records("packages")
    names = sorted(f"{package.get('name')}=={package.get('version')}" for package in packages)
    return _folded(f"Packages: {len(names)}", fenced("\n".join(names), "text"))


def _folded(summary: str, body: str) -> str:
    return f"<details>\n<summary>{summary}</summary>\n\n{body}\n\n</details>"


def fenced(text: str, language: str) -> str:
    """Return a code block that no backticks in the text can end."""
    text = _UNPRINTABLE.sub("", text.replace("\r\n", "\n").replace("\r", "\n"))
    longest = max((len(run) for run in re.findall("`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}{language}\n{text}\n{fence}"


def prose(text: str) -> str:
    """Return a text on one line in which nothing is markup or ends a table's cell."""
    return _MARKUP.sub(r"\\\g<0>", " ".join(_UNPRINTABLE.sub("", text).split()))
