"""Which findings of a check are mended by changing packages, and by which commands. Pure."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from typing import TYPE_CHECKING

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

from sgldoctor.rules.model import Severity

if TYPE_CHECKING:
    from sgldoctor.report.model import Finding, Report
    from sgldoctor.snapshot import Snapshot

_AGAINST_PINS = frozenset({
    "torch-differs-from-pin", "kernel-differs-from-pin", "flashinfer-differs-from-pin", "kernel-assertion-unmet",
})  # fmt: skip
"""Where one of these follows from a problem, a cure that keeps what is installed would leave the release without it."""

_PINS = "Install this sglang release again with its pins, which belong together."
_MOVES_TORCH = frozenset({"torch", "sglang", "torchvision", "torchaudio"})


@dataclass(frozen=True, slots=True)
class Cure:
    """One finding and the commands that mend it.

    Attributes:
        finding: the rule's id.
        message: what is wrong.
        text: what the commands do.
        commands: as check shows them, in their order; the words of each.
        keeps_torch: whether torch has nothing to do with it, so that it must stay as it is.
    """

    finding: str
    message: str
    text: str
    commands: tuple[tuple[str, ...], ...]
    keeps_torch: bool


def cures(report: Report) -> list[Cure]:
    """Return the cures of the errors and warnings that changing packages mends, roots alone, errors first."""
    broken = {finding.explained_by for finding in report.found if finding.id in _AGAINST_PINS}
    found = (cure_of(finding, report.snapshot, pins=finding.id in broken) for finding in roots(report))
    return [cure for cure in found if cure]


def roots(report: Report) -> list[Finding]:
    """Return the errors and warnings that no other finding explains, errors first."""
    return [
        finding
        for finding in report.found
        if finding.severity in {Severity.ERROR, Severity.WARNING} and not finding.explained_by and finding.confirmed
    ]


def cure_of(finding: Finding, snapshot: Snapshot, *, pins: bool = False) -> Cure | None:
    """Return the first way that check names, or None where it is no change of packages.

    Removals belong to the installation that follows them; what follows the installation are other ways.

    Args:
        finding: what is to be mended.
        snapshot: knows the commands of the environment.
        pins: whether the release's own pins are broken by it too, so that they are what is brought back.
    """
    install, uninstall = (
        tuple(shlex.split(str(snapshot.value(f"command.{name}") or ""))) for name in ("install", "uninstall")
    )
    commands: list[tuple[str, ...]] = []
    text = ""
    for fix in finding.fixes:
        words = _words(fix.command)
        removes = bool(uninstall) and words[: len(uninstall)] == uninstall
        if not removes and not (install and words[: len(install)] == install):
            break
        text = text or fix.text
        commands.append(words)
        if not removes:
            break
    if not commands:
        return None
    if pins and (release := _words(snapshot.text("command.install_sglang"))):
        commands = [*(words for words in commands if words[: len(uninstall)] == uninstall), release]
        text = _PINS
    named = {name for words in commands for word in words if (name := _name(word))}
    return Cure(finding.id, finding.message, text, tuple(commands), not named & _MOVES_TORCH)


def _words(command: str | None) -> tuple[str, ...]:
    try:
        return tuple(shlex.split(command or ""))
    except ValueError:
        return ()


def _name(word: str) -> str | None:
    """Return the package that a word of a command names, or None."""
    if word.startswith("-") or not re.match(r"[A-Za-z0-9]", word):
        return None
    try:
        return canonicalize_name(Requirement(word).name)
    except InvalidRequirement:
        return None
