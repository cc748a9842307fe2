"""One problem: how it is seen in a machine, what causes it, what mends it."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sgldoctor.rules.conditions import Condition


class Severity(str, Enum):
    """How much a problem matters; ``benign`` marks texts that look bad and are not."""

    ERROR = "error"
    WARNING = "warning"
    INFO = "info"
    BENIGN = "benign"


# The parts of a machine that can be ill, in the order in which reports show them.
MACHINE_SUBJECTS = ("host", "container", "driver", "gpu", "memory", "ports", "storage", "network")
ENVIRONMENT_SUBJECTS = (
    "python", "sglang", "torch", "sgl-kernel", "flashinfer", "transformers", "vllm", "extensions", "packages",
    "toolchain", "variables",
)  # fmt: skip
SUBJECTS = (*MACHINE_SUBJECTS, *ENVIRONMENT_SUBJECTS)

EVIDENCE_LEVELS = ("report", "metadata", "execution")


@dataclass(frozen=True, slots=True)
class Test:
    """All conditions on one fact."""

    fact: str
    conditions: tuple[Condition, ...]


@dataclass(frozen=True, slots=True)
class Affects:
    """Distributions and the range of versions that a problem concerns (since inclusive, until exclusive)."""

    packages: tuple[str, ...]
    specifier: str


@dataclass(frozen=True, slots=True)
class Fix:
    """One way to mend a problem; the command may hold ``{fact}`` placeholders."""

    text: str
    command: str | None
    when: tuple[Test, ...]


@dataclass(frozen=True, slots=True)
class KnownException:
    """A state in which the problem's conditions hold and nothing is wrong."""

    text: str
    when: tuple[Test, ...]


@dataclass(frozen=True, slots=True)
class Signature:
    """How a problem shows in a text: RE2 patterns, each searched within one logical line."""

    all: tuple[str, ...] = ()
    """Each must match some line, not necessarily the same one."""
    any: tuple[str, ...] = ()
    """Where there are such, one of them must match some line."""
    none: tuple[str, ...] = ()
    """No line may match one of these."""
    message: str = ""


@dataclass(frozen=True, slots=True)
class Problem:
    """One rule file."""

    id: str
    title: str
    severity: Severity
    subject: str
    affects: Affects | None
    consequences: tuple[str, ...]
    when: tuple[Test, ...]
    require: tuple[Test, ...]
    message: str
    signatures: tuple[Signature, ...]
    symptom: bool
    cause: str
    fixes: tuple[Fix, ...]
    references: tuple[str, ...]
    evidence_level: str
    evidence_date: str
    known_exceptions: tuple[KnownException, ...]
    path: str
    examples: Mapping[str, Any] = field(default_factory=dict)

    @property
    def confirmed(self) -> bool:
        """Whether the evidence is more than a report; reports alone never change a verdict."""
        return self.evidence_level != "report"
