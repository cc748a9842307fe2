"""The table of SGLang releases: what each one ships and which versions it pins."""

from __future__ import annotations

import json
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from packaging.metadata import parse_email
from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import (
    InvalidSdistFilename,
    InvalidWheelFilename,
    canonicalize_name,
    parse_sdist_filename,
    parse_wheel_filename,
)
from packaging.version import InvalidVersion, Version

from sgldoctor.refresh import cache
from sgldoctor.refresh.index import PackageIndexError

if TYPE_CHECKING:
    from pathlib import Path

    from packaging.metadata import RawMetadata

    from sgldoctor.refresh.index import IndexFile, PackageIndex

PROJECT = "sglang"
CONNECTIONS = 8
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
    kept.mkdir(parents=True, exist_ok=True)
    by_version: defaultdict[Version, list[IndexFile]] = defaultdict(list)
    for file in index.files(PROJECT):
        if version := version_of(file.name):
            by_version[version].append(file)
    versions = sorted(by_version)
    if not versions:
        raise PackageIndexError(f"the package index lists no release of {PROJECT}")
    with ThreadPoolExecutor(CONNECTIONS) as pool:
        rows = list(pool.map(lambda version: release(index, by_version[version], kept), versions))
    source = f"the package index: file list of {PROJECT} and the METADATA of one wheel per release"
    path = folder / TABLE
    beside = path.with_suffix(".json.new")
    beside.write_text(render(dict(zip(map(str, versions), rows, strict=True)), generated_at, source), "utf-8")
    beside.replace(path)
    return path


def render(releases: dict[str, dict[str, Any]], generated_at: str, source: str) -> str:
    """Return the table as JSON with one release per line, in the order given."""
    lines = (f"{json.dumps(version)}:{_compact(row)}" for version, row in releases.items())
    head = f'{{"generated_at":{json.dumps(generated_at)},"source":{json.dumps(source)},"releases":{{'
    return f"{head}\n{(',' + chr(10)).join(lines)}\n}}}}\n"


def version_of(name: str) -> Version | None:
    """Return the version that a file name tells, or None for a file that is neither wheel nor sdist."""
    try:
        return parse_wheel_filename(name)[1] if name.endswith(".whl") else parse_sdist_filename(name)[1]
    except (InvalidWheelFilename, InvalidSdistFilename):
        return None


def release(index: PackageIndex, files: list[IndexFile], kept: Path) -> dict[str, Any]:
    """Return the row of one release; fields that would be empty are left out."""
    wheels = sorted((file for file in files if file.name.endswith(".whl")), key=lambda file: file.name)
    row: dict[str, Any] = {
        "date": min((file.uploaded[:10] for file in files if file.uploaded), default=None),
        "yanked": all(file.yanked for file in files),
        "requires_python": next((file.requires_python for file in files if file.requires_python), None),
        "wheels": [_tags(file.name) for file in wheels],
        "sdist": len(wheels) < len(files),
    }
    if wheels:
        wheel = next((file for file in wheels if "x86_64" in file.name), wheels[0])
        metadata = read_metadata(index, wheel, kept)
        row["requires_python"] = row["requires_python"] or metadata.get("requires_python")
        row |= pins(metadata)
    return {key: value for key, value in row.items() if value not in (None, [], {})}


def read_metadata(index: PackageIndex, wheel: IndexFile, kept: Path) -> RawMetadata:
    """Return a wheel's METADATA, from the cache where it stands there.

    Raises:
        PackageIndexError: no answer, or it is not that of the wheel: any text can be read as some METADATA.
    """
    path = cache.place(kept, wheel, "metadata-1")
    text = cache.load(path)
    content = text if text is not None else index.metadata(wheel).decode("utf-8", "replace")
    metadata, _ = parse_email(content)
    name, version, _build, _tags = parse_wheel_filename(wheel.name)
    try:
        told = Version(metadata.get("version", ""))
    except InvalidVersion:
        told = None
    if canonicalize_name(metadata.get("name", "")) != name or told != version:
        raise PackageIndexError(f"the METADATA of {wheel.name} is not that of this release")
    for line in metadata.get("requires_dist", []):
        try:
            Requirement(line)
        except InvalidRequirement as error:
            raise PackageIndexError(f"the METADATA of {wheel.name} holds a bad requirement: {line}") from error
    if text is None:
        cache.store(path, content)
    return metadata


def pins(metadata: RawMetadata) -> dict[str, Any]:
    """Return the fields of a row that come from METADATA."""
    extras = sorted({canonicalize_name(name) for name in metadata.get("provides_extra", [])})
    requirements = [Requirement(line) for line in metadata.get("requires_dist", [])]
    default = _applying(requirements, {""})
    runtime = None if "torch" in default else next((name for name in RUNTIME_EXTRAS if name in extras), None)
    more = _applying(requirements, _closure(requirements, runtime) | {""}) if runtime else {}
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


def _applying(requirements: list[Requirement], extras: set[str]) -> dict[str, str]:
    """Return the specifiers of the distributions that matter, under any of the extras."""
    found: defaultdict[str, set[str]] = defaultdict(set)
    for requirement in requirements:
        name = canonicalize_name(requirement.name)
        if name in DISTRIBUTIONS and _applies(requirement, extras):
            found[name] |= {str(specifier) for specifier in requirement.specifier}
    return {name: ",".join(sorted(found[name])) for name in sorted(found)}


def _applies(requirement: Requirement, extras: set[str]) -> bool:
    marker = requirement.marker
    return marker is None or any(marker.evaluate({**_MACHINE, "extra": extra}) for extra in extras)


def _tags(name: str) -> dict[str, str]:
    python, abi, platform = name.removesuffix(".whl").rsplit("-", 3)[1:]
    return {"python": python, "abi": abi, "platform": platform}


def _compact(value: object) -> str:
    return json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
