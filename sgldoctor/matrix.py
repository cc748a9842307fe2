"""Which sglang releases can work on a machine, and why not the others: pure, from the tables.

A release works where it still resolves for the Python and CPU, its wheels accept the C library, its kernels fit their
torch and hold code for the GPU, and the driver runs torch's CUDA.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Any

from packaging.version import Version

from sgldoctor.gpu_code import any_runs
from sgldoctor.rules.conditions import specifier_of, version_of
from sgldoctor.rules.knowledge import (
    driver_reaches,
    forward_compatible,
    health,
    kernel_gpu_code,
    kernel_package,
    min_driver,
    table,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from sgldoctor.rules.knowledge import GpuModel

OLDEST_CAPABILITY = "7.5"
"""srt/model_executor/model_runner.py of 0.2.14.post1 to 0.5.23: "SGLang only supports sm75 and above."."""

# common_ops of these releases calls cuGreenCtxCreate and its like; see the rule driver-too-old-for-kernels.
_NEEDS_550 = ("sgl-kernel", ">=0.2.6,<0.3.6", "550")


_NAME = r"([\w.-]+(?:==|>=|<=|~=)?[\w.!+*-]*)"
_MARKER = re.compile(r"\{[^}]*\}")
_EXTRAS = re.compile(r"\[[^\]]*\](?===)")
_SHORT = (
    (re.compile(rf"there is no version of {_NAME}"), r"\1 is no longer on the package index"),
    (re.compile(r"([\w.-]+) was not found in the package registry"), r"\1 is not on the package index"),
    (re.compile(rf"{_NAME} was yanked"), r"\1 was yanked"),
    (
        re.compile(r"requested Python version \([^)]*\) does not satisfy Python([<>=!~.\d, ]*\d)"),
        r"it asks for Python \1",
    ),
    (re.compile(r"([\w.-]+)==([\w.]+) has no wheels with a matching Python"), r"\1 \2 has no wheel for this Python"),
    (re.compile(r"([\w.-]+)==([\w.]+) has no wheels with a matching platform"), r"\1 \2 has no wheel for this CPU"),
    (
        re.compile(r"(?:of: )?([\w.-]+)[<>=!][^:]*? ha(?:s|ve) no wheels with a matching Python"),
        r"\1 has no wheel for this Python",
    ),
    (
        re.compile(r"(?:of: )?([\w.-]+)[<>=!][^:]*? ha(?:s|ve) no wheels with a matching platform"),
        r"\1 has no wheel for this CPU",
    ),
    (re.compile(r"depends on Python([<>=!~.\d, ]+)"), r"it asks for Python \1"),
)


# Not dead, only not for this machine.
_ELSEWHERE = re.compile(r"has no wheel for this|asks for Python")


class Status(str, Enum):
    """What a release is on a machine."""

    WORKS = "works"
    OVERRIDE = "works with override"
    BROKEN = "does not work"
    DEAD = "dead"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Target:
    """A machine; None leaves a part out of the judgement."""

    python: str = "3.12"
    arch: str = "x86_64"
    gpu: GpuModel | None = None
    driver: str | None = None
    glibc: str | None = None


@dataclass(frozen=True, slots=True)
class Build:
    """Labelled builds in place of the default ones, as in ``cu128``; None is the default build."""

    torch: str | None = None
    kernels: str | None = None


@dataclass(frozen=True, slots=True)
class Cell:
    """One release on one machine: what it is, why, what would be installed, and the overrides that mend it."""

    release: str
    status: Status
    reason: str
    versions: dict[str, str]
    override: tuple[str, ...] = ()


def releases() -> list[str]:
    """Return the releases whose health is known, newest first."""
    return sorted(table("health.json")["releases"], key=Version, reverse=True)


DEFAULT = Build()
"""The builds on the package index."""


def judge(release: str, target: Target, build: Build = DEFAULT) -> Cell:
    """Return what a release is on a machine; the first reason against it is the one that is told."""
    row = health(release, target.arch, target.python)
    if row is None:
        return Cell(release, *_without_health(release, target), {})
    versions: dict[str, str] = row["versions"]
    override = tuple(row["override"] or ())
    why = (
        in_short(row["reason"])
        if row["reason"]
        else f"its open pins bring {_kernel(versions)}, which does not fit torch {versions.get('torch')}"
    )
    if not row["resolves"] and (lacking := _no_wheel(release, target.python)):
        return Cell(release, Status.BROKEN, lacking, versions)
    if row["works"] is False and not override:
        elsewhere = row["resolves"] or _ELSEWHERE.search(why)
        return Cell(release, Status.BROKEN if elsewhere else Status.DEAD, why, versions)
    against = _against(release, target, versions, build)
    if against:
        return Cell(release, Status.BROKEN, against, versions)
    if override:
        return Cell(release, Status.OVERRIDE, why, versions, override)
    if row["works"] is None:
        return Cell(release, Status.UNKNOWN, "whether its kernels fit its torch is not known", versions)
    return Cell(release, Status.WORKS, "", versions)


def in_short(reason: str) -> str:
    """Return uv's reason in the words of a table: what is missing, without the chain that leads there."""
    unmarked = _MARKER.sub("", reason)
    plain = _EXTRAS.sub("", unmarked)
    for pattern, text in _SHORT:
        if match := pattern.search(plain):
            return match.expand(text)
    return unmarked


def newest_that_works(target: Target) -> Cell | None:
    """Return the newest final release that works on a machine without an override, or None."""
    cells = (judge(release, target) for release in releases() if not Version(release).is_prerelease)
    return next((cell for cell in cells if cell.status is Status.WORKS), None)


def nearest_that_works(release: str, works: Callable[[str], bool]) -> str | None:
    """Return the release that works and is fewest releases away, the later of two; None where none does."""
    return next((other for other in nearest_releases(release) if works(other)), None)


def nearest_releases(release: str) -> list[str]:
    """Return all releases, the nearest first; pre-releases only beside one; none where the release is not known."""
    ordered = sorted(releases(), key=Version)
    if release not in ordered:
        return []
    early = Version(release).is_prerelease
    place = ordered.index(release)
    others = [other for other in ordered if early or not Version(other).is_prerelease]
    return sorted(others, key=lambda other: (abs(ordered.index(other) - place), -ordered.index(other)))


def _against(release: str, target: Target, versions: dict[str, str], build: Build) -> str | None:
    """Return the first reason why a release that resolves does not work here: glibc, GPU, driver."""
    return (
        _glibc(release, target, versions)
        or _gpu(target, versions, build)
        or _cpu_build(target, versions, build)
        or _driver(target, versions, build)
    )


def _without_health(release: str, target: Target) -> tuple[Status, str]:
    asked = table("sglang.json")["releases"].get(release, {}).get("requires_python")
    python = version_of(target.python)
    if asked and python and not specifier_of(asked).contains(python):
        return Status.BROKEN, f"it asks for Python {asked}"
    if lacking := _no_wheel(release, target.python):
        return Status.BROKEN, lacking
    return Status.UNKNOWN, f"nobody resolved it for Python {target.python}"


def _no_wheel(release: str, python: str) -> str | None:
    """Return for which Pythons a release has wheels, where this is none of them; None where it is."""
    wheels = table("sglang.json")["releases"].get(release, {}).get("wheels", ())
    tags = sorted({str(wheel["python"]) for wheel in wheels}, key=lambda tag: int(tag[3:] or 0))
    if not tags or "py3" in tags or f"cp{python.replace('.', '')}" in tags:
        return None
    named = ", ".join(f"3.{tag[3:]}" for tag in tags)
    return f"it has wheels for Python {named} only, and no source package"


def _glibc(release: str, target: Target, versions: dict[str, str]) -> str | None:
    have = version_of(target.glibc or "")
    if have is None:
        return None
    return next((why for least, why in glibc_needs(release, versions, target.arch) if have < least), None)


def glibc_needs(release: str, versions: dict[str, str], arch: str) -> list[tuple[Version, str]]:
    """Return the C libraries that a release and what it installs need at least, each with the reason in words."""
    wheels = table("sglang.json")["releases"].get(release, {}).get("wheels", ())
    tags = [str(w["platform"]) for w in wheels if str(w["platform"]).endswith(f"_{arch}")]
    least = min((_tag_glibc(tag) for tag in tags), default=None)
    needs = [(least, f"its wheels need glibc {least}, and there is no source package")] if least else []
    for name, version in versions.items():
        row = table("packages.json").get(name, {}).get(version, {})
        oldest = row.get("glibc", {}).get(arch)
        if oldest and not row["sdist"]:
            needs.append((Version(oldest), f"{name} {version} needs glibc {oldest}"))
    return needs


def _tag_glibc(tag: str) -> Version:
    _, major, minor, *_ = tag.split("_")
    return Version(f"{major}.{minor}")


def _gpu(target: Target, versions: dict[str, str], build: Build) -> str | None:
    if target.gpu is None:
        return None
    capability = target.gpu.capability
    have, least = version_of(capability), version_of(OLDEST_CAPABILITY)
    if have and least and have < least:
        return f"SGLang asks for compute capability {OLDEST_CAPABILITY}; {target.gpu.name} has {capability}"
    package = kernel_package(versions)
    if package is None:
        return None
    targets = kernel_gpu_code(package, versions[package], target.arch)
    if targets is None:
        return f"{package} {versions[package]} has no wheel for {target.arch}"
    if build.kernels:
        targets = [*targets, *_added_code(package, versions[package], build.kernels)]
    if any_runs(targets, capability) is False:
        built = "" if target.arch == "x86_64" else f" for {target.arch}"
        return f"its kernels{built} ({_kernel(versions)}) hold no code for {target.gpu.name} ({capability})"
    return None


def _added_code(package: str, version: str, label: str) -> list[str]:
    """Return the GPU code that a labelled build of the kernels holds beside that of the default one."""
    return [
        str(code)
        for row in table("wheel_indexes.yaml")["kernels"]
        if row["label"] == label and package in row["packages"] and specifier_of(row["versions"]).contains(version)
        for code in row["gpu_code"]
    ]


def _cpu_build(target: Target, versions: dict[str, str], build: Build) -> str | None:
    """Return what is wrong where torch's wheel for this CPU was built without CUDA."""
    torch = versions.get("torch", "")
    known = table("packages.json")["torch"].get(torch)
    if build.torch or known is None or target.arch in known.get("cuda", {}):
        return None
    return f"torch {torch} for {target.arch} on the package index is built without CUDA"


def _driver(target: Target, versions: dict[str, str], build: Build) -> str | None:
    have = target.driver
    torch = versions.get("torch", "")
    cuda = int(cuda_of_label(build.torch).partition(".")[0]) if build.torch else cuda_major(torch)
    if have is None or cuda is None:
        return None
    needed = driver_of_kernels(versions)
    if needed and not driver_reaches(have, needed):
        return f"its kernels ({_kernel(versions)}) need driver {needed} to be loaded"
    least = min_driver(str(cuda))
    if least is None or driver_reaches(have, least):
        return None
    text = f"torch {torch} is built for CUDA {cuda}, which needs driver {least}"
    branch = have.partition(".")[0]
    compat = forward_compatible(cuda, int(branch), target.gpu.kind if target.gpu else "")
    return f"{text}; on driver {branch} the package {compat} would stand in for it" if compat else text


def driver_of_kernels(versions: dict[str, str]) -> str | None:
    """Return the driver branch that the kernels need to be loaded, where they need more than their CUDA, or None."""
    package, affected, needed = _NEEDS_550
    return needed if package in versions and specifier_of(affected).contains(versions[package]) else None


def drivers() -> list[str]:
    """Return the drivers from which on more releases run, the oldest first."""
    majors = table("cuda_drivers.yaml")["majors"]
    return sorted((_NEEDS_550[2], *(str(row["min_driver"]) for row in majors)), key=Version)


def cuda_of_label(label: str) -> str:
    """Return the CUDA version of a label: 12.8 for ``cu128``."""
    digits = label.removeprefix("cu")
    return f"{digits[:-1]}.{digits[-1]}"


def cuda_major(torch: str) -> int | None:
    """Return the CUDA major of the default build of a torch version, or None."""
    found = table("kernel_abi.json")["cuda"].get(torch)
    return int(found) if found else None


def _kernel(versions: dict[str, str]) -> str:
    package = kernel_package(versions)
    return f"{package} {versions[package]}" if package else "none"


def cuda_of(cells: list[Cell]) -> str | None:
    """Return the CUDA major of the torch that a release brings, by the first cell that resolves, or None."""
    torch = next((cell.versions["torch"] for cell in cells if "torch" in cell.versions), "")
    found = cuda_major(torch)
    return str(found) if found else None


def as_record(cell: Cell) -> dict[str, Any]:
    """Return a cell for JSON."""
    return {
        "release": cell.release, "status": cell.status.value, "reason": cell.reason or None,
        "versions": cell.versions, "override": list(cell.override),
    }  # fmt: skip
