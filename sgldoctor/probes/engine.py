"""What the installed sglang, torch and kernels say of themselves, read from their own files."""

from __future__ import annotations

import re
from posixpath import join
from typing import TYPE_CHECKING, Any

from sgldoctor.probes.packages import Environment, canonical
from sgldoctor.rules.conditions import version_of
from sgldoctor.snapshot import Fact, Facts, Known, Unknown

if TYPE_CHECKING:
    from sgldoctor.system import System

# A line such as: assert_pkg_version("sgl-kernel", "0.3.15", "Please reinstall ...")
_ASSERTION = re.compile(r"assert_pkg_version\(\s*[\"']([\w-]+)[\"'],\s*[\"']([^\"']+)[\"']")
_ENGINE_FILES = ("srt/entrypoints/engine.py", "srt/server.py", "launch_server.py")
# A line such as: cuda: Optional[str] = '12.8'
_BUILD = re.compile(r"^(cuda|hip|xpu)\b[^=\n]*=\s*(?:'([^']*)'|None)", re.MULTILINE)
_VERSION = re.compile(r"^__version__\s*=\s*['\"]([^'\"]+)", re.MULTILINE)
_CXX11_ABI = re.compile(r"_GLIBCXX_USE_CXX11_ABI=([01])")


# sm_75 sm_80 sm_86 sm_90 sm_100 sm_120, as torch._C._cuda_getArchFlags() returns it
_ARCH_FLAGS = r"sm_\d+[af]?(?: (?:sm|compute)_\d+[af]?)+"


def folder_of(system: System, folders: list[str], module: str) -> str | None:
    """Return the folder of an installed module, the first on the path, or None.

    A folder without an ``__init__.py`` counts only where there is no other, as for Python.
    """
    found = [place for f in folders if system.kind(place := join(f, module)) == "dir"]
    regular = (place for place in found if len(found) == 1 or system.kind(join(place, "__init__.py")) == "file")
    return next(regular, found[0] if found else None)


def probe_torch(system: System, folders: list[str]) -> Facts:
    """Return what torch was built for, from torch/version.py and its CMake configuration."""
    names = ("torch.cuda", "torch.backend", "torch.cxx11_abi", "torch.libraries", "torch.targets")
    folder = folder_of(system, folders, "torch")
    if folder is None:
        return dict.fromkeys(names, Known(None, "torch is not installed"))
    path = join(folder, "version.py")
    try:
        text = system.read_text(path)
    except OSError as error:
        return dict.fromkeys(names, Unknown(f"{path} cannot be read: {error.strerror or error}"))
    found = dict(_BUILD.findall(text))
    version = _VERSION.search(text)
    backend = next((word for key, word in (("cuda", "cuda"), ("hip", "rocm"), ("xpu", "xpu")) if found.get(key)), "cpu")
    library = join(folder, "lib", "libtorch_cpu.so")
    return {
        **({"torch.version": Known(version[1], path)} if version else {}),
        "torch.cuda": Known(found.get("cuda") or None, path),
        "torch.backend": Known(backend, path),
        "torch.cxx11_abi": _cxx11_abi(system, folder),
        "torch.libraries": Known(system.kind(library) == "file", library),
        "torch.targets": _targets(system, folder) if backend == "cuda" else Known(None, path),
    }


def _targets(system: System, folder: str) -> Fact:
    """Return the targets that torch was compiled for; the list stands as a constant in its Python library."""
    path = join(folder, "lib", "libtorch_python.so")
    try:
        flags = system.longest_match(path, _ARCH_FLAGS)
    except (OSError, ValueError) as error:
        return Unknown(f"{path} cannot be read: {getattr(error, 'strerror', None) or error}")
    return Known(flags.split(), path) if flags else Unknown(f"{path} does not list its GPU targets")


def _cxx11_abi(system: System, folder: str) -> Fact:
    path = join(folder, "share/cmake/Torch/TorchConfig.cmake")
    try:
        match = _CXX11_ABI.search(system.read_text(path))
    except OSError as error:
        return Unknown(f"{path} cannot be read: {error.strerror or error}")
    return Known(match[1] == "1", path) if match else Unknown(f"{path} does not say")


def probe_wheel(system: System, environment: Environment) -> Facts:
    """Return the CPU architecture in the tag of the installed torch: ``Tag: cp312-cp312-manylinux_2_28_x86_64``."""
    torch = environment.get("torch")
    if torch is None:
        return {"torch.cpu_arch": Known(None, "torch is not installed")}
    path = join(torch.path, "WHEEL")
    try:
        tags = " ".join(system.headers(path, ["Tag"]).get("Tag", ()))
    except OSError as error:
        return {"torch.cpu_arch": Unknown(f"{path} cannot be read: {error.strerror or error}")}
    found = next((arch for arch in ("x86_64", "aarch64") if arch in tags), None)
    return {"torch.cpu_arch": Known(found, path) if found else Unknown(f"{path} names no Linux architecture")}


def probe_kernel(system: System, environment: Environment, folders: list[str]) -> Facts:
    """Return which distribution carries sgl_kernel and whether its folder is there."""
    folder = folder_of(system, folders, "sgl_kernel")
    carriers = [name for name in ("sglang-kernel", "sgl-kernel") if environment.get(name)]
    found = environment.get(carriers[0]) if carriers else None
    source = found.path if found else "no kernel distribution"
    return {
        "kernel.module": Known(folder is not None, folder or "sgl_kernel"),
        "kernel.distribution": Known(found.name if found else None, source),
        "kernel.version": Known(found.version if found else None, source),
    }


def probe_assertions(system: System, environment: Environment, folders: list[str]) -> Facts:
    """Return the start-up assertions of the installed sglang that its environment does not meet."""
    name = "sglang.assertions"
    folder = folder_of(system, folders, "sglang")
    if folder is None:
        return {name: Known(None, "sglang is not installed")}
    unmet: list[dict[str, Any]] = []
    source = folder
    for part in _ENGINE_FILES:
        path = join(folder, part)
        if system.kind(path) != "file":
            continue
        try:
            text = system.read_text(path)
        except OSError as error:
            return {name: Unknown(f"{path} cannot be read: {error.strerror or error}")}
        for package, minimum in _ASSERTION.findall(text):
            source = path
            unmet += _unmet(environment, canonical(package), minimum)
    return {name: Known(unmet, source)}


def _unmet(environment: Environment, package: str, minimum: str) -> list[dict[str, Any]]:
    found = environment.get(package)
    installed = found.version if found else None
    have, least = version_of(installed or ""), version_of(minimum)
    if least is None or (found and have is None) or (have and have >= least):
        return []
    problem = "too old" if found else "missing"
    return [{"package": package, "minimum": minimum, "installed": installed, "problem": problem}]
