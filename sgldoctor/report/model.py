"""What a check came to: the one value that every format shows."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from enum import Enum
from functools import cached_property
from typing import TYPE_CHECKING

from sgldoctor.errors import ExitCode
from sgldoctor.rules.model import SUBJECTS, Severity

if TYPE_CHECKING:
    from sgldoctor.snapshot import Snapshot


class Status(str, Enum):
    """What one problem's check came to."""

    OK = "ok"
    FOUND = "found"
    UNKNOWN = "unknown"
    NOT_APPLICABLE = "not_applicable"


class Verdict(str, Enum):
    """What the whole check came to: error > warning > unknown > ok."""

    OK = "ok"
    UNKNOWN = "unknown"
    WARNING = "warning"
    ERROR = "error"


@dataclass(frozen=True, slots=True)
class Evidence:
    """What was seen, and where."""

    what: str
    where: str


@dataclass(frozen=True, slots=True)
class FilledFix:
    """What to do; the command is complete and can be typed as it stands."""

    text: str
    command: str | None


@dataclass(frozen=True, slots=True)
class Check:
    """One problem that was looked for."""

    id: str
    subject: str
    status: Status


@dataclass(frozen=True, slots=True)
class Finding:
    """One problem that was found, or that applies and could not be judged."""

    id: str
    subject: str
    severity: Severity
    status: Status
    title: str
    message: str
    cause: str
    explained_by: str | None
    evidence: tuple[Evidence, ...]
    fixes: tuple[FilledFix, ...]
    references: tuple[str, ...]
    confirmed: bool


@dataclass(frozen=True)
class Report:
    """A judged snapshot."""

    version: str
    rules_sha256: str
    snapshot: Snapshot
    checks: tuple[Check, ...]
    findings: tuple[Finding, ...]

    @cached_property
    def found(self) -> tuple[Finding, ...]:
        """Problems that are there: errors first, roots before what they explain, in the order of subjects."""
        order = list(Severity)
        return tuple(
            sorted(
                (finding for finding in self.findings if finding.status is Status.FOUND),
                key=lambda f: (
                    order.index(f.severity),
                    f.explained_by is not None,
                    SUBJECTS.index(f.subject),
                    f.id,
                ),
            )
        )

    @cached_property
    def unknown(self) -> tuple[Finding, ...]:
        """Problems that could not be judged."""
        return tuple(finding for finding in self.findings if finding.status is Status.UNKNOWN)

    @cached_property
    def verdict(self) -> Verdict:
        """The worst thing found, else whether an error rule could not be judged."""
        severities = {finding.severity for finding in self.found}
        if Severity.ERROR in severities:
            return Verdict.ERROR
        if Severity.WARNING in severities:
            return Verdict.WARNING
        return Verdict.UNKNOWN if self.unjudged else Verdict.OK

    @cached_property
    def unjudged(self) -> bool:
        """Whether a rule of severity error applies and could not be judged."""
        return any(finding.severity is Severity.ERROR for finding in self.unknown)

    @cached_property
    def counts(self) -> dict[str, int]:
        """How many checks came to what, and how many problems of each severity were found."""
        statuses = Counter(check.status.value for check in self.checks)
        severities = Counter(finding.severity.value for finding in self.found)
        return {
            "checks": len(self.checks),
            **{status.value: statuses[status.value] for status in Status},
            "errors": severities["error"],
            "warnings": severities["warning"],
            "infos": severities["info"],
        }

    def exit_code(self, fail_on: Severity | None = Severity.ERROR, *, strict: bool = False) -> ExitCode:
        """Return the exit code by the one table.

        Args:
            fail_on: the least severity that counts as a failure; None: nothing does.
            strict: an error rule that could not be judged is a failure of its own.
        """
        order = list(Severity)
        if fail_on and any(order.index(f.severity) <= order.index(fail_on) for f in self.found):
            return ExitCode.FINDINGS
        return ExitCode.NOT_JUDGED if strict and self.unjudged else ExitCode.OK
