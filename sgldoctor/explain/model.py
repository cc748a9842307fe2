"""What a text was explained as: the one value that every format shows."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

from sgldoctor.errors import ExitCode

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sgldoctor.explain.lines import Line
    from sgldoctor.report.model import FilledFix
    from sgldoctor.rules.model import Severity


class Meaning(str, Enum):
    """What a text came to."""

    EXPLAINED = "explained"
    BENIGN = "benign"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Match:
    """One problem that a text shows."""

    id: str
    title: str
    severity: Severity
    cause: str
    message: str
    lines: tuple[Line, ...]
    captures: Mapping[str, str]
    fixes: tuple[FilledFix, ...]
    confirmed: bool | None
    references: tuple[str, ...]
    symptom: bool = False
    """Whether it always follows from something else."""
    possible: tuple[str, ...] = ()
    """Where it is a symptom and the answer: titles of the problems that lead to it."""


@dataclass(frozen=True, slots=True)
class Explanation:
    """What a text shows, the most likely root first."""

    matches: tuple[Match, ...]
    nearest: tuple[tuple[str, str], ...] = ()
    """Id and title of problems of which a part was seen, where nothing was recognised."""
    errors: tuple[Line, ...] = ()
    """The first lines that name an error."""

    @property
    def meaning(self) -> Meaning:
        """Explained where something is wrong, benign where all that was recognised is harmless."""
        if not self.matches:
            return Meaning.UNKNOWN
        return Meaning.BENIGN if self.matches[0].severity.value == "benign" else Meaning.EXPLAINED

    @property
    def first(self) -> str:
        """Id of the problem that is the answer; empty where nothing is wrong, as far as is known."""
        return self.matches[0].id if self.meaning is Meaning.EXPLAINED else ""

    @property
    def exit_code(self) -> ExitCode:
        """The code of the one table."""
        return ExitCode.NOT_EXPLAINED if self.meaning is Meaning.UNKNOWN else ExitCode.OK
