"""The CUDA toolkit that compilation would use: its folder, nvcc, headers, and the link name of the driver."""

from __future__ import annotations

import re
from dataclasses import dataclass
from posixpath import dirname, join
from typing import TYPE_CHECKING

from sgldoctor.snapshot import Fact, Facts, Known, Unknown

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from sgldoctor.system import System

SPOKEN_VERSION = re.compile(r"release \d+\.\d+, V(\d+(?:\.\d+)+)")
"""Cuda compilation tools, release 13.0, V13.0.88: nvcc and ptxas say it alike."""
_CUDA = "/usr/local/cuda"
_TARGETS = ("", "targets/x86_64-linux", "targets/sbsa-linux", "targets/aarch64-linux")
_LINK_FOLDERS = (
    f"{_CUDA}/lib64/stubs", "/usr/lib/x86_64-linux-gnu", "/usr/lib/aarch64-linux-gnu", "/usr/lib64", "/usr/lib/wsl/lib",
)  # fmt: skip
_JSON_VERSION = re.compile(r'"cuda_nvcc"\s*:\s*\{[^}]*"version"\s*:\s*"(\d[\d.]*)"')
# conda-meta/cuda-nvcc-tools-12.8.93-h02f8991_0.json, site-packages/nvidia_cuda_nvcc_cu12-12.8.93.dist-info
_NAME_VERSION = re.compile(
    r"^(?:cuda-nvcc(?:-tools)?|nvidia_cuda_nvcc(?:_cu\d+)?)-(\d+(?:\.\d+)+)(?:-.*\.json|\.dist-info)$"
)
_HEADER_VERSION = re.compile(r"^#define CUDA_VERSION (\d+)", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Search:
    """Where to look; in an image the variables are not seen, and then nothing can be called absent."""

    system: System
    environ: Mapping[str, str]
    unseen: Unknown | None

    def first(self, folders: Iterable[str], name: str) -> str | None:
        """Return the first executable file of that name in the folders."""
        paths = (join(folder or ".", name) for folder in folders)
        return next((p for p in paths if self.system.kind(p) == "file" and self.system.is_executable(p)), None)

    def on_path(self, name: str) -> str | None:
        """Return the program that the shell would run."""
        return self.first(self.environ.get("PATH", "").split(":"), name)

    def fact(self, value: str | None, source: str) -> Fact:
        """Return what was found, or that it is absent, as far as that can be said."""
        return Known(value, source) if value else self.unseen or Known(None, source)

    def spoken(self, argv: list[str], pattern: re.Pattern[str]) -> Fact:
        """Return the version that a program prints."""
        try:
            done = self.system.run(argv, timeout=5)
        except OSError as error:
            return Unknown(f"{argv[0]} was not run: {error.strerror or error}")
        match = pattern.search(done.out)
        return Known(match[1], " ".join(argv)) if match else Unknown(f"{' '.join(argv)} told no version")


def cuda_home(search: Search) -> Facts:
    """Return the folder that torch.utils.cpp_extension takes, in its order, and what can be compiled with it."""
    variable = next((name for name in ("CUDA_HOME", "CUDA_PATH") if search.environ.get(name)), None)
    valid: Fact = search.unseen or Known(None, "neither CUDA_HOME nor CUDA_PATH is set")
    if variable:
        home, source = search.environ[variable], variable
        valid = Known(search.system.kind(join(home, "bin/nvcc")) == "file", variable)
    elif nvcc := search.on_path("nvcc"):
        home, source = dirname(dirname(nvcc)), nvcc
    else:
        home, source = _CUDA if search.system.exists(_CUDA) else "", _CUDA
    home = search.system.real_path(home) if home else ""
    headers = any(search.system.exists(join(home, target, "include/cuda_runtime.h")) for target in _TARGETS)
    return {
        "toolchain.cuda_home": search.fact(home, source),
        "toolchain.cuda_home_valid": valid,
        "toolchain.cuda_headers": Known(headers, home) if home else search.fact(None, source),
        "toolchain.libcuda_link": _libcuda_link(search, home),
    }


def nvcc(search: Search, site_packages: list[str]) -> Facts:
    """Return nvcc and its version; one in a wheel comes last, since only PATH or CUDA_HOME lead to it."""
    places = [(join(search.environ[v], "bin"), v) for v in ("CUDA_HOME", "CUDA_PATH") if search.environ.get(v)]
    places += [(folder or ".", "PATH") for folder in search.environ.get("PATH", "").split(":")]
    wheels = {join(folder, "nvidia", name, "bin"): folder for folder in site_packages for name in ("cu13", "cuda_nvcc")}
    places += [(f"{_CUDA}/bin", _CUDA), *((place, "a wheel") for place in wheels)]
    found = (search.fact(path, source) for folder, source in places if (path := search.first([folder], "nvcc")))
    fact = next(found, None) or search.fact(None, f"CUDA_HOME, CUDA_PATH, PATH, {_CUDA} and wheels")
    if not isinstance(fact, Known) or fact.value is None:
        return dict.fromkeys(("toolchain.nvcc", "toolchain.nvcc_version", "toolchain.nvcc_major"), fact)
    path = str(fact.value)
    version = _nvcc_version(search, path, wheels.get(dirname(path)))
    major = Known(str(version.value).split(".")[0], version.source) if isinstance(version, Known) else version
    return {"toolchain.nvcc": fact, "toolchain.nvcc_version": version, "toolchain.nvcc_major": major}


def _nvcc_version(search: Search, path: str, wheels: str | None) -> Fact:
    """Return the version from a file beside nvcc, else from nvcc, else (in an image) from cuda.h.

    cuda.h comes last: it has no patch version, and in wheels it belongs to another package.
    """
    system = search.system
    home = dirname(dirname(system.real_path(path)))
    json, names, header = join(home, "version.json"), wheels or join(home, "conda-meta"), join(home, "include/cuda.h")
    try:
        if system.kind(json) == "file" and (match := _JSON_VERSION.search(system.read_text(json))):
            return Known(match[1], json)
        for name in system.list_dir(names) if system.kind(names) == "dir" else []:
            if match := _NAME_VERSION.match(name):
                return Known(match[1], join(names, name))
        spoken = search.spoken([path, "--version"], SPOKEN_VERSION)
        if isinstance(spoken, Known) or system.kind(header) != "file":
            return spoken
        match = _HEADER_VERSION.search(system.read_text(header))
        return Known(f"{int(match[1]) // 1000}.{int(match[1]) % 1000 // 10}", header) if match else spoken
    except OSError as error:
        return Unknown(f"the files beside {path} cannot be read: {error.strerror or error}")


def _libcuda_link(search: Search, home: str) -> Fact:
    """Return whether ``-lcuda`` finds libcuda.so, by which kernels compiled here are linked to the driver."""
    folders = [join(home, name) for name in ("lib64", "lib64/stubs", "lib/stubs")] if home else []
    named = [f for name in ("LIBRARY_PATH", "LD_LIBRARY_PATH") for f in search.environ.get(name, "").split(":") if f]
    paths = [join(folder, "libcuda.so") for folder in (*folders, *_LINK_FOLDERS, *named)]
    found = next(filter(search.system.exists, paths), None)
    return Known(True, found) if found else search.unseen or Known(False, "the CUDA folder and the library folders")
