"""What just-in-time compilation needs: a CUDA toolkit, ninja, a C++ compiler, ptxas, Python's headers."""

from __future__ import annotations

import re
from posixpath import basename, dirname, join
from typing import TYPE_CHECKING

from sgldoctor.probes.toolkit import SPOKEN_VERSION, Search, cuda_home, nvcc
from sgldoctor.snapshot import Fact, Facts, Known, Unknown

if TYPE_CHECKING:
    from collections.abc import Callable

    from sgldoctor.system import System

_USUAL_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"  # for an image, whose PATH is not seen
_WRAPPERS = ("ccache", "sccache")
_GCC_FOLDER = "/usr/lib/gcc"
# x86_64-linux-gnu-g++-12
_NAMED_VERSION = re.compile(r"[gc]\+\+-(\d+(?:\.\d+)*)$")
# 12.2.0
_GCC_VERSION = re.compile(r"^(\d+(?:\.\d+)*)$", re.MULTILINE)


def probe(
    system: System, site_packages: list[str], prefix: str | None, base_prefix: str | None, python_minor: str | None
) -> Facts:
    """Return the tools, in the places where torch, triton and flashinfer look for them."""
    try:
        search = Search(system, system.environ(), None)
    except OSError as error:
        search = Search(system, {"PATH": _USUAL_PATH}, Unknown(f"variables: {error.strerror or error}"))
    facts: Facts = {}
    for names, question in (
        (("cuda_home", "cuda_home_valid", "cuda_headers", "libcuda_link"), lambda: cuda_home(search)),
        (("nvcc", "nvcc_version", "nvcc_major"), lambda: nvcc(search, site_packages)),
        (("cxx", "cxx_version"), lambda: _cxx(search)),
        (("ptxas", "ptxas_version"), lambda: _ptxas(search, site_packages)),
        (("ninja",), lambda: _ninja(search, prefix)),
    ):
        facts |= _answered([f"toolchain.{name}" for name in names], question)
    return facts | _answered(["python.headers"], lambda: _headers(system, prefix, base_prefix, python_minor))


def _answered(names: list[str], question: Callable[[], Facts]) -> Facts:
    """Return the answer; what could not be looked at, as in an old recording, is unknown by itself."""
    try:
        return question()
    except OSError as error:
        return dict.fromkeys(names, Unknown(f"its files: {error.strerror or error}"))


def _ninja(search: Search, prefix: str | None) -> Facts:
    own = search.first([join(prefix, "bin")], "ninja") if prefix else None
    ninja = search.fact(own, "the environment") if own else search.fact(search.on_path("ninja"), "PATH")
    return {"toolchain.ninja": ninja}


def _cxx(search: Search) -> Facts:
    words = [word for word in search.environ.get("CXX", "").split() if basename(word) not in _WRAPPERS]
    source = "CXX" if words else "PATH"
    path = next(filter(None, map(search.on_path, words[:1] or ("c++", "g++"))), None)
    found = search.fact(path, source)
    return {"toolchain.cxx": found, "toolchain.cxx_version": _gcc_version(search, path) if path else found}


def _gcc_version(search: Search, path: str) -> Fact:
    """Return GCC's version from its name (g++-12), from the only GCC installed, or from itself."""
    system, real = search.system, search.system.real_path(path)
    if "clang" in basename(real):
        return Unknown(f"{path} is clang, whose versions are not GCC's")
    if match := _NAMED_VERSION.search(real):
        return Known(match[1], real)
    installed = _installed_gcc(system) if dirname(real) == "/usr/bin" else []
    if len(installed) == 1:
        return Known(installed[0], _GCC_FOLDER)
    return search.spoken([path, "-dumpfullversion", "-dumpversion"], _GCC_VERSION)


def _installed_gcc(system: System) -> list[str]:
    """Return the folders below /usr/lib/gcc/x86_64-redhat-linux and the like, such as ``11``."""
    triples = [name for name in system.list_dir(_GCC_FOLDER) if "linux" in name] if system.exists(_GCC_FOLDER) else []
    return [name for triple in triples for name in system.list_dir(join(_GCC_FOLDER, triple)) if name[0].isdigit()]


def _ptxas(search: Search, site_packages: list[str]) -> Facts:
    """Return the ptxas that triton/knobs.py takes: the variable's, if it can be executed, else triton's own."""
    named = search.environ.get("TRITON_PTXAS_PATH", "")
    if named and search.first([dirname(named)], basename(named)):
        path, source = named, "TRITON_PTXAS_PATH"
        version = search.spoken([named, "--version"], SPOKEN_VERSION)
    elif own := search.first([join(folder, "triton/backends/nvidia/bin") for folder in site_packages], "ptxas"):
        path, source = own, "triton"
        version = Unknown("triton's own ptxas tells its version only when it is run")
    else:
        return dict.fromkeys(("toolchain.ptxas", "toolchain.ptxas_version"), Known(None, "triton is not installed"))
    return {"toolchain.ptxas": Known(path, source), "toolchain.ptxas_version": version}


def _headers(system: System, prefix: str | None, base_prefix: str | None, minor: str | None) -> Facts:
    """Return whether Python.h is there; the headers of a venv lie with its base."""
    prefixes = [folder for folder in (base_prefix, prefix) if folder]
    folders = [join(folder, "include", f"python{minor}{abi}") for folder in prefixes for abi in ("", "t") if minor]
    found = next((path for folder in folders if system.exists(path := join(folder, "Python.h"))), None)
    if found is None and (minor is None or base_prefix is None):
        return {"python.headers": Unknown("the folder of the base interpreter is not known")}
    return {"python.headers": Known(found is not None, found or folders[0])}
