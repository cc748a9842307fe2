"""What `import torch` loads, in torch's own order, so that what comes after it finds those libraries in the process."""

from __future__ import annotations

import re
from dataclasses import dataclass
from fnmatch import fnmatchcase
from posixpath import join
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sgldoctor.probes.loader import Failure, Process
    from sgldoctor.system import System

# torch/__init__.py: if "nvidia/cuda_runtime/lib/libcudart.so" not in _maps: return
_CONDITION = re.compile(r'"([\w/.]*libcudart\.so[\w.]*)" not in _maps')
# _preload_cuda_deps("cuda_nvrtc", "libnvrtc.so.*[0-9]"), and from 2.10 on the call for all: _preload_cuda_deps()
_CALL = re.compile(r'_preload_cuda_(?:deps|lib)\("(\w+)", "(lib[^"]+)"')
_CALL_FOR_ALL = re.compile(r"_preload_cuda_deps\((required=False)?\)")
# "cublas": "libcublas.so.*[0-9]" and from 2.10 on ("cublas", "libcublas.so.*[0-9]")
_TABLE = re.compile(r'"(\w+)"[:,] "(lib[\w-]+\.so\.\*\[0-9\])"')
_CUDA_FOLDER = re.compile(r"^cu\d+$")


@dataclass(frozen=True, slots=True)
class Preloads:
    """The CUDA libraries that this torch loads by itself: after its first library, and where that does not load."""

    condition: str | None
    usual: tuple[tuple[str, str], ...]
    all_required: bool
    rescue: tuple[tuple[str, str], ...]


def preloads(text: str) -> Preloads:
    """Return what a ``torch/__init__.py`` loads by itself, as (folder, file pattern)."""
    condition = _CONDITION.search(text)
    table = tuple(_TABLE.findall(text))
    if condition is None:
        return Preloads(None, (), False, table)
    call = _CALL_FOR_ALL.search(text, condition.end())
    usual = table if call else tuple(_CALL.findall(text, condition.end()))
    return Preloads(condition[1], usual, call is None or call[1] is None, table)


def load_torch(system: System, process: Process, folders: list[str], torch: str) -> list[Failure]:
    """Load what `import torch` loads into a process, and return what stands in the way.

    Args:
        system: the machine.
        process: where it is loaded.
        folders: the folders that packages are imported from.
        torch: torch's folder.

    Raises:
        OSError: a file cannot be read.
    """
    plan = preloads(system.read_text(join(torch, "__init__.py")))
    first = join(torch, "lib/libtorch_global_deps.so")
    failures = process.load(first, for_all=True) if system.kind(first) == "file" else []
    if not failures and plan.condition and process.holds(plan.condition):
        for folder, pattern in plan.usual:
            found = _preload(system, process, folders, folder, pattern)
            if plan.all_required and not found:
                break
    elif any(failure.name.startswith(pattern.split(".")[0]) for failure in failures for _, pattern in plan.rescue):
        for folder, pattern in plan.rescue:
            _preload(system, process, folders, folder, pattern)
        failures = process.load(first, for_all=True)
    if failures:
        return failures
    binding = next((name for name in system.list_dir(torch) if re.match(r"^_C\..*so$", name)), None)
    return process.load(join(torch, binding)) if binding else []


def _preload(system: System, process: Process, folders: list[str], folder: str, pattern: str) -> bool:
    """Load the first match below site-packages and return whether there was one; torch goes on if it does not load."""
    for base in folders:
        nvidia = join(base, "nvidia")
        bundles = [name for name in _names(system, nvidia) if _CUDA_FOLDER.match(name)]
        places = [join(nvidia, folder, "lib"), *(join(nvidia, name, "lib") for name in bundles), join(base, folder, "lib")]
        for place in places:
            for name in _names(system, place):
                if fnmatchcase(name, pattern):
                    process.load(join(place, name))
                    return True
    return False


def _names(system: System, folder: str) -> list[str]:
    return system.list_dir(folder) if system.kind(folder) == "dir" else []
