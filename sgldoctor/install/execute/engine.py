"""uv: where it is, which version, and how it is run."""

from __future__ import annotations

import re
import shlex
import time
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from packaging.version import Version

from sgldoctor.api import explain_text
from sgldoctor.install.execute.errors import InstallFailedError, InstallRefusedError
from sgldoctor.install.execute.reporter import Reporter
from sgldoctor.system.children import Child

if TYPE_CHECKING:
    from collections.abc import Callable

    from sgldoctor.system import Completed, System

OLDEST = Version("0.12")
"""Before it uv takes pre-releases of requirements for none, and silently installs an old sglang."""
STEP_TIMEOUT = 4 * 3600.0
"""Seconds for one call of the installer; what stalls is given up much earlier by uv itself (UV_HTTP_TIMEOUT)."""
ATTEMPTS = 2
"""How often a call is made that failed for what the network may cure; uv itself repeats each request."""

_PAUSE = 3.0
_TRANSIENT = re.compile(
    r"error sending request|timed? ?out|[Cc]onnection (?:reset|closed|refused|error)|"
    r"HTTP status server error|end of file before message|ReadTimeout|ConnectTimeout|IncompleteRead"
)
_UNITS = {"B": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30}
_DOWNLOADING = re.compile(r"^\s*Downloading (?P<name>[\w.-]+) \((?P<size>[\d.]+)(?P<unit>B|KiB|MiB|GiB)\)")
_BUILDING = re.compile(r"^\s*Building (?P<name>[\w.-]+)")
_ARRIVED = re.compile(r"^\s*(?:Downloaded|Built) (?P<name>[\w.-]+)")
_TAIL = 60


@dataclass
class Engine:
    """uv on this machine.

    Attributes:
        system: who runs short commands.
        uv: its path.
        environment: the variables that every child gets.
        nice: how far what it runs stands back for others.
    """

    system: System
    uv: str
    environment: dict[str, str]
    nice: int = 0
    _children: list[Child] = field(default_factory=list)
    _stopped: bool = False

    @classmethod
    def find(cls, system: System) -> Engine:
        """Return the engine on this machine.

        Raises:
            InstallRefusedError: uv is missing, or too old.
        """
        from uv import find_uv_bin  # noqa: PLC0415 - only an installation needs it

        try:
            path = str(find_uv_bin())
        except FileNotFoundError:
            raise InstallRefusedError("uv is missing. Install it beside sgldoctor: pip install uv") from None
        environment = dict(system.environ())
        for name in ("VIRTUAL_ENV", "CONDA_PREFIX", "PYTHONHOME", "PYTHONPATH", "PYTHONSTARTUP"):
            environment.pop(name, None)  # the environment is always named
        environment |= {"UV_NO_PROGRESS": "1", "NO_COLOR": "1", "PIP_NO_INPUT": "1", "PIP_PROGRESS_BAR": "off"}
        engine = cls(system, path, environment)
        if engine.version < OLDEST:
            raise InstallRefusedError(
                f"uv {engine.version} is too old: before {OLDEST} it silently installs an old sglang. "
                f"Update it: pip install --upgrade 'uv>={OLDEST}'"
            )
        return engine

    @cached_property
    def version(self) -> Version:
        """The version of uv."""
        return Version(self.ask(["--version"]).out.split()[1])

    @cached_property
    def _cache(self) -> Path:
        return Path(self.ask(["cache", "dir"]).out.strip())

    @property
    def cache(self) -> Path:
        """The folder in which uv keeps what it downloads, or the nearest one above it that exists."""
        return Path(self.system.nearest_existing(str(self._cache)))

    @property
    def keeps(self) -> bool:
        """Whether uv keeps what it downloads; told not to, it names a new folder for each call."""
        return not self._cache.name.startswith(".tmp")

    def ask(self, arguments: list[str], timeout: float = 60.0) -> Completed:
        """Return how a short call of uv ended.

        Raises:
            InstallRefusedError: it does not run, or takes too long.
        """
        try:
            return self.system.run([self.uv, *arguments], timeout=timeout, env=self.environment)
        except OSError as error:
            raise InstallRefusedError(f"uv does not answer: {error}.") from None

    def run(self, command: list[str], reporter: Reporter, log: Path) -> None:
        """Run an installer's command to its end; the first word `uv` stands for this one.

        Raises:
            InstallFailedError: it failed; the installer's own words are told.
        """
        argv = [self.uv, *command[1:]] if command[0] == "uv" else command
        for attempt in range(1, ATTEMPTS + 1):
            code, tail, expired = self._attempt(argv, reporter, log)
            if code == 0:
                return
            text = "\n".join(tail)
            if expired:
                raise InstallFailedError(f"The installer was stopped after {STEP_TIMEOUT / 3600:g} hours.")
            if attempt < ATTEMPTS and _TRANSIENT.search(text):
                reporter.note("The package index did not answer in full; trying once more.")
                time.sleep(_PAUSE)
                continue
            raise InstallFailedError(failure(text))

    def run_cached(self, command: list[str], reporter: Reporter, log: Path) -> None:
        """Run an installer's command; what uv has is taken without asking an index, which may call it stale.

        Raises:
            InstallFailedError: it failed; the installer's own words are told.
        """
        if command[0] == "uv":
            try:
                self.run([*command, "--offline"], Reporter(), log)
            except InstallFailedError:
                pass  # not all of it is there
            else:
                return
        self.run(command, reporter, log)

    def _attempt(self, argv: list[str], reporter: Reporter, log: Path) -> tuple[int, list[str], bool]:
        tail: list[str] = []
        hear = listener(reporter)
        with log.open("a", encoding="utf-8", buffering=1) as file:
            started = time.monotonic()
            file.write(f"$ {shlex.join(argv)}\n")

            def on_line(line: str) -> None:
                file.write(f"{time.monotonic() - started:7.1f} {line}\n")
                tail.append(line)
                del tail[:-_TAIL]
                hear(line)

            if self._stopped:
                raise InstallFailedError("it was stopped")
            child = Child(argv, env=self.environment, nice=self.nice)
            self._children.append(child)
            try:
                return child.wait(on_line, STEP_TIMEOUT), tail, child.timed_out
            finally:
                self._children.remove(child)

    def stop(self) -> None:
        """End whatever runs, and let nothing more begin."""
        self._stopped = True
        for child in list(self._children):
            child.stop()


def listener(reporter: Reporter) -> Callable[[str], None]:
    """Return what turns uv's lines into progress."""

    def hear(line: str) -> None:
        if match := _DOWNLOADING.match(line):
            reporter.downloading(match["name"], int(float(match["size"]) * _UNITS[match["unit"]]))
        elif match := _BUILDING.match(line):
            reporter.downloading(match["name"], None)
        elif match := _ARRIVED.match(line):
            reporter.arrived(match["name"])

    return hear


_HINTS = (
    (re.compile(r"No space left on device|os error 28|Disk quota exceeded"), "The disk is full: make room."),
    (re.compile(r"[Hh]ash mismatch|DO NOT MATCH THE HASHES"),
     "A file is not the one that the lock names; it was not installed."),
    (_TRANSIENT, "The package index did not answer."),
)  # fmt: skip


def failure(text: str) -> str:
    """Return an installer's error for a reader: what it means where that is known, then its own words."""
    hint = next((hint for pattern, hint in _HINTS if pattern.search(text)), None) or _explained(text)
    lines = text.splitlines()
    start = next(
        (i for i, line in enumerate(lines) if re.match(r"\s*(?:error|ERROR|\u00d7)", line)), max(0, len(lines) - 8)
    )
    own = "\n".join(f"  {line.rstrip()}" for line in lines[start : start + 12] if line.strip())
    return "\n".join(part for part in (hint, "The installer says:", own) if part)


def _explained(text: str) -> str | None:
    """Return what `explain` says of an installer's error: the cause and the first command; None: it is not known."""
    explanation = explain_text(text)
    if not explanation.first:
        return None
    match = explanation.matches[0]
    command = next((fix.command for fix in match.fixes if fix.command), None)
    more = f" Try: {command}" if command else ""
    return f"{(match.message or match.title).rstrip('.')}.{more}\nMore: sgldoctor rules show {match.id}"
