"""Long commands: their lines as they come, a time-out, and no child that outlives the doctor."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

# PR_SET_PDEATHSIG (1): the kernel kills the child when the thread that started it is gone, however it went.
# A session is a scheduling group of its own on many kernels (sched(7), autogroup): nice alone says nothing to others.
_GUARD = """
import ctypes, os, sys
ctypes.CDLL(None).prctl(1, 9)
parent, nice = int(sys.argv[1]), int(sys.argv[2])
if os.getppid() != parent:
    os._exit(1)
if nice:
    os.nice(nice)
    try:
        with open("/proc/self/autogroup", "w") as file:
            file.write(str(nice))
    except OSError:
        pass
os.execvp(sys.argv[3], sys.argv[3:])
"""
_PATIENCE = 5.0
"""Seconds that a child has to end when it is asked to."""


class Child:
    """A command that runs; stdout and stderr are one stream of lines."""

    def __init__(self, argv: list[str], *, env: Mapping[str, str], cwd: str | None = None, nice: int = 0) -> None:
        """Start it.

        Args:
            argv: the command.
            env: its variables.
            cwd: its current folder.
            nice: how far it stands back for others where processors are short (Linux).

        Raises:
            OSError: it does not start.
        """
        guard = (
            [sys.executable, "-I", "-S", "-c", _GUARD, str(os.getpid()), str(nice)] if sys.platform == "linux" else []
        )
        self._process = subprocess.Popen(
            [*guard, *argv], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            env=dict(env), cwd=cwd, start_new_session=True, encoding="utf-8", errors="replace",
        )  # fmt: skip
        self.timed_out = False

    def wait(self, on_line: Callable[[str], None], timeout: float) -> int:
        """Return the exit code; every line is handed on as it comes. However this ends, the child has ended too.

        Args:
            on_line: is given each line without its end.
            timeout: seconds; what takes longer is stopped, and `timed_out` says so.
        """
        timer = threading.Timer(timeout, self._expire)
        timer.daemon = True
        timer.start()
        try:
            if self._process.stdout:
                for line in self._process.stdout:
                    on_line(line.rstrip("\r\n"))
            return self._process.wait()
        finally:
            timer.cancel()
            self.stop()
            if self._process.stdout:
                self._process.stdout.close()

    def _expire(self) -> None:
        self.timed_out = True
        self.stop()

    def stop(self) -> None:
        """End the child and what it started, politely first; nothing happens where it has ended."""
        for number, patience in ((signal.SIGTERM, _PATIENCE), (signal.SIGKILL, None)):
            if self._process.poll() is not None:
                return
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, number)
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(patience)
