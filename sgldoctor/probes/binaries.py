"""Whether torch and the kernels load in the examined environment, and what GPU code they hold, by their files."""

from __future__ import annotations

import re
from posixpath import basename, dirname, join
from typing import TYPE_CHECKING, Any

from sgldoctor.binary.symbols import OF_TORCH
from sgldoctor.probes import extensions
from sgldoctor.probes.engine import folder_of
from sgldoctor.probes.loader import DRIVER, Failure, Process
from sgldoctor.probes.torch_import import for_this_python, load_torch
from sgldoctor.snapshot import Fact, Facts, Known, Unknown

if TYPE_CHECKING:
    from sgldoctor.system import System

FACTS = (
    "torch.failures", "extensions",
    "kernel.files", "kernel.failures_by_file", "kernel.driver_library", "kernel.cuda_folder_found",
)  # fmt: skip
# sgl_kernel/load_utils.py from 0.3.13 on: sm90/ on compute capability 9.0, sm100/ on all others, then the folder itself
_VARIANTS = ("sm90", "sm100", "")
_MODULE = re.compile(r"^common_ops\.(?:[\w-]+\.)*so$")
_METADATA = re.compile(r"^torch-.*\.dist-info$")
_SEARCHES = "Could not find CUDA lib directory"
_CUDART = re.compile(r"^libcudart\.so\.(\d+)")


def probe(system: System, executable: str, folders: list[str], python: str | None) -> Facts:
    """Return what loading torch and then sgl_kernel comes to, without loading anything.

    Args:
        system: the machine.
        executable: the examined interpreter.
        folders: the folders that packages are imported from.
        python: its minor version, such as ``3.12``.
    """
    torch, kernel = folder_of(system, folders, "torch"), folder_of(system, folders, "sgl_kernel")
    if torch is None and kernel is None:
        return dict.fromkeys(FACTS, Known(None, "neither torch nor sgl_kernel is installed"))
    try:
        environ = system.environ()
    except OSError:
        environ = {}  # an image: its variables are not seen
    try:
        process = Process(system, system.real_path(executable), environ.get("LD_LIBRARY_PATH", ""))
        process.preload(environ.get("LD_PRELOAD", ""))
    except OSError as error:
        reason = error.strerror or error
        return dict.fromkeys(FACTS, Unknown(f"{executable} or what is loaded before it cannot be read: {reason}"))
    facts: Facts = dict.fromkeys(FACTS, Known(None, "sgl_kernel is not installed"))
    facts["torch.failures"] = failures = _torch(system, process, folders, torch, python)
    if kernel is not None:
        facts |= _kernel(system, process, kernel, python)
        facts["kernel.cuda_folder_found"] = _cuda_folder_found(system, kernel)
        facts["kernel.driver_library"] = Known(process.find(DRIVER), "the loader's search")
    if isinstance(failures, Known) and failures.value == []:
        facts["extensions"] = extensions.probe(system, process, folders, python)
    return facts


def _torch(system: System, process: Process, folders: list[str], torch: str | None, python: str | None) -> Fact:
    if torch is None:
        return Known(None, "torch is not installed")
    try:
        process.thorough = _is_altered(system, torch)
        return Known([_record(failure) for failure in load_torch(system, process, folders, torch, python)], torch)
    except OSError as error:
        return Unknown(f"whether torch loads cannot be told: {error.strerror or error}")
    finally:
        process.thorough = False


def _is_altered(system: System, torch: str) -> bool:
    """Return whether one of torch's own libraries is not the one that was installed, by its size, or may not be."""
    base = dirname(torch)
    records = [join(base, name, "RECORD") for name in system.list_dir(base) if _METADATA.match(name)]
    try:
        files = system.damage(records[0]) if len(records) == 1 else [{"path": "torch/lib/", "problem": "resized"}]
    except OSError:
        return True
    return any(file["problem"] == "resized" and file["path"].startswith("torch/lib/") for file in files)


def _record(failure: Failure) -> dict[str, Any]:
    from sgldoctor.binary.names import demangled  # noqa: PLC0415 - only for what is wrong

    return {
        "kind": failure.kind, "name": failure.name, "shown": demangled(failure.name),
        "needed_by": basename(failure.needed_by), "library": failure.library,
    }  # fmt: skip


def _chooses(system: System, kernel: str) -> bool:
    """Return whether these kernels choose among libraries for GPUs (0.3.13 on): what lies there may be left over."""
    texts = _python_of(system, kernel)
    return not texts or any('"sm100"' in text for text in texts)


def _python_of(system: System, kernel: str) -> list[str]:
    """Return the texts of the Python files by which sgl_kernel finds and loads its library."""
    paths = [path for name in ("__init__.py", "load_utils.py") if system.kind(path := join(kernel, name)) == "file"]
    return [system.read_text(path) for path in paths]


def _load(system: System, process: Process, path: str) -> list[Failure]:
    if system.kind(path) != "file":
        return [Failure("file", "it is a link to nothing", path)]
    return process.load(path)


def _kernel(system: System, process: Process, kernel: str, python: str | None) -> Facts:
    """Return each library that importing sgl_kernel might load, and what stands in its way."""
    files: list[dict[str, Any]] = []
    failures: list[dict[str, Any]] = []
    try:
        for variant in _VARIANTS if _chooses(system, kernel) else _VARIANTS[-1:]:
            folder = join(kernel, variant) if variant else kernel
            names = [name for name in _names(system, folder) if _MODULE.match(name) and for_this_python(name, python)]
            for name in sorted(names, key=lambda name: (".cpython-" not in name, ".abi3." not in name))[:1]:
                path = join(folder, name)
                problems = _load(system, process, path)
                failures += [{"path": path, **_record(problem)} for problem in problems]
                about = {"path": path, "variant": variant or "flat", "loads": not problems}
                files.append(about | _contents(system, path))
    except OSError as error:
        reason = Unknown(f"whether sgl_kernel loads cannot be told: {error.strerror or error}")
        return {"kernel.files": reason, "kernel.failures_by_file": reason}
    return {"kernel.files": Known(files, kernel), "kernel.failures_by_file": Known(failures, kernel)}


def _contents(system: System, path: str) -> dict[str, Any]:
    """Return the GPU code, the CUDA major, the highest glibc version, and which torch exports all that is asked for."""
    from sgldoctor.rules.knowledge import torch_exporting  # noqa: PLC0415 - a table of its own

    library = system.library(path) if system.kind(path) == "file" else {"problem": "it is a link to nothing"}
    if "problem" in library:
        return {"targets": None, "cuda_major": None, "fits": None}
    try:
        targets = " ".join(system.gpu_code(path))
    except OSError:
        targets = None
    cuda = next((match[1] for name in library["needed"] if (match := _CUDART.match(name))), None)
    fitting = torch_exporting(system.undefined(path, OF_TORCH), cuda)
    return {"targets": targets, "cuda_major": cuda, "fits": " ".join(fitting) if fitting is not None else None}


def _cuda_folder_found(system: System, kernel: str) -> Fact:
    """Return whether the CUDA folder is there that sgl_kernel 0.3.11 to 0.3.18.post2 search on import; others do not.

    Their own search: CUDA_HOME, CUDA_PATH, the folder above nvcc, /usr/local/cuda; it must hold lib or lib64, or
    libcudart.so.12 somewhere below.
    """
    try:
        if not any(_SEARCHES in text for text in _python_of(system, kernel)):
            return Known(None, "these kernels do not search for it")
    except OSError as error:
        return Unknown(f"{kernel} cannot be read: {error.strerror or error}")
    home, unseen = "/usr/local/cuda", None
    try:
        environ = system.environ()
        nvcc = system.which("nvcc")
        home = environ.get("CUDA_HOME") or environ.get("CUDA_PATH") or (dirname(dirname(nvcc)) if nvcc else home)
    except OSError as error:
        unseen = Unknown(f"variables: {error.strerror or error}")
    if any(system.kind(join(home, name)) == "dir" for name in ("lib", "lib64")):
        return Known(True, home)
    found = any(system.kind(join(place, "libcudart.so.12")) == "file" for place in _below(system, home))
    return Known(True, home) if found else unseen or Known(False, home)


def _below(system: System, home: str) -> list[str]:
    """Return the folders two levels below one, each with its lib: where toolkits and wheels keep their libraries."""
    first = [join(home, name) for name in _names(system, home)]
    second = [join(place, name) for place in first for name in _names(system, place)]
    return [place for one in (*first, *second) for place in (one, join(one, "lib"))]


def _names(system: System, folder: str) -> list[str]:
    return system.list_dir(folder) if system.kind(folder) == "dir" else []
