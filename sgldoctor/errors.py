"""The one table of exit codes, and the errors that end a command."""

from __future__ import annotations

from enum import IntEnum


class ExitCode(IntEnum):
    """What a command tells its caller; the same for every command and format."""

    OK = 0
    """Nothing at or above ``--fail-on``; or a text explained or benign."""
    FINDINGS = 1
    """Findings at or above ``--fail-on``; or a plan refused."""
    USAGE = 2
    """Wrong usage: unknown option, unknown GPU name, port out of range."""
    CANNOT = 3
    """The doctor could not do its job: missing or unreadable target, snapshot, rules or input file."""
    NOT_JUDGED = 4
    """An error rule that applies could not be judged, and ``--strict`` was given."""
    INSTALL_FAILED = 5
    """An installation step failed."""
    NOT_EXPLAINED = 6
    """``explain`` knows nothing about this text."""


class SgldoctorError(Exception):
    """An error that a user can act on: what is wrong, why, and what to do next."""

    exit_code = ExitCode.CANNOT


class UsageError(SgldoctorError):
    """The command line asks for something that does not exist."""

    exit_code = ExitCode.USAGE


class TargetError(SgldoctorError):
    """The environment to be examined is missing, unreadable, or no environment."""


class SnapshotError(SgldoctorError):
    """A saved snapshot or recording cannot be read."""


class InputError(SgldoctorError):
    """A text to be explained cannot be read."""


class RulesError(SgldoctorError):
    """Rule files hold errors; all of them are listed at once."""

    def __init__(self, errors: list[str]) -> None:
        self.errors = tuple(errors)
        count = len(errors)
        super().__init__("\n".join([f"{count} error{'s' * (count != 1)} in the rules:", *errors]))


class OutputError(SgldoctorError):
    """A report or recording cannot be written."""


def did_you_mean(word: str, known: list[str] | tuple[str, ...], cutoff: float = 0.6) -> str:
    """Return `` Did you mean X?`` for the nearest known word, or an empty string.

    Args:
        word: what was typed.
        known: what there is.
        cutoff: how alike the two must be, from 0 to 1.
    """
    from difflib import get_close_matches  # noqa: PLC0415 - only on the way to an error

    near = get_close_matches(word, known, n=1, cutoff=cutoff)
    return f" Did you mean {near[0]!r}?" if near else ""
