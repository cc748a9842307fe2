"""Would a library load in the environment that it lies in: what its loader would not find."""

from __future__ import annotations

import re
import sys
from functools import lru_cache
from pathlib import Path

from sgldoctor.probes.loader import Failure, Process
from sgldoctor.probes.torch_import import for_this_python, load_torch
from sgldoctor.system import RealSystem

_FOLDER = re.compile(r"^(.*/(?:site|dist)-packages)(?:/|$)")
_TORCH = ("libtorch", "libc10")
_LIB = re.compile(r"^(.*)/lib(?:64)?/python(\d\.\d+)/(?:site|dist)-packages$")


def loaded(path: str) -> tuple[list[Failure], dict[str, str]] | None:
    """Return what stands in the way of loading a library after torch, and the file behind each name then loaded.

    None where nobody can say: for another Python's module, and for an extension of torch outside an environment.

    Args:
        path: the file; the folder site-packages above it tells the environment, else this doctor's own Python does.

    Raises:
        OSError: a file cannot be read.
    """
    absolute = str(Path(path).absolute())
    match = _FOLDER.match(absolute)
    folder = match[1] if match else None
    layout = _LIB.match(folder or "")
    if not for_this_python(path, layout[2] if layout else None):
        return None
    system = RealSystem()
    if folder is None and any(name.startswith(_TORCH) for name in system.library(absolute).get("needed", ())):
        return None
    process = _process(folder, layout[1] if layout else None)
    failures = process.load(absolute)
    if all(failure.kind == "symbol" for failure in failures):
        # Some modules ask for what torch exports without naming torch: whoever imports them has loaded it for all.
        libraries = sorted({system.real_path(file) for file in process.where().values()})
        missing = system.unresolved(system.real_path(absolute), libraries) if failures else []
        failures = [failure for failure in failures if failure.name in missing]
    return failures, process.where()


@lru_cache(maxsize=4)
def _process(folder: str | None, prefix: str | None) -> Process:
    """Return a process of the environment's Python with its torch loaded, as far as both are there."""
    system = RealSystem()
    candidates = [Path(prefix, "bin", name) for name in ("python", "python3")] if prefix else []
    python = next((str(path) for path in candidates if path.exists()), sys.executable)
    process = Process(system, system.real_path(python), system.environ().get("LD_LIBRARY_PATH", ""))
    if folder and system.kind(f"{folder}/torch") == "dir":
        load_torch(system, process, [folder], f"{folder}/torch")
    return process
