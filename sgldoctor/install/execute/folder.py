"""The folder of an environment: who may write to it, and how far its installation has come."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sgldoctor.errors import OutputError
from sgldoctor.install.execute.errors import InstallFailedError, InstallRefusedError
from sgldoctor.install.plan import STATE
from sgldoctor.system.files import write_text

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

STATE_FILE = "state.json"
LOCK = "pylock.toml"
SCHEMA_VERSION = 1
_LOCK = "lock"


class Folder:
    """One environment's folder, held by this process alone until it is released."""

    def __init__(self, venv: str) -> None:
        try:
            self.path = Path(os.path.abspath(venv))  # what is shown and stored holds from any current folder
        except FileNotFoundError:
            raise InstallRefusedError("The current folder is gone. Go to one that exists.") from None
        self._made: list[Path] = []
        self._descriptor = -1

    @property
    def state_folder(self) -> Path:
        """Where the state lies."""
        return self.path / STATE

    def file(self, name: str) -> Path:
        """Return a file of the state folder."""
        return self.state_folder / name

    def claim(self, *, resume: bool) -> None:
        """Take the folder: it is absent, or empty, or holds an installation to be resumed.

        Raises:
            InstallRefusedError: it holds something else, cannot be written to, or another run holds it.
        """
        try:
            self._claim(resume=resume)
        except OSError as error:
            self.abandon()
            raise InstallRefusedError(
                f"Cannot make an environment in {self.path}: {error.strerror}. Name another folder with --venv."
            ) from None
        except InstallRefusedError:
            self.abandon()
            raise

    def _claim(self, *, resume: bool) -> None:
        self._refuse_foreign(resume=resume)
        for folder in (*reversed(self.path.parents), self.path, self.state_folder):
            with suppress(FileExistsError):
                folder.mkdir()
                self._made.append(folder)
        self._lock()
        if not resume and self.file(STATE_FILE).exists():
            raise InstallRefusedError(
                f"{self.path} holds an installation that sgldoctor began. "
                "Go on with --resume, or name another folder with --venv."
            )

    def _refuse_foreign(self, *, resume: bool) -> None:
        if not os.path.lexists(self.path):
            return
        if not self.path.is_dir():
            raise InstallRefusedError(f"{self.path} is no folder. Name another one with --venv.")
        names = os.listdir(self.path)
        own = (self.state_folder / _LOCK).exists()
        begun = self.file(STATE_FILE).exists()
        if names and not (begun or (own and names == [STATE])):
            hint = "It holds no state of sgldoctor, so there is nothing to resume; name" if resume else "Name"
            raise InstallRefusedError(f"{self.path} is not empty. {hint} another folder with --venv.")

    def _lock(self) -> None:
        try:
            self._descriptor = lock(self.state_folder)
        except InstallRefusedError:
            self._made = []  # what is there belongs to the run that holds it
            raise

    def load(self) -> dict[str, Any]:
        """Return the state of an installation that was begun here, or an empty one.

        Raises:
            InstallRefusedError: the state cannot be read.
        """
        return read_state(self.path) or {}

    def save(self, state: dict[str, Any]) -> None:
        """Write the state; whoever reads it sees the old one or the new one.

        Raises:
            InstallFailedError: it cannot be written.
        """
        try:
            write_text(self.file(STATE_FILE), json.dumps({"schema_version": SCHEMA_VERSION, **state}, indent=1) + "\n")
        except OutputError as error:
            raise InstallFailedError(str(error)) from None

    def write(self, name: str, lines: Iterable[str]) -> Path:
        """Write lines to a file of the state folder and return its path.

        Raises:
            InstallFailedError: it cannot be written.
        """
        try:
            write_text(self.file(name), "".join(f"{line}\n" for line in lines))
        except OutputError as error:
            raise InstallFailedError(str(error)) from None
        return self.file(name)

    def abandon(self) -> None:
        """Take back what `claim` made; what was there before stays."""
        if self.state_folder in self._made:
            shutil.rmtree(self.state_folder, ignore_errors=True)
        for folder in reversed(self._made):
            with suppress(OSError):
                folder.rmdir()
        self.release()

    def clean(self) -> None:
        """Remove what was installed; the folder itself goes where this run or the one before it made it."""
        for entry in self.path.iterdir():
            if entry.is_dir() and not entry.is_symlink():
                shutil.rmtree(entry, ignore_errors=True)
            else:
                entry.unlink(missing_ok=True)
        with suppress(OSError):
            self.path.rmdir()
        self.release()

    def release(self) -> None:
        """Let others have the folder."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


def lock(folder: Path) -> int:
    """Take a state folder for this process and return the descriptor whose end lets it go.

    Raises:
        InstallRefusedError: another process holds it.
        OSError: it cannot be written to.
    """
    path = folder / _LOCK
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            holder = os.pread(descriptor, 32, 0).decode("ascii", "replace").strip()
            os.close(descriptor)
            who = f" (process {holder})" if holder else ""
            raise InstallRefusedError(
                f"Another sgldoctor{who} is at work in {folder.parent}. Wait for it, or name another folder."
            ) from None
        if os.path.exists(path) and os.fstat(descriptor).st_ino == os.stat(path).st_ino:
            break
        os.close(descriptor)  # the run before it has just given the folder up
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
    return descriptor


@contextmanager
def held(folder: Path) -> Iterator[None]:
    """Hold a state folder of an environment that exists; it is made where it is missing.

    Raises:
        InstallRefusedError: another process holds it, or it cannot be written to.
    """
    try:
        folder.mkdir(exist_ok=True)
        descriptor = lock(folder)
    except OSError as error:
        raise InstallRefusedError(f"Cannot write to {folder}: {error.strerror}.") from None
    try:
        yield
    finally:
        os.close(descriptor)


def read_state(venv: str | Path) -> dict[str, Any] | None:
    """Return the state in an environment's folder, or None where no installation was begun.

    Raises:
        InstallRefusedError: there is a state that cannot be read.
    """
    path = Path(venv) / STATE / STATE_FILE
    try:
        state = json.loads(path.read_text("utf-8"))
        if state["schema_version"] != SCHEMA_VERSION:
            raise ValueError(f"it was written by another version ({state['schema_version']})")  # noqa: TRY301 - one answer
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InstallRefusedError(
            f"The state in {path} cannot be used: {error}. Remove the folder, or name another one with --venv."
        ) from None
    return dict(state)
