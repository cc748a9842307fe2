"""What `import torch` loads, in torch's own order, so that what comes after it finds those libraries in the process."""

from __future__ import annotations

import re
from dataclasses import dataclass
from fnmatch import fnmatchcase
from posixpath import join
from typing import TYPE_CHECKING

from sgldoctor.probes.loader import Failure

if TYPE_CHECKING:
    from sgldoctor.probes.loader import Process
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

_TYPING = "typing_extensions"
_NEEDS_TYPING = re.compile(rf"^from {_TYPING} import ", re.MULTILINE)
# _C.cpython-312-x86_64-linux-gnu.so is for CPython 3.12 alone; common_ops.abi3.so for all
_FOR_ONE_PYTHON = re.compile(r"\.cpython-(\d)(\d+)")


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


def load_torch(
    system: System, process: Process, folders: list[str], torch: str, python: str | None = None
) -> list[Failure]:
    """Load what `import torch` loads into a process, and return what stands in the way.

    Args:
        system: the machine.
        process: where it is loaded.
        folders: the folders that packages are imported from.
        torch: torch's folder.
        python: the interpreter's minor version, such as ``3.12``; None takes the first binding.

    Raises:
        OSError: a file cannot be read.
    """
    init = join(torch, "__init__.py")
    text = system.read_text(init)
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
    return _load_binding(system, process, torch, python) or _missing_module(system, folders, init, text)


def _load_binding(system: System, process: Process, torch: str, python: str | None) -> list[Failure]:
    names = [name for name in system.list_dir(torch) if re.match(r"^_C\..*so$", name)]
    binding = next((name for name in names if for_this_python(name, python)), None)
    if binding is None:
        return [Failure("module", "torch._C", join(torch, "__init__.py"))]
    return process.load(join(torch, binding))


def _missing_module(system: System, folders: list[str], init: str, text: str) -> list[Failure]:
    """Return the one module of all that torch requires without which its import stops (measured: 2.7.0 to 2.14.1)."""
    if not _NEEDS_TYPING.search(text) or any(_has_module(system, folder, _TYPING) for folder in folders):
        return []
    return [Failure("module", _TYPING, init)]


def for_this_python(name: str, python: str | None) -> bool:
    """Return whether a module's name does not say that it is for another Python."""
    match = _FOR_ONE_PYTHON.search(name)
    return match is None or python is None or f"{match[1]}.{match[2]}" == python


def _has_module(system: System, folder: str, name: str) -> bool:
    return system.exists(join(folder, f"{name}.py")) or system.exists(join(folder, name))


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
