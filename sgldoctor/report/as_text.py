"""The report that people read: the answer first, then one line per subject, then what to type."""

from __future__ import annotations

import textwrap
from collections import Counter
from typing import TYPE_CHECKING

from sgldoctor.diagnose import fill
from sgldoctor.report.model import Status, Verdict
from sgldoctor.report.redacted import redacted
from sgldoctor.rules.model import SUBJECTS, Severity
from sgldoctor.snapshot import Known

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from sgldoctor.redact import Redactor
    from sgldoctor.report.model import FilledFix, Finding, Report

MARKS = {"error": "FAIL", "warning": "warn", "unknown": "?", "info": "note", "ok": "ok", "absent": "-"}
STYLES = {"error": "bold red", "warning": "yellow", "unknown": "cyan", "info": "blue", "ok": "green", "absent": "dim"}
INDENT = " " * 8

# Subjects that are one distribution: where it is absent, its line says so.
_PACKAGES = {
    "sglang": "package.sglang", "torch": "package.torch", "sgl-kernel": "kernel.version", "vllm": "package.vllm",
    "flashinfer": "package.flashinfer-python", "transformers": "package.transformers",
}  # fmt: skip
# What a line says when nothing is wrong; the first template of which every fact is known.
_SUMMARIES: dict[str, tuple[str, ...]] = {
    "host": (
        "{os.id} {os.version}, {libc.name} {libc.version}, {cpu.arch}",
        "{os.name}, {cpu.arch}",
        "{os.id} {os.version}",
    ),
    "container": ("{container.kind}",),
    "driver": ("{driver.version}, CUDA up to {driver.cuda}", "{driver.version}"),
    "gpu": ("{gpu.count} x {gpu.models}",),
    "memory": ("{memory.total_mib} MiB, /dev/shm {shm.total_mib} MiB", "{memory.total_mib} MiB"),
    "python": ("{python.version}, {python.environment}", "{python.version}"),
    "sglang": ("{package.sglang}",),
    "torch": ("{package.torch}, CUDA {torch.cuda}", "{package.torch}"),
    "sgl-kernel": ("{kernel.distribution} {kernel.version}",),
    "flashinfer": ("{package.flashinfer-python}", "{package.flashinfer}"),
    "transformers": ("{package.transformers}",),
    "vllm": ("{package.vllm}",),
    "toolchain": ("nvcc {toolchain.nvcc_version}",),
}


def lines(report: Report, redactor: Redactor, width: int) -> Iterator[tuple[str, str]]:
    """Yield (text, style) line by line; prose is wrapped to the width, commands never."""
    for text, style in _lines(redacted(report, redactor, homes=True), width):
        # Names and versions come from foreign files; none of them may steer the terminal.
        yield "".join(letter if letter.isprintable() else "\ufffd" for letter in text), style


def _lines(report: Report, width: int) -> Iterator[tuple[str, str]]:
    yield from wrapped(headline(report), width, style=STYLES[_key(report.verdict)])
    snapshot = report.snapshot
    if prefix := snapshot.text("python.prefix"):
        yield "", ""
        yield (
            f"Examined {prefix} (Python {snapshot.text('python.version')}): {snapshot.text('python.chosen_because')}",
            "",
        )
        if others := snapshot.texts("python.others"):
            yield from wrapped(
                f"Not examined: {'; '.join(others)}. Choose with --venv or --python.", width, style="dim"
            )
    yield "", ""
    reasons = list(dict.fromkeys(_reason(finding) for finding in report.unknown))
    for state, subject in _ordered(report):
        yield from _subject(report, subject, state, reasons, width)
    yield "", ""
    for number, reason in enumerate(reasons, start=1):
        yield from wrapped(f"[{number}] Not judged: {reason}", width, indent=" " * 4, style=STYLES["unknown"])
    if reasons:
        yield "", ""
    yield summary(report), ""


def headline(report: Report) -> str:
    """Return the one sentence that the reader needs: the root cause, or that nothing is wrong."""
    roots = [finding for finding in report.found if not finding.explained_by]
    if report.verdict in {Verdict.ERROR, Verdict.WARNING} and roots:
        more = len([f for f in roots if f.severity is roots[0].severity]) - 1
        kind = roots[0].severity.value
        tail = f" (and {more} more {kind}{'s' * (more > 1)}, below)" if more else ""
        return f"{MARKS[kind]}: {roots[0].message.rstrip('.')}.{tail}"
    passed = report.counts["ok"]
    if report.verdict is Verdict.UNKNOWN:
        missed = report.counts["unknown"]
        reason = Counter(map(_reason, report.unknown)).most_common(1)[0][0]
        return f"?: Nothing wrong was found. {missed} check{'s' * (missed != 1)} could not be made: {reason}."
    return f"ok: Nothing is wrong. {passed} checks passed."


def summary(report: Report) -> str:
    """Return the last line: how many checks came to what."""
    counts = report.counts
    words = [
        f"{counts['errors']} error{'s' * (counts['errors'] != 1)}",
        f"{counts['warnings']} warning{'s' * (counts['warnings'] != 1)}",
        f"{counts['unknown']} not judged",
        f"{counts['ok']} ok",
        f"{counts['not_applicable']} not applicable",
    ]
    return f"{', '.join(words)}. Details of a rule: sgldoctor rules show ID"


def _key(verdict: Verdict) -> str:
    return verdict.value


def _ordered(report: Report) -> list[tuple[str, str]]:
    """Return (state, subject): failures first, then warnings, unknowns, notes, then what is fine."""
    order = list(MARKS)
    first = list(dict.fromkeys(finding.subject for finding in report.found))
    states = [(state, subject) for subject in SUBJECTS if (state := _state(report, subject))]
    return sorted(
        states,
        key=lambda item: (order.index(item[0]), first.index(item[1]) if item[1] in first else 0),
    )


def _state(report: Report, subject: str) -> str | None:
    found = {finding.severity.value for finding in report.found if finding.subject == subject}
    statuses = {check.status for check in report.checks if check.subject == subject}
    for severity in ("error", "warning"):
        if severity in found:
            return severity
    if any(f.subject == subject and f.severity is not Severity.INFO for f in report.unknown):
        return "unknown"
    if "info" in found:
        return "info"
    return "ok" if Status.OK in statuses else None


def _subject(report: Report, subject: str, state: str, reasons: list[str], width: int) -> Iterator[tuple[str, str]]:
    facts = next(filter(None, (fill(text, report.snapshot, {}) for text in _SUMMARIES.get(subject, ()))), "")
    unknown = [finding for finding in report.unknown if finding.subject == subject]
    if state == "ok" and (package := _PACKAGES.get(subject)) and _is_absent(report, package):
        state, facts = "absent", "not installed"
    if unknown:
        notes = sorted({reasons.index(_reason(finding)) + 1 for finding in unknown})
        text = f"{len(unknown)} not judged {''.join(f'[{note}]' for note in notes)}"
        facts = f"{facts}; {text}" if facts else text
    first, *rest = list(wrapped(f"{MARKS[state]:<6}{subject:<13} {facts}".rstrip(), width, indent=" " * 20))
    yield first[0], STYLES[state]
    yield from rest
    for finding in report.found:
        if finding.subject == subject:
            yield from _finding(report, finding, width)


def _is_absent(report: Report, fact: str) -> bool:
    found = report.snapshot.get(fact)
    return isinstance(found, Known) and found.value is None


def _reason(finding: Finding) -> str:
    """Return the first reason why a check could not be judged; the others follow from the same want."""
    return finding.message.split("; ")[0]


def _finding(report: Report, finding: Finding, width: int) -> Iterator[tuple[str, str]]:
    if finding.explained_by:
        root = next(other.title for other in report.found if other.id == finding.explained_by)
        yield from wrapped(f"{finding.message} This follows from: {root}.", width, indent=INDENT)
        yield "", ""
        return
    style = STYLES[finding.severity.value]
    unconfirmed = "" if finding.confirmed else " (unconfirmed: known from reports only)"
    yield from wrapped(f"{finding.message}{unconfirmed}", width, indent=INDENT, style=style)
    if finding.severity is Severity.INFO:
        yield from wrapped(f"More: sgldoctor rules show {finding.id}", width, indent=INDENT, style="dim")
        yield "", ""
        return
    yield from wrapped(f"Why: {finding.cause}", width, indent=INDENT)
    for evidence in finding.evidence:
        yield from wrapped(f"Seen: {evidence.what} ({evidence.where})", width, indent=INDENT, style="dim")
    yield from cures(finding.fixes, width, indent=INDENT)
    yield from wrapped(f"Rule: {finding.id}", width, indent=INDENT, style="dim")
    yield "", ""


def cures(fixes: Iterable[FilledFix], width: int, *, indent: str) -> Iterator[tuple[str, str]]:
    """Yield the lines that say what to do; a command stands alone on its line, whole."""
    for number, fix in enumerate(fixes):
        text = fix.text if number == 0 or fix.text.startswith("Or") else f"Or: {fix.text}"
        yield from wrapped(text, width, indent=indent)
        if fix.command:
            yield "", ""
            yield f"{indent}  {fix.command}", "bold"
            yield "", ""


def wrapped(text: str, width: int, *, indent: str = "", style: str = "") -> Iterable[tuple[str, str]]:
    """Return a text as lines, never broken within a word; every line is indented by INDENT, by others all but one."""
    wrapper = textwrap.TextWrapper(
        max(width, 40), initial_indent=indent if indent == INDENT else "", subsequent_indent=indent,
        break_long_words=False, break_on_hyphens=False,
    )  # fmt: skip
    return [(line, style) for line in wrapper.wrap(text)]
