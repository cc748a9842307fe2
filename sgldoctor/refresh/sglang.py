"""The table of SGLang releases: what each one ships and which versions it pins."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Any

from packaging.requirements import Requirement
from packaging.utils import (
    InvalidSdistFilename,
    InvalidWheelFilename,
    canonicalize_name,
    parse_sdist_filename,
    parse_wheel_filename,
)

from sgldoctor.refresh import metadata
from sgldoctor.refresh.index import PackageIndexError
from sgldoctor.refresh.writing import lined, replace

if TYPE_CHECKING:
    import re
    from pathlib import Path

    from packaging.metadata import RawMetadata
    from packaging.version import Version

    from sgldoctor.refresh.index import IndexFile, PackageIndex

PROJECT = "sglang"
TABLE = "sglang.json"
RUNTIME_EXTRAS = ("srt", "all")
"""The extras that have carried the engine, the smaller one first."""

DISTRIBUTIONS = frozenset(
    {
        "compressed-tensors", "cuda-python", "flash-attn-4", "flashinfer", "flashinfer-cubin",
        "flashinfer-jit-cache", "flashinfer-python", "llguidance", "numpy", "nvidia-cudnn-cu12", "outlines",
        "sgl-deep-gemm", "sgl-kernel", "sglang-kernel", "torch", "torchao", "torchaudio", "torchvision",
        "transformers", "triton", "vllm", "xformers", "xgrammar",
    }
)  # fmt: skip
"""The dependencies whose versions decide whether an engine starts."""

_MACHINE = {
    "implementation_name": "cpython",
    "os_name": "posix",
    "platform_machine": "x86_64",
    "platform_python_implementation": "CPython",
    "platform_system": "Linux",
    "python_full_version": "3.12.0",
    "python_version": "3.12",
    "sys_platform": "linux",
}
"""The machine for which markers are judged: the most common one that SGLang is installed on."""


def refresh(index: PackageIndex, folder: Path, generated_at: str, kept: Path) -> Path:
    """Write the table anew and return its path; an interrupted run leaves the old table as it was.

    Args:
        index: where the wheels are.
        folder: where the table goes.
        generated_at: the time to write into it.
        kept: a folder for each METADATA, so that the next run reads those of new wheels alone.

    Raises:
        PackageIndexError: the index does not answer, or with what cannot be used.
    """
    by_version: defaultdict[Version, list[IndexFile]] = defaultdict(list)
    for file in index.files(PROJECT):
        if version := version_of(file.name):
            by_version[version].append(file)
    versions = sorted(by_version)
    if not versions:
        raise PackageIndexError(f"the package index lists no release of {PROJECT}")
    wheels = [_wheel(by_version[version]) for version in versions]
    read = metadata.read(index, wheels, kept)
    rows = [release(by_version[version], told) for version, told in zip(versions, read, strict=True)]
    source = f"the package index: file list of {PROJECT} and the METADATA of one wheel per release"
    releases = dict(zip(map(str, versions), rows, strict=True))
    head = {"schema_version": 1, "generated_at": generated_at, "source": source}
    return replace(folder / TABLE, lined({**head, "releases": releases}))


def version_of(name: str) -> Version | None:
    """Return the version that a file name tells, or None for a file that is neither wheel nor sdist."""
    try:
        return parse_wheel_filename(name)[1] if name.endswith(".whl") else parse_sdist_filename(name)[1]
    except (InvalidWheelFilename, InvalidSdistFilename):
        return None


def _wheel(files: list[IndexFile]) -> IndexFile | None:
    """Return the wheel whose METADATA stands for a release, or None where it has none."""
    wheels = sorted((file for file in files if file.name.endswith(".whl")), key=lambda file: file.name)
    return next((file for file in wheels if "x86_64" in file.name), wheels[0] if wheels else None)


def release(files: list[IndexFile], told: RawMetadata) -> dict[str, Any]:
    """Return the row of one release; fields that would be empty are left out.

    Args:
        files: all files of the release.
        told: the METADATA of one wheel, empty where there is none.
    """
    wheels = sorted(file.name for file in files if file.name.endswith(".whl"))
    asked = next((file.requires_python for file in files if file.requires_python), None)
    row: dict[str, Any] = {
        "date": min((file.uploaded[:10] for file in files if file.uploaded), default=None),
        "yanked": all(file.yanked for file in files),
        "requires_python": asked or told.get("requires_python"),
        "wheels": [_tags(name) for name in wheels],
        "sdist": len(wheels) < len(files),
        **(pins(told) if told else {}),
    }
    return {key: value for key, value in row.items() if value not in (None, [], {})}


def pins(told: RawMetadata) -> dict[str, Any]:
    """Return the fields of a row that come from METADATA."""
    extras = sorted({canonicalize_name(name) for name in told.get("provides_extra", [])})
    requirements = [Requirement(line) for line in told.get("requires_dist", [])]
    default = applying(requirements, {""})
    runtime = None if "torch" in default else next((name for name in RUNTIME_EXTRAS if name in extras), None)
    more = applying(requirements, _closure(requirements, runtime) | {""}) if runtime else {}
    return {
        "extras": extras,
        "pins": default,
        "runtime_extra": runtime,
        "extra_pins": {name: spec for name, spec in more.items() if default.get(name) != spec},
    }


def _closure(requirements: list[Requirement], extra: str) -> set[str]:
    """Return the extra with those that it asks for by naming the project itself."""
    found, todo = set[str](), {extra}
    while todo:
        found |= todo
        todo = {
            str(canonicalize_name(name))
            for requirement in requirements
            if canonicalize_name(requirement.name) == PROJECT and _applies(requirement, found)
            for name in requirement.extras
        } - found
    return found


def applying(
    requirements: list[Requirement], extras: set[str], more: re.Pattern[str] | None = None, machine: str = "x86_64"
) -> dict[str, str]:
    """Return the specifiers of the distributions that matter, and of more by their names, under any of the extras.

    Args:
        requirements: of one wheel.
        extras: any of which may ask for them; the empty one is the wheel itself.
        more: further distributions that matter.
        machine: the CPU for which markers are judged.
    """
    found: defaultdict[str, set[str]] = defaultdict(set)
    for requirement in requirements:
        name = canonicalize_name(requirement.name)
        if (name in DISTRIBUTIONS or (more and more.fullmatch(name))) and _applies(requirement, extras, machine):
            found[name] |= {str(specifier) for specifier in requirement.specifier}
    return {name: ",".join(sorted(found[name])) for name in sorted(found)}


def _applies(requirement: Requirement, extras: set[str], machine: str = "x86_64") -> bool:
    marker = requirement.marker
    about = {**_MACHINE, "platform_machine": machine}
    return marker is None or any(marker.evaluate({**about, "extra": extra}) for extra in extras)


def _tags(name: str) -> dict[str, str]:
    python, abi, platform = name.removesuffix(".whl").rsplit("-", 3)[1:]
    return {"python": python, "abi": abi, "platform": platform}
