"""Loading libraries into a process in the making, held against what the real loader does."""

from __future__ import annotations

import sys
from pathlib import Path

from sgldoctor.probes.loader import Failure, Process
from sgldoctor.system import RealSystem
from tests.binary.libraries import really_load


def process(library_path: str = "") -> Process:
    system = RealSystem()
    return Process(system, system.real_path(sys.executable), library_path)


def told(failure: Failure) -> str:
    """Return how the loader's message begins for a failure."""
    return {
        "library": f"{failure.name}: cannot open shared object file",
        "file": f"{failure.library or failure.needed_by}: ",
        "version": f"{failure.library}: version `{failure.name}' not found (required by {failure.needed_by})",
        "symbol": f"{failure.needed_by}: undefined symbol: {failure.name}",
    }[failure.kind]


def agreed(folder: Path, *loads: Path, library_path: str = "", shared: tuple[Path, ...] = ()) -> list[Failure]:
    """Load one after the other, here and for real; return what stands in the way of the last, once both agree."""
    real = really_load(folder, *loads, library_path=library_path, shared=shared)
    model = process(library_path)
    failures: list[Failure] = []
    for path in loads:
        assert failures == []
        failures = model.load(str(path), for_all=path in shared)
    if real.error is None:
        assert failures == []
        where = model.where()  # the child's own modules bring libraries of the system
        ours = {name: path for name, path in real.where.items() if name in where or path.startswith(str(folder))}
        assert {name: where.get(name) for name in ours} == ours
    else:
        assert failures
        # A library of which only a 32-bit one is there is missing too.
        assert real.error.replace("wrong ELF class", "cannot open shared object file").startswith(told(failures[0]))
    return failures


def symbols(failures: list[Failure]) -> list[tuple[str, str]]:
    return [(Path(failure.needed_by).name, failure.name) for failure in failures if failure.kind == "symbol"]
