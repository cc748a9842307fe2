"""Downloading ahead: uv fills its cache with what will be needed, beside other work."""

from __future__ import annotations

import shutil
import sys
import threading
from dataclasses import replace
from typing import TYPE_CHECKING

from sgldoctor.errors import SgldoctorError
from sgldoctor.install.execute import interpreter, lockfile
from sgldoctor.install.execute.lockfile import Lock, place_of
from sgldoctor.install.execute.reporter import Held

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from sgldoctor.install.execute.engine import Engine
    from sgldoctor.install.execute.folder import Folder
    from sgldoctor.install.plan import Environment

_ROOM = 30e9
"""Bytes that must be free before anything is fetched whose size nobody has asked for yet: three times the largest
environment that was measured (10 GB, sglang 0.5.9)."""
_NICE = 5
"""How much further than the step before it what a later step needs stands back; of 0, 5 and 10 the one with which
torch came first and neither processor of two was idle (sglang 0.5.9)."""
_NAME = "ahead-{}"


class Ahead:
    """The files of a lock on their way into uv's cache. What fails here fails again where it counts.

    Attributes:
        told: hears of the packages.
        lock: what is there; nothing before all of it is.
    """

    def __init__(
        self, step: str, make: Callable[[Engine], Lock], python: list[str], engine: Engine, folder: Folder
    ) -> None:
        """Begin to make the lock of a step and to fetch its files, in a thread."""
        self.told = Held()
        self.lock = Lock({}, {})
        self._engine = replace(engine, _children=[])
        self._done, self._asked = threading.Event(), threading.Event()
        self._thread = threading.Thread(
            target=self._fetch, args=(_NAME.format(step), make, python, folder), daemon=True
        )
        self._thread.start()

    def _fetch(self, name: str, make: Callable[[Engine], Lock], python: list[str], folder: Folder) -> None:
        scratch = folder.file(name)
        try:
            # uv holds what a lock says of Python against the interpreter that runs, not against the one that is meant.
            lock = replace(make(self._engine), header=None)
            path = lockfile.write(lock, folder.file(f"pylock.{name}.toml"))
            links = "hardlink" if self._engine.cache.stat().st_dev == folder.path.stat().st_dev else "symlink"
            command = ["uv", "pip", "install", "--target", str(scratch), "--link-mode", links, *python, *exactly(path)]
            self._engine.run_cached(command, self.told, folder.file(f"{name}.log"))
            self.lock = lock
        except (SgldoctorError, OSError):
            pass
        finally:
            self._done.set()
            self._asked.wait()  # what removes thousands of links slows down what others write
            shutil.rmtree(scratch, ignore_errors=True)

    def wait(self) -> None:
        """Wait until everything is there, or cannot be had."""
        self._done.wait()
        self._asked.set()

    def stop(self) -> None:
        """Give up what has not been downloaded."""
        self._engine.stop()
        self._asked.set()
        self._thread.join()

    def split(self, lock: Lock) -> list[Lock]:
        """Return a lock in two, what is there and the rest; one that is empty is left out.

        uv asks the index about every file of a command where one is missing, and an index may call the others stale.
        """
        places = {place_of(row) for row in self.lock.packages.values()}
        there = {name for name, row in lock.packages.items() if place_of(row) in places}
        return [part for part in (lock.part(there), lock.part(lock.packages.keys() - there)) if part.packages]


def has_room(engine: Engine, folder: Folder) -> bool:
    """Return whether so much is free that files may be fetched before their sizes are known."""
    return min(engine.system.disk(str(place))["free"] for place in (engine.cache, folder.path)) >= _ROOM


def first_step(environment: Environment, engine: Engine, folder: Folder) -> Ahead | None:
    """Fetch what the first step of a plan names, while the plan is resolved; None where that could do harm.

    Only wheels: what must be built waits. They are fetched by a lock, since uv takes nothing from its cache whose hash
    it has not seen, and keeps what a lock names apart from what a requirement names.
    """
    if not engine.keeps or not has_room(engine, folder):
        return None
    step, version = environment.steps[0], environment.python
    python = ["--python", sys.executable, "--python-version", version] if "/" not in version else ["--python", version]

    def make(engine: Engine) -> Lock:
        name = _NAME.format(step.name)
        wanted, path = folder.write(f"{name}.txt", step.requirements), folder.file(f"pylock.{name}.toml")
        index = ["--index", step.index, "--index-strategy", "unsafe-best-match"] if step.index else []
        command = ["uv", "pip", "compile", str(wanted), *python, *index, "--only-binary", ":all:", "--quiet"]
        engine.run_cached([*command, "--format", "pylock.toml", "-o", str(path)], Held(), folder.file(f"{name}.log"))
        return lockfile.narrowed(lockfile.read(path), interpreter.minor_of(version, engine))

    return Ahead(step.name, make, python, engine, folder)


def step(name: str, lock: Lock, python: str, engine: Engine, folder: Folder, behind: int) -> Ahead | None:
    """Fetch the wheels of a step's lock for an interpreter, behind so many other steps; None where there are none."""
    wheels = lock.part({name for name, row in lock.packages.items() if row.get("wheels")})  # builds wait for torch
    if not engine.keeps or not wheels.packages:
        return None
    return Ahead(name, lambda _: wheels, ["--python", python], replace(engine, nice=_NICE * behind), folder)


def exactly(lock: Path) -> list[str]:
    """Return uv's options for the files of a lock alone."""
    return ["--no-deps", "--preview-features", "pylock", "-r", str(lock)]


def tidy(folder: Folder) -> None:
    """Remove what fetching left in a state folder; the logs stay."""
    name = _NAME.format("*")
    for path in (*folder.state_folder.glob(f"{name}.txt"), *folder.state_folder.glob(f"pylock.{name}.toml")):
        path.unlink()
    for path in folder.state_folder.glob(name):  # a killed run leaves it
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
