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
_CALL = re.compile(r'_preload_cuda_deps\("(\w+)", "(lib[^"]+)"\)')
_CALL_FOR_ALL = re.compile(r"_preload_cuda_deps\((required=False)?\)")
# Up to 2.9 the table says "cublas": "libcublas.so.*[0-9]" (and cuda_libs["cufile"] = "..." for CUDA 12), from 2.10 on
# ("cublas", "libcublas.so.*[0-9]"). After it: _preload_cuda_deps("nvtx", "libnvToolsExt.so.*[0-9]", required=False)
_TABLE = re.compile(r'(?<!_deps\()(?<!_lib\()"(\w+)"(?::|,|\] =) "(lib[\w-]+\.so\.\*\[0-9\])"')
_OPTIONAL = re.compile(r'_preload_cuda_(?:deps|lib)\("(\w+)", "(lib[^"]+)", required=False\)')
# From 2.9 on nvidia/cu13 is searched too, for the CUDA of torch/version.py.
_SEARCHES_BUNDLE = 'f"cu{'
_CUDA = re.compile(r"^cuda\b[^=\n]*= *['\"](\d+)\.", re.MULTILINE)

Libraries = tuple[tuple[str, str], ...]  # folder and file pattern of each


@dataclass(frozen=True, slots=True)
class Preloads:
    """The CUDA libraries that this torch loads by itself: after its first library, and where that does not load.

    The ``optional`` ones among them may be missing.
    """

    condition: str | None
    usual: Libraries
    all_required: bool
    rescue: Libraries
    optional: Libraries = ()


def preloads(text: str) -> Preloads:
    """Return what a ``torch/__init__.py`` loads by itself, as (folder, file pattern)."""
    condition = _CONDITION.search(text)
    optional = tuple(_OPTIONAL.findall(text))
    table = (*_TABLE.findall(text), *optional)
    if condition is None:
        return Preloads(None, (), False, table, optional)
    call = _CALL_FOR_ALL.search(text, condition.end())
    usual = table if call else tuple(_CALL.findall(text, condition.end()))
    return Preloads(condition[1], usual, call is None or call[1] is None, table, optional)


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
    text = system.read_text(join(torch, "__init__.py"))
    plan = preloads(text)
    bundle = _bundle(system, torch) if _SEARCHES_BUNDLE in text else None

    def preload(wanted: Libraries, *, required: bool) -> list[Failure] | None:
        """Load one after the other until one fails; return None or why, which is nothing for one that is missing."""
        for library in wanted:
            path = _find(system, folders, bundle, *library)
            if path and (failures := process.load(path)):
                return failures
            if path is None and required and library not in plan.optional:
                return []
        return None

    first = join(torch, "lib/libtorch_global_deps.so")
    failures = process.load(first, for_all=True) if system.kind(first) == "file" else []
    if not failures and plan.condition and process.holds(plan.condition):
        preload(plan.usual, required=plan.all_required)
    elif failures and any(pattern.split(".")[0] in _message(failures[0]) for _, pattern in plan.rescue):
        stopped = preload(plan.rescue, required=True)
        if stopped is not None:
            return stopped or failures
        failures = process.load(first, for_all=True)
    if failures:
        return failures
    binding = next((name for name in system.list_dir(torch) if re.match(r"^_C\..*so$", name)), None)
    return process.load(join(torch, binding)) if binding else []


def _message(failure: Failure) -> str:
    """Return the names in the loader's message, by which torch tells whether its own search may help."""
    requester = failure.needed_by if failure.kind in {"version", "symbol"} else ""
    return f"{failure.name} {failure.library or ''} {requester}"


def _bundle(system: System, torch: str) -> str | None:
    """Return the folder below ``nvidia`` where CUDA 13 and later are."""
    found = _CUDA.search(system.read_text(join(torch, "version.py")))
    return f"cu{found[1]}" if found else None


def _find(system: System, folders: list[str], bundle: str | None, folder: str, pattern: str) -> str | None:
    """Return the first match below site-packages."""
    for base in folders:
        nvidia = [join(base, "nvidia", name, "lib") for name in (folder, bundle) if name]
        for place in (*nvidia, join(base, folder, "lib")):
            for name in _names(system, place):
                if fnmatchcase(name, pattern):
                    return join(place, name)
    return None


def _names(system: System, folder: str) -> list[str]:
    return system.list_dir(folder) if system.kind(folder) == "dir" else []
