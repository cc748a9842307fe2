"""The table of torch's binary interface: which torch releases supply what each kernel release asks for.

Read from the libraries themselves: the loader looks up each symbol that a kernel library asks for in torch's
libraries, and one that none of them supplies stops the import.
"""

from __future__ import annotations

import re
import struct
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from packaging.utils import InvalidWheelFilename, parse_wheel_filename
from packaging.version import Version

from sgldoctor.binary import fatbin
from sgldoctor.binary.elf import Elf, ElfError
from sgldoctor.binary.symbols import OF_TORCH
from sgldoctor.refresh import cache
from sgldoctor.refresh.index import PackageIndexError
from sgldoctor.refresh.members import open_wheel
from sgldoctor.refresh.writing import lined, replace
from sgldoctor.rules.knowledge import CPU_ARCHITECTURES

if TYPE_CHECKING:
    import mmap
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from sgldoctor.refresh.index import IndexFile, PackageIndex
    from sgldoctor.refresh.members import Wheel

KERNELS = ("sgl-kernel", "sglang-kernel")
OLDEST_TORCH = Version("2.5.0")
"""The oldest kernel release on the index was made for 2.6."""

CONNECTIONS = 2
"""Wheels read at once; unpacking each keeps a core busy."""

TABLE = "kernel_abi.json"
KERNEL_LIBRARIES = ("sgl_kernel/common_ops.abi3.so", "sgl_kernel/sm100/common_ops.abi3.so")
"""The library that the import loads; where there are several, the one for all GPUs but 9.0."""
_OTHERS = re.compile(r"(?:sgl_kernel|deep_gemm)/\w+\.abi3\.so")
"""Those that only some features load, such as sgl_kernel/flash_ops.abi3.so."""

TORCH_LIBRARIES = tuple(
    f"torch/lib/lib{name}.so" for name in ("c10", "c10_cuda", "torch", "torch_cpu", "torch_cuda", "torch_python")
)
_SYMBOLS_OF = "x86_64"  # its wheels' symbols decide which torch fits

SOURCE = (
    "the package index: the libraries in the wheels of sgl-kernel and sglang-kernel, and in those of torch "
    "for x86_64 and CPython 3.12"
)
READER = "libraries-1"
"""Part of the names in the cache: to be raised whenever this module reads wheels otherwise."""

_ATTEMPTS = 3
_TORCH_SYMBOL = re.compile(OF_TORCH)
_CUDA = re.compile(r"lib(?:cudart|cublas|cublasLt|nvrtc)\.so\.(\d+)")
_SYSTEM = re.compile(r"(?:ld-linux.*|lib(?:c|dl|gcc_s|m|pthread|rt|stdc\+\+))\.so\.\d+")
_SYMBOL = struct.Struct("<IBBH16x")  # name, info, other, section
_BINDINGS, _VISIBILITIES = frozenset({1, 2, 10}), frozenset({0, 3})  # those that the loader takes


def refresh(index: PackageIndex, folder: Path, generated_at: str, kept: Path) -> Path:
    """Write the table anew and return its path; an interrupted run leaves the old table as it was.

    Args:
        index: where the wheels are.
        folder: where the table goes.
        generated_at: the time to write into it.
        kept: a folder for what each wheel said, so that the next run reads new wheels alone.

    Raises:
        PackageIndexError: the index does not answer, or with what cannot be used.
    """
    kept.mkdir(parents=True, exist_ok=True)
    rows: dict[str, dict[Version, dict[str, Any]]] = {}
    symbols: dict[tuple[str, Version], frozenset[str]] = {}
    others: set[str] = set()
    with ThreadPoolExecutor(CONNECTIONS) as pool:
        for project in KERNELS:
            rows[project], listed = {}, index.files(project)
            for arch in CPU_ARCHITECTURES:
                files = _wheels(listed, rf"manylinux\w*_{arch}")
                told = pool.map(lambda file: _told(index, file, kept, _kernel), files.values())
                for version, facts in zip(files, told, strict=True):
                    names, targets, more = facts.pop("symbols"), facts.pop("targets"), facts.pop("others")
                    symbols.setdefault((project, version), frozenset(names))
                    others.update(more)
                    rows[project].setdefault(version, {**facts, "targets": {}})["targets"][arch] = targets
        wanted = frozenset(others).union(*symbols.values())
        files = _wheels(index.files("torch"), r"cp312-cp312-manylinux\w*_x86_64")
        files = {version: file for version, file in files.items() if version >= OLDEST_TORCH}
        told = pool.map(lambda file: _supplied(_told(index, file, kept, _torch), wanted), files.values())
        torches = dict(zip(files, told, strict=True))
    if not torches or not wanted:
        raise PackageIndexError("the package index lists no wheels of torch or of the kernels")
    for project, versions in rows.items():
        for version, row in versions.items():
            fits = (name for name, torch in torches.items() if symbols[project, version] <= torch["symbols"])
            row["torch"] = [str(name) for name in fits if torches[name]["cuda"] == row["cuda"]]
    return replace(folder / TABLE, render(rows, torches, wanted, generated_at))


def render(
    kernels: dict[str, dict[Version, dict[str, Any]]],
    torches: dict[Version, dict[str, Any]],
    wanted: Iterable[str],
    generated_at: str,
) -> str:
    """Return the table as JSON: releases in their order, everything else in that of the alphabet."""
    groups: defaultdict[tuple[str, ...], list[str]] = defaultdict(list)
    for symbol in sorted(wanted):
        exporters = tuple(str(version) for version, torch in torches.items() if symbol in torch["symbols"])
        groups[exporters].append(symbol)
    table = {
        "schema_version": 1,
        "generated_at": generated_at,
        "source": SOURCE,
        "torch": [str(version) for version in torches],
        "cuda": {str(version): torch["cuda"] for version, torch in torches.items()},
        "symbols": sorted(
            ({"exported_by": list(exporters), "symbols": names} for exporters, names in groups.items()),
            key=lambda row: row["symbols"],
        ),
        "kernels": {
            project: {str(version): dict(sorted(row.items())) for version, row in sorted(versions.items())}
            for project, versions in kernels.items()
        },
    }
    return lined(table)


def _wheels(listed: list[IndexFile], tags: str) -> dict[Version, IndexFile]:
    """Return one wheel per final release, the oldest first: of several builds the last, as pip chooses."""
    found: dict[Version, tuple[Any, IndexFile]] = {}
    for file in listed:
        try:
            _name, version, build, _tags = parse_wheel_filename(file.name)
        except InvalidWheelFilename:
            continue
        if not version.is_prerelease and not version.local and re.search(rf"-[^-]*{tags}\.whl$", file.name):
            found[version] = max(found.get(version, ((), file)), (build, file), key=lambda pair: pair[0])
    return {version: found[version][1] for version in sorted(found)}


def _told(
    index: PackageIndex, file: IndexFile, folder: Path, read: Callable[[Wheel], dict[str, Any]]
) -> dict[str, Any]:
    """Return what a wheel says, from the cache where it stands there."""
    path = cache.place(folder, file, READER)
    if (kept := cache.load(path)) is not None:
        return dict(kept)
    for attempt in range(_ATTEMPTS):
        try:
            told = read(open_wheel(index, file.url))
            break
        except (ElfError, ValueError) as error:
            raise PackageIndexError(f"{file.name} holds a library that cannot be read: {error}") from error
        except PackageIndexError:
            if attempt == _ATTEMPTS - 1:
                raise
    cache.store(path, told)
    return told


def _kernel(wheel: Wheel) -> dict[str, Any]:
    name = next((name for name in KERNEL_LIBRARIES if name in wheel.names()), KERNEL_LIBRARIES[0])
    others = set[str]()
    for other in wheel.names() if _SYMBOLS_OF in wheel.name else ():
        if _OTHERS.fullmatch(other) and other != name:
            with wheel.library(other) as data:
                others.update(filter(_TORCH_SYMBOL.match, Elf(data).undefined()))
    with wheel.library(name) as data:
        library = Elf(data)
        section = library.section(".nv_fatbin")
        versions = [version for names in library.versions_needed.values() for version in names]
        return {
            "symbols": sorted(filter(_TORCH_SYMBOL.match, library.undefined())),
            "others": sorted(others),
            "cuda": _cuda(library.needed),
            "glibc": _newest("GLIBC_", versions),
            "glibcxx": _newest("GLIBCXX_", versions),
            "needed": sorted(name for name in library.needed if not _SYSTEM.fullmatch(name)),
            "targets": fatbin.targets(data, *section) if section else [],
        }


def _torch(wheel: Wheel) -> dict[str, Any]:
    found, needed = set[str](), list[str]()
    for name in TORCH_LIBRARIES:
        with wheel.library(name) as data:
            library = Elf(data)
            needed += library.needed
            found.update(_exported(data, library))
    return {"cuda": _cuda(needed), "symbols": sorted(found)}


def _supplied(torch: dict[str, Any], wanted: frozenset[str]) -> dict[str, Any]:
    return {"cuda": torch["cuda"], "symbols": wanted.intersection(torch["symbols"])}


def _exported(data: mmap.mmap, library: Elf) -> Iterable[str]:
    """Return all of torch's names that a library exports: one walk, where a search would need the names first."""
    symbols, names = library.section(".dynsym"), library.section(".dynstr")
    if not symbols or not names:
        raise ElfError("it has no list of its symbols")
    texts = data[slice(*names)]
    for name, info, other, section in _SYMBOL.iter_unpack(data[slice(*symbols)]):
        if section and info >> 4 in _BINDINGS and other & 3 in _VISIBILITIES and texts[name : name + 2] == b"_Z":
            text = texts[name : texts.index(b"\0", name)].decode("utf-8", "replace")
            if _TORCH_SYMBOL.match(text):
                yield text


def _cuda(needed: list[str]) -> int | None:
    """Return the CUDA major version, by the runtime library where one is needed."""
    found = sorted((name for name in needed if _CUDA.fullmatch(name)), key=lambda name: "cudart" not in name)
    return int(found[0].rpartition(".")[2]) if found else None


def _newest(prefix: str, versions: list[str]) -> str | None:
    """Return the highest of the versions GLIBC_2.14 and so on, without the prefix."""
    numbers = [name.removeprefix(prefix) for name in versions if re.fullmatch(rf"{prefix}[\d.]+", name)]
    return max(numbers, key=Version, default=None)
