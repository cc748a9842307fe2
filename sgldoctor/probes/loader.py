"""What the dynamic loader would do, worked out from the files: ld.so(8), dlopen(3), glibc's elf/dl-load.c.

Left out: LD_PRELOAD, LD_AUDIT, glibc-hwcaps folders and symbol versions of single symbols (versions are held against
what a library defines, as the loader does before it binds symbols).
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from posixpath import dirname, join, normpath
from typing import TYPE_CHECKING, Any

from sgldoctor.system import NotObservableError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sgldoctor.system import System

DRIVER = "libcuda.so.1"
_CACHE = "/etc/ld.so.cache"
_DEFAULT_FOLDERS = {
    "x86_64": ("/lib/x86_64-linux-gnu", "/usr/lib/x86_64-linux-gnu", "/lib64", "/usr/lib64", "/lib", "/usr/lib"),
    "aarch64": ("/lib/aarch64-linux-gnu", "/usr/lib/aarch64-linux-gnu", "/lib64", "/usr/lib64", "/lib", "/usr/lib"),
}
# Mangled names of torch's namespaces: c10, at, torch, caffe2.
TORCH_SYMBOL = r"^_Z.*(?:3c10|2at|5torch|6caffe2)\d"
# Functions of the CUDA libraries, of which another version may have been found. All symbols of torch's own libraries
# would take 0.2 s; those that the wheel itself brings belong together.
_CUDA_SYMBOL = r"^(?:nccl|cudnn|cublas|cusparse|cusolver|cufft|curand|cufile|nvshmem|nvrtc|nvJitLink)"
_DRIVER_SYMBOL = re.compile(r"^cu[A-Z]")


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a library does not load.

    ``kind`` is ``library`` (a soname that is found nowhere), ``file`` (a file that the loader refuses), ``version`` (a
    symbol version that a library does not define) or ``symbol``. ``library`` is where the version was looked for.
    """

    kind: str
    name: str
    needed_by: str
    library: str | None = None


@dataclass(slots=True)
class Loaded:
    """One library in the process."""

    path: str
    facts: dict[str, Any]
    parent: Loaded | None
    needs: list[Loaded] = field(default_factory=list)

    def rpaths(self) -> list[str]:
        """Return RPATH of this library and of those that led to it; a RUNPATH puts the library's own out of force."""
        if self.facts["runpath"] is not None:
            return []
        found: list[str] = []
        step: Loaded | None = self
        while step:
            if step.facts["runpath"] is None:
                found += _expanded(step.facts["rpath"], step.path)
            step = step.parent
        return found


def _expanded(paths: str | None, origin: str) -> list[str]:
    folder = dirname(origin)
    parts = [part for part in (paths or "").split(":") if part]
    return [normpath(part.replace("${ORIGIN}", folder).replace("$ORIGIN", folder)) for part in parts]


class Process:
    """A process in the making: the program, then one library after the other.

    Args:
        system: the machine.
        program: the ELF file of the interpreter.
        library_path: LD_LIBRARY_PATH.

    Raises:
        OSError: the program cannot be read.
    """

    def __init__(self, system: System, program: str, library_path: str) -> None:
        self._system = system
        self._library_path = [part or "." for part in library_path.split(":")] if library_path else []
        self._names: dict[str, Loaded] = {}
        self._paths: dict[str, Loaded] = {}
        self._global: list[Loaded] = []
        self._folders: dict[str, frozenset[str]] = {}
        facts = system.library(program)
        if "problem" in facts:
            raise NotObservableError(f"{program}: {facts['problem']}")
        self.machine = str(facts["machine"])
        self._program = Loaded(program, facts, None)
        self._paths[program] = self._program
        self._global = [self._program, *self._map_needs(self._program, [])]

    def holds(self, part_of_path: str) -> bool:
        """Return whether a library whose path contains this text is in the process."""
        return any(part_of_path in path for path in self._paths)

    def find(self, name: str) -> str | None:
        """Return the file that a program would get for a soname."""
        found = self._names.get(name)
        return found.path if found else self._search(name, self._program)

    def load(self, path: str, *, for_all: bool = False) -> list[Failure]:
        """Load a library with everything that it needs, as ``dlopen(path, RTLD_NOW)`` does.

        Args:
            path: the file.
            for_all: its symbols serve every library that is loaded later (RTLD_GLOBAL).

        Returns:
            All that stands in the way, in the order in which the loader would meet it; if there is anything, nothing
            was loaded. A missing driver library is passed over: `find` tells of it.

        Raises:
            OSError: a file is damaged in a way of which the loader's verdict cannot be told.
        """
        real = self._system.real_path(path)
        if real in self._paths:
            return []
        facts = self._facts(real)
        if "problem" in facts:
            return [Failure("file", str(facts["problem"]), path)]
        before = (dict(self._names), dict(self._paths))
        first = Loaded(path, facts, None)
        self._add(first, real, path)
        failures: list[Failure] = []
        added = [first, *self._map_needs(first, failures)]
        new = [item for item in added if self._system.real_path(item.path) not in before[1]]
        failures += [failure for item in new for failure in self._missing_versions(item)]
        lost = bool(failures)
        failures += self._missing_symbols(first, added, "" if not lost else TORCH_SYMBOL)
        for item in () if lost else new:
            failures += self._missing_symbols(item, added, _CUDA_SYMBOL)
        if failures:
            self._names, self._paths = before
        elif for_all:
            self._global += [item for item in added if item not in self._global]
        return failures

    def _facts(self, path: str) -> dict[str, Any]:
        facts = self._system.library(path)
        if "problem" not in facts and facts["machine"] != getattr(self, "machine", facts["machine"]):
            return {"problem": f"it was built for {facts['machine']}, not for {self.machine}"}
        return facts

    def _add(self, item: Loaded, real: str, *names: str | None) -> None:
        self._paths[real] = item
        for name in (*names, item.facts["soname"]):
            if name:
                self._names.setdefault(name, item)

    def _map_needs(self, first: Loaded, failures: list[Failure]) -> list[Loaded]:
        """Map what a library needs, and what that needs, breadth first; return all of it, mapped now or before."""
        order: list[Loaded] = [first]
        for item in order:
            fresh = not item.needs
            for name in item.facts["needed"] if fresh else ():
                found = self._need(name, item, failures)
                if found:
                    item.needs.append(found)
            order += [need for need in item.needs if need not in order]
        return order[1:]

    def _need(self, name: str, requester: Loaded, failures: list[Failure]) -> Loaded | None:
        if found := self._names.get(name):
            return found
        path = self._search(name, requester)
        if path is None:
            if name != DRIVER:
                failures.append(Failure("library", name, requester.path))
            return None
        real = self._system.real_path(path)
        if found := self._paths.get(real):
            self._names[name] = found
            return found
        facts = self._facts(real)
        if "problem" in facts:
            failures.append(Failure("file", f"{name}: {facts['problem']}", requester.path, path))
            return None
        item = Loaded(path, facts, requester)
        self._add(item, real, name)
        return item

    def _search(self, name: str, requester: Loaded) -> str | None:
        """Return the file for a soname: RPATH, LD_LIBRARY_PATH, RUNPATH, the cache, the default folders."""
        if "/" in name:
            return name if self._system.kind(name) == "file" else None
        inherited = requester.rpaths()
        if requester.facts["runpath"] is None and requester is not self._program:
            inherited += self._program.rpaths()
        runpath = _expanded(requester.facts["runpath"], requester.path)
        for folder in (*inherited, *self._library_path, *runpath):
            if path := self._usable(folder, name):
                return path
        try:
            cached = self._system.cached_libraries(_CACHE, name, self.machine)
        except OSError:  # no cache, as in an image that never ran ldconfig: the loader goes on to the folders
            cached = []
        for path in cached:
            if self._usable(dirname(path), path.rpartition("/")[2]):
                return path
        return next(filter(None, (self._usable(f, name) for f in _DEFAULT_FOLDERS.get(self.machine, ()))), None)

    def _usable(self, folder: str, name: str) -> str | None:
        """Return the file in a folder, unless it is missing, may not be opened, or is for another machine."""
        path = join(folder, name)
        if folder not in self._folders:
            try:
                self._folders[folder] = frozenset(self._system.list_dir(folder))
            except OSError:
                self._folders[folder] = frozenset()
        if name not in self._folders[folder] or self._system.kind(path) != "file":
            return None
        facts = self._system.library(self._system.real_path(path))
        machine = getattr(self, "machine", None)
        return None if machine and facts.get("machine", machine) != machine else path

    def _missing_versions(self, item: Loaded) -> list[Failure]:
        """Return the symbol versions that a library defines none of; one without any definitions passes."""
        failures = []
        for name, versions in item.facts["versions_needed"].items():
            found = self._names.get(name)
            defined = found.facts["versions_defined"] if found else ()
            if found and defined:
                failures += [Failure("version", v, item.path, found.path) for v in versions if v not in defined]
        return failures

    def _missing_symbols(self, item: Loaded, closure: Iterable[Loaded], pattern: str) -> list[Failure]:
        """Return the symbols matching a pattern that nothing in reach exports."""
        direct = [need.path for need in item.needs]
        rest = [other.path for other in (*self._global, *closure) if other is not item]
        libraries = [self._system.real_path(path) for path in dict.fromkeys((*direct, *rest))]
        missing = self._system.unresolved(self._system.real_path(item.path), libraries, pattern)
        if DRIVER not in self._names:
            missing = [name for name in missing if not _DRIVER_SYMBOL.match(name)]
        return [Failure("symbol", name, item.path) for name in missing]
