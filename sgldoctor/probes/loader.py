"""What the dynamic loader would do, worked out from the files: ld.so(8), dlopen(3), glibc's elf/dl-load.c.

Left out: LD_AUDIT, glibc-hwcaps folders, $LIB and $PLATFORM, hard links, and symbol versions of single
symbols (versions are held against what a library defines, as the loader does before it binds symbols).
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from posixpath import basename, dirname, join, normpath
from typing import TYPE_CHECKING, Any

from sgldoctor.binary.symbols import OF_TORCH
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
# Functions of the CUDA libraries, of which another version may have been found. All symbols of torch's own libraries
# would take 0.2 s; those that the wheel itself brings belong together.
_CUDA_SYMBOL = r"^(?:nccl|cudnn|cublas|cusparse|cusolver|cufft|curand|cufile|nvshmem|nvrtc|nvJitLink)"
_ORIGIN = re.compile(r"\$(?:ORIGIN(?!\w)|\{ORIGIN\})")
_DRIVER_SYMBOL = re.compile(r"^cu[A-Z]")


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a library does not load.

    ``kind`` is ``library`` (a soname that is found nowhere), ``file`` (a file that the loader refuses), ``version`` (a
    symbol version that a library does not define), ``symbol``, or ``module`` (a Python module). ``library`` is where
    the version was looked for.
    """

    kind: str
    name: str
    needed_by: str
    library: str | None = None


@dataclass(slots=True, eq=False)
class Loaded:
    """One library in the process: its path as the loader found it, without links, and who asked for it."""

    path: str
    real: str
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
                found += _folders(step.facts["rpath"], step.path, ":")
            step = step.parent
        return found


def _expanded(text: str, origin: str) -> str:
    return _ORIGIN.sub(lambda _: dirname(origin), text)


def _folders(paths: str | None, origin: str, separators: str) -> list[str]:
    """Return the folders of a search path; an empty part is the current folder."""
    return [_expanded(part, origin) or "." for part in re.split(f"[{separators}]", paths)] if paths else []


class Process:
    """A process in the making: the program, then one library after the other.

    Args:
        system: the machine.
        program: the ELF file of the interpreter.
        library_path: LD_LIBRARY_PATH.

    Attributes:
        thorough: look up every symbol of every library that comes along, not those of CUDA's functions alone; for
            torch's own that takes 0.2 s.

    Raises:
        OSError: the program cannot be read.
    """

    def __init__(self, system: System, program: str, library_path: str) -> None:
        self._system = system
        self._library_path = _folders(library_path, program, ":;")
        self._names: dict[str, Loaded] = {}
        self._paths: dict[str, Loaded] = {}
        self._global: list[Loaded] = []
        self._listings: dict[str, frozenset[str]] = {}
        facts = system.library(program)
        if "problem" in facts:
            raise NotObservableError(f"{program}: {facts['problem']}")
        self.machine = str(facts["machine"])
        self.thorough = False
        self._program = self._caller = Loaded(program, program, facts, None)
        self._paths[program] = self._program
        self._global = [self._program, *self._map_needs(self._program, [])]
        self._caller = next(filter(_is_python, self._program.needs), self._program)

    def preload(self, names: str) -> None:
        """Load what LD_PRELOAD names (paths or sonames); what cannot be loaded is passed over, as the loader does."""
        for name in re.split(r"[\s:]+", names.strip()):
            path = name if "/" in name else self.find(name)
            if path and self._system.kind(path) == "file":
                self.load(path, for_all=True)

    def holds(self, part_of_path: str) -> bool:
        """Return whether a library whose path contains this text is in the process."""
        return any(part_of_path in path for path in self._paths)

    def find(self, name: str) -> str | None:
        """Return the file that a program would get for a soname."""
        found = self._names.get(name)
        return found.path if found else self._search(name, self._program)

    def where(self) -> dict[str, str]:
        """Return the file behind each name by which a library is in the process."""
        return {name: item.path for name, item in self._names.items()}

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
        if present := self._paths.get(real):
            if for_all:
                self._serve_all([present, *self._map_needs(present, [])])
            return []
        facts = self._facts(real)
        if "problem" in facts:
            return [Failure("file", str(facts["problem"]), path)]
        before = (dict(self._names), dict(self._paths))
        first = Loaded(path, real, facts, self._caller)
        self._add(first, path)
        failures: list[Failure] = []
        added = [first, *self._map_needs(first, failures)]
        new = [item for item in added if item.real not in before[1]]
        failures += [failure for item in new for failure in self._missing_versions(item)]
        if failures:
            failures += self._missing_symbols(first, added, OF_TORCH)
        else:
            for item in _in_order_of_binding(new):
                failures += self._missing_symbols(item, added, "" if item is first or self.thorough else _CUDA_SYMBOL)
        if failures:
            self._names, self._paths = before
        elif for_all:
            self._serve_all(added)
        return failures

    def _serve_all(self, items: list[Loaded]) -> None:
        self._global += [item for item in items if item not in self._global]

    def _facts(self, path: str) -> dict[str, Any]:
        if self._system.kind(path) in {"dir", "other"}:
            return {"problem": "it is no file"}
        facts = self._system.library(path)
        if "problem" not in facts and facts["machine"] != self.machine:
            return {"problem": f"it was built for {facts['machine']}, not for {self.machine}"}
        return facts

    def _add(self, item: Loaded, name: str) -> None:
        self._paths[item.real] = item
        for known in (name, item.facts["soname"]):
            if known:
                self._names.setdefault(known, item)

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
        name = _expanded(name, requester.path)
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
        item = Loaded(path, real, facts, requester)
        self._add(item, name)
        return item

    def _search(self, name: str, requester: Loaded) -> str | None:
        """Return the file for a soname: RPATH, LD_LIBRARY_PATH, RUNPATH, the cache, the default folders."""
        if "/" in name:
            return name if self._system.kind(name) == "file" else None
        runpath = _folders(requester.facts["runpath"], requester.path, ":")
        for folder in (*requester.rpaths(), *self._library_path, *runpath):
            if path := self._usable(folder, name):
                return path
        try:
            cached = self._system.cached_libraries(_CACHE, name, self.machine)
        except OSError:  # no cache, as in an image that never ran ldconfig: the loader goes on to the folders
            cached = []
        if cached and (path := self._usable(dirname(cached[0]), basename(cached[0]))):
            return path
        return next(filter(None, (self._usable(f, name) for f in _DEFAULT_FOLDERS.get(self.machine, ()))), None)

    def _usable(self, folder: str, name: str) -> str | None:
        """Return the file in a folder, unless it is missing, may not be opened, or is for another machine."""
        path = join(folder, name)
        if folder not in self._listings:
            try:
                self._listings[folder] = frozenset(self._system.list_dir(folder))
            except OSError:
                self._listings[folder] = frozenset()
        kind = self._system.kind(path) if name in self._listings[folder] else None
        if kind in {None, "unreadable"}:
            return None
        real = self._system.real_path(path)
        try:
            machine = self._system.library(real).get("machine", self.machine) if kind == "file" else self.machine
        except PermissionError:
            return None
        if machine != self.machine:
            return None
        tidy = normpath(path)  # which is another file where a link stands before ".."
        return tidy if tidy.startswith("/") and self._system.real_path(tidy) == real else real

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
        reach = (*self._global, *closure)
        others = dict.fromkeys(other.real for other in (*item.needs, *reach) if other is not item)
        missing = self._system.unresolved(item.real, list(others), pattern)
        if DRIVER not in self._names and any(DRIVER in other.facts["needed"] for other in reach):
            missing = [name for name in missing if not _DRIVER_SYMBOL.match(name)]
        return [Failure("symbol", name, item.path) for name in missing]


def _is_python(item: Loaded) -> bool:
    return basename(item.path).startswith("libpython")


def _in_order_of_binding(items: list[Loaded]) -> list[Loaded]:
    """Return libraries in the order in which the loader binds their symbols: what they need first, the first one last.

    As glibc's `_dl_sort_maps_dfs` does, which 2.35 brought.
    """
    order: dict[Loaded, None] = {}
    entered = set()
    for item in reversed(items):
        stack = [(item, iter(item.needs))] if item not in entered else []
        entered.add(item)
        while stack:
            here, needs = stack[-1]
            need = next((need for need in needs if need in items and need not in entered), None)
            if need is None:
                order[here] = None
                stack.pop()
            else:
                entered.add(need)
                stack.append((need, iter(need.needs)))
    return [item for item in order if item is not items[0]] + items[:1]
