"""The table of the packages around SGLang: what each release ships, which Python and C library it asks for, its pins.

From the file lists of the package index and the METADATA of one wheel per release; what has no wheel is known by its
file list alone.
"""

from __future__ import annotations

import re
from collections import defaultdict
from typing import TYPE_CHECKING, Any

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version

from sgldoctor.refresh import metadata
from sgldoctor.refresh.sglang import applying, version_of
from sgldoctor.refresh.writing import lined, replace
from sgldoctor.rules.knowledge import CPU_ARCHITECTURES

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from packaging.metadata import RawMetadata

    from sgldoctor.refresh.index import IndexFile, PackageIndex

TABLE = "packages.json"
SOURCE = "the package index: file lists, and the METADATA of one wheel per release (the one for x86_64 Linux first)"

SINCE: dict[str, Version | None] = {
    "flashinfer-cubin": Version("0"), "flashinfer-python": Version("0"), "sgl-deep-gemm": Version("0"),
    "sgl-kernel": Version("0"), "sglang-kernel": Version("0"), "torch": Version("2.3"), "torchaudio": Version("2.3"),
    "torchvision": Version("0.18"), "triton": Version("3.0"), "vllm": Version("0.6.3"),
    "outlines": None, "torchao": None, "transformers": None, "xgrammar": None,
}  # fmt: skip
"""From which release on; None: those that some sglang release pins.

torch 2.3.0 is what the oldest vllm here asks for, 0.4.3, which sglang 0.1.17 pins.
"""

_LINUX = re.compile(r"(?:manylinux|linux|any)")
_GLIBC = re.compile(r"manylinux_2_(\d+)_|manylinux(1|2010|2014)_")
_LEGACY = {"1": 5, "2010": 12, "2014": 17}
"""PEP 513, 571 and 599: the C library of these tags is 2.5, 2.12 and 2.17."""
_KEPT = re.compile(r"nvidia-(?:cudnn|nccl)(?:-cu\d+)?|apache-tvm-ffi|nvidia-cutlass-dsl|numpy|outlines-core")
_CUDA = re.compile(r"(?:nvidia-cuda-runtime(?:-cu\d+)?|cuda-toolkit)")


def refresh(
    index: PackageIndex, folder: Path, generated_at: str, kept: Path, releases: Mapping[str, Mapping[str, Any]]
) -> Path:
    """Write the table anew and return its path; an interrupted run leaves the old table as it was.

    Args:
        index: where the packages are.
        folder: where the table goes.
        generated_at: the time to write into it.
        kept: a folder for each METADATA, so that the next run reads those of new wheels alone.
        releases: the rows of the sglang table, for their pins.

    Raises:
        PackageIndexError: the index does not answer, or with what cannot be used.
    """
    pinned = pins_of(releases.values())
    packages: dict[str, dict[str, Any]] = {}
    for project, oldest in SINCE.items():
        found = by_version(index.files(project), oldest, pinned[project])
        wheels = [_wheel(_served(files)) for files in found.values()]
        told = metadata.read(index, wheels, kept)
        packages[project] = {str(v): row(files, read) for (v, files), read in zip(found.items(), told, strict=True)}
    head = {
        "schema_version": 1,
        "generated_at": generated_at,
        "source": SOURCE,
        "counts": {name: len(rows) for name, rows in packages.items()},
    }
    return replace(folder / TABLE, lined({**head, **packages}))


def pins_of(rows: Iterable[Mapping[str, Any]]) -> defaultdict[str, set[Version]]:
    """Return the versions of each distribution that sglang releases pin exactly."""
    found: defaultdict[str, set[Version]] = defaultdict(set)
    for release in rows:
        for name, specifier in {**release.get("pins", {}), **release.get("extra_pins", {})}.items():
            if match := re.fullmatch(r"==([^*,]+)", specifier):
                found[name].add(Version(match[1]))
    return found


def by_version(listed: list[IndexFile], oldest: Version | None, pinned: set[Version]) -> dict[Version, list[IndexFile]]:
    """Return the files of each release that the table is about, the oldest release first.

    Without an oldest one, only pinned releases; else final ones too.
    """
    found: defaultdict[Version, list[IndexFile]] = defaultdict(list)
    for file in listed:
        try:
            version = version_of(file.name)
        except InvalidVersion:
            continue
        wanted = version in pinned or (oldest is not None and version is not None and version >= oldest)
        if version and wanted and (version in pinned or not version.is_prerelease) and not version.local:
            found[version].append(file)
    return {version: found[version] for version in sorted(found)}


def _served(files: list[IndexFile]) -> list[IndexFile]:
    """Return the wheels for Linux."""
    wheels = [file for file in files if file.name.endswith(".whl") and _LINUX.match(_platform(file.name))]
    return sorted(wheels, key=lambda file: file.name)


def _wheel(served: list[IndexFile]) -> IndexFile | None:
    """Return the wheel whose METADATA stands for a release, or None where it has none."""
    return max(served, key=lambda file: ("x86_64" in file.name, "cp312" in file.name, file.name), default=None)


def row(files: list[IndexFile], told: RawMetadata) -> dict[str, Any]:
    """Return the row of one release; fields that would be empty are left out.

    ``glibc`` is the oldest C library that a wheel for each CPU takes, ``cuda`` the version of the
    runtime that is asked for there; a torch without one was built for the CPU alone.

    Args:
        files: all files of the release.
        told: the METADATA of one wheel for Linux, empty where there is none.
    """
    served = _served(files)
    asked = next((file.requires_python for file in files if file.requires_python), None)
    requirements = [Requirement(line) for line in told.get("requires_dist", [])]
    found: dict[str, Any] = {
        "date": min((file.uploaded[:10] for file in files if file.uploaded), default=None),
        "yanked": all(file.yanked for file in files),
        "requires_python": asked or told.get("requires_python"),
        "sdist": any(not file.name.endswith(".whl") for file in files),
        "wheels": _tags(served),
        "glibc": {arch: least for arch in CPU_ARCHITECTURES if (least := _glibc(served, arch))},
        "source": "metadata" if told else "files",
        "pins": applying(requirements, {""}, _KEPT),
        "cuda": {arch: cuda for arch in CPU_ARCHITECTURES if (cuda := _cuda(requirements, arch))},
    }
    return {key: value for key, value in found.items() if value not in (None, [], {})}


def _platform(name: str) -> str:
    return name.removesuffix(".whl").rpartition("-")[2]


def _tags(wheels: list[IndexFile]) -> list[dict[str, str | list[str]]]:
    """Return the wheels' tags, those that differ in their Python alone as one."""
    found: defaultdict[tuple[str, str], list[str]] = defaultdict(list)
    for file in wheels:
        python, abi, platform = file.name.removesuffix(".whl").rsplit("-", 3)[1:]
        found["cp" if abi == python else abi, platform].append(python)
    return [
        {"abi": abi, "platform": platform, "pythons": sorted(set(pythons), key=lambda tag: (len(tag), tag))}
        for (abi, platform), pythons in sorted(found.items())
    ]


def _glibc(wheels: list[IndexFile], arch: str) -> str | None:
    """Return the oldest C library that one of the wheels for a CPU takes, None where none names one."""
    minors = [
        int(match[1]) if match[1] else _LEGACY[match[2]]
        for file in wheels
        for tag in _platform(file.name).split(".")
        if tag.endswith(f"_{arch}") and (match := _GLIBC.match(tag))
    ]
    return f"2.{min(minors)}" if minors else None


def _cuda(requirements: list[Requirement], arch: str) -> str | None:
    """Return the CUDA version, such as 12.8, of the runtime that a wheel pins for a CPU; None: it has no CUDA."""
    for name, specifier in applying(requirements, {""}, _CUDA, arch).items():
        if _CUDA.fullmatch(canonicalize_name(name)) and (match := re.fullmatch(r"==(\d+\.\d+)[\d.]*", specifier)):
            return match[1]
    return None
