"""The tables beside the problems: GPUs, driver minimums, kernel windows, sglang releases; each read on first use."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from datetime import datetime, timezone
from fnmatch import fnmatchcase
from functools import cache, lru_cache
from typing import TYPE_CHECKING, Any

from packaging.version import parse as parse_version

from sgldoctor.errors import UsageError, did_you_mean
from sgldoctor.rules.conditions import specifier_of, version_of
from sgldoctor.rules.load import read_yaml, rules_folder

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


@dataclass(frozen=True, slots=True)
class GpuModel:
    """One row of gpus.yaml."""

    name: str
    capability: str
    architecture: str
    memory_gib: float | None
    kind: str
    cpu: str
    min_driver: str | None = None


CPU_ARCHITECTURES = ("x86_64", "aarch64")
"""The processors that the tables and the wheels of the kernels are for, by the names in wheel tags."""
PYTHONS = ("3.9", "3.10", "3.11", "3.12", "3.13", "3.14")
"""The Pythons for which health.json says whether a release resolves."""
_ALIKE = 0.65
"""How alike a GPU's name must be to be suggested: a41 and a40 are, mi300x and b300 are not."""
KERNELS = ("sglang-kernel", "sgl-kernel")
"""The distributions of the kernels, the newer name first. Both hold the folder sgl_kernel."""
_CPU_ALIASES = {"amd64": "x86_64", "arm64": "aarch64"}


def cpu_architecture(name: str) -> str:
    """Return a processor's name as in wheel tags.

    Raises:
        UsageError: the tables know nothing of it.
    """
    known = _CPU_ALIASES.get(name, name)
    if known not in CPU_ARCHITECTURES:
        raise UsageError(f"Unknown CPU architecture {name!r}. Known: {', '.join(CPU_ARCHITECTURES)}.")
    return known


@cache
def table(name: str) -> dict[str, Any]:
    """Return one table of rules/knowledge by its file name.

    Raises:
        RulesError: it is missing or damaged.
    """
    path = rules_folder() / "knowledge" / name
    if path.suffix == ".json":
        return dict(json.loads(path.read_text(encoding="utf-8")))
    return dict(read_yaml(path))


def _plain(name: str) -> str:
    """Return a GPU's name as people type it: lower case, no maker, no punctuation."""
    words = re.sub(r"[^a-z0-9]+", " ", name.lower()).split()
    return " ".join(word for word in words if word not in {"nvidia", "geforce", "tesla", "quadro"})


@lru_cache(maxsize=1)
def _gpu_rows() -> dict[str, dict[str, Any]]:
    rows: dict[str, dict[str, Any]] = {}
    for row in table("gpus.yaml")["gpus"]:
        for name in (row["name"], *row.get("aliases", ())):
            rows.setdefault(name.lower(), row)
            rows.setdefault(_plain(name), row)
            rows.setdefault(_plain(name).replace(" ", ""), row)
    return rows


def find_gpu(name: str) -> GpuModel | None:
    """Return the model of that name or alias, or None. ``A40``, ``nvidia a40`` and ``rtx-5090`` are all known."""
    rows = _gpu_rows()
    row = rows.get(name.lower()) or rows.get(_plain(name)) or rows.get(_plain(name).replace(" ", ""))
    if row is None:
        return None
    return GpuModel(
        row["name"],
        str(row["capability"]),
        row["architecture"],
        row.get("memory_gib"),
        row["kind"],
        row.get("cpu", "any"),
        row.get("min_driver"),
    )


def gpu(name: str) -> GpuModel:
    """Return the model of that name or alias.

    Raises:
        UsageError: the table knows no such GPU.
    """
    if found := find_gpu(name):
        return found
    names = sorted({str(row["name"]) for row in table("gpus.yaml")["gpus"]} | set(_gpu_rows()))
    hint = did_you_mean(name.lower(), names, _ALIKE)
    raise UsageError(f"Unknown GPU {name!r}.{hint} List them with: sgldoctor rules gpus")


def kernel_package(versions: Mapping[str, str]) -> str | None:
    """Return the name of the kernels' distribution in a set of versions, or None where it has none."""
    return next((name for name in KERNELS if name in versions), None)


def kernel_window(package: str, version: str) -> dict[str, Any] | None:
    """Return the row of kernel_windows.yaml for a kernel version, or None where it was never measured."""
    return _row(table("kernel_windows.yaml")["windows"], package, version)


def kernel_gpu_code(package: str, version: str, arch: str) -> list[str] | None:
    """Return the targets of the GPU code in a released kernel's wheel for a CPU architecture, or None."""
    release = table("kernel_abi.json")["kernels"].get(package, {}).get(version, {})
    return release.get("targets", {}).get(arch)  # type: ignore[no-any-return]


def kernel_releases() -> list[tuple[str, str]]:
    """Return the kernel releases whose wheels were read, oldest first, as (package, version)."""
    known = table("kernel_abi.json")["kernels"]
    pairs = [(package, version) for package in known for version in known[package]]
    return sorted(pairs, key=lambda pair: parse_version(pair[1]))


def _row(rows: list[dict[str, Any]], package: str, version: str) -> dict[str, Any] | None:
    parsed = version_of(version)
    if parsed is None:
        return None
    return next(
        (row for row in rows if package in row["packages"] and specifier_of(row["versions"]).contains(parsed)),
        None,
    )


def kernel_for_torch(torch: str) -> str | None:
    """Return the newest kernel requirement known to fit a torch version, such as ``sgl-kernel==0.3.15``."""
    parsed = version_of(torch)
    if parsed is None:
        return None
    found = table("kernel_windows.yaml")["fits_latest"].get(f"{parsed.major}.{parsed.minor}")
    return str(found) if found else None


def min_driver(cuda: str) -> str | None:
    """Return the oldest Linux driver that runs programs of a CUDA version (minor-version compatibility)."""
    major = int(cuda.split(".", maxsplit=1)[0])
    row = next((row for row in table("cuda_drivers.yaml")["majors"] if row["major"] == major), None)
    return str(row["min_driver"]) if row else None


def driver_branch(cuda: str | None = None) -> str:
    """Return the branch of the oldest driver for a CUDA version, such as ``580``; None: for the newest major known."""
    newest = max(row["major"] for row in table("cuda_drivers.yaml")["majors"])
    return (min_driver(cuda or str(newest)) or "0").partition(".")[0]


def driver_reaches(driver: str, least: str) -> bool:
    """Return whether a driver is at least another; ``580`` and ``580.65`` stand for every driver of that branch."""
    have, needed = version_of(driver), version_of(least)
    return bool(have and needed and needed.release[: len(have.release)] <= have.release)


def newest_cuda(driver: str) -> str | None:
    """Return the newest CUDA version whose first toolkit asks for no newer Linux driver, or None."""
    rows = table("cuda_drivers.yaml")["toolkits"]
    fitting = [str(row["cuda"]) for row in rows if driver_reaches(driver, str(row["min_driver"]))]
    return max(fitting, key=lambda cuda: [int(part) for part in cuda.split(".")], default=None)


def sglang_release(version: str) -> dict[str, Any] | None:
    """Return the row of an sglang release, or None where the table does not know it."""
    row = table("sglang.json")["releases"].get(version)
    return dict(row) if row else None


def newest_sglang() -> str:
    """Return the newest release that the table knows."""
    versions = [parsed for text in table("sglang.json")["releases"] if (parsed := version_of(text))]
    return str(max(versions))


def torch_build(version: str) -> dict[str, Any] | None:
    """Return what was measured in the default Linux x86_64 build of a torch version: its CUDA and GPU targets.

    A local label such as ``+cu126`` names another build, which this table does not hold.
    """
    parsed = version_of(version)
    if parsed is None or parsed.local is not None:
        return None
    return next(
        (row for row in table("torch_builds.yaml")["builds"] if specifier_of(row["torch"]).contains(parsed)),
        None,
    )


def torch_exporting(symbols: list[str], cuda_major: str | None) -> list[str] | None:
    """Return the torch versions (default Linux builds) that export all of these symbols.

    None where that cannot be told: without any symbol, or with one that no kernel release asks for.

    Args:
        symbols: mangled names of torch's namespaces.
        cuda_major: the CUDA that the asking library was linked to, None where it is linked to none.
    """
    known = table("kernel_abi.json")
    exported_by = {name: set(row["exported_by"]) for row in known["symbols"] for name in row["symbols"]}
    if not symbols or not exported_by.keys() >= set(symbols):
        return None
    return [
        version
        for version in known["torch"]
        if cuda_major in {None, str(known["cuda"][version])} and all(version in exported_by[name] for name in symbols)
    ]


def torch_span(versions: Sequence[str]) -> str:
    """Return torch versions in words: ``2.14.0 to 2.15.0`` where every known release between the ends is among them."""
    known = table("kernel_abi.json")["torch"]
    between = known[known.index(versions[0]) : known.index(versions[-1]) + 1]
    whole = len(versions) > 2 and list(versions) == between
    return f"{versions[0]} to {versions[-1]}" if whole else ", ".join(versions)


def kernels_for_torch(torch: str) -> str | None:
    """Return the released kernels that fit a torch version, such as ``sgl-kernel 0.3.0 to 0.3.18``, or None."""
    parsed = version_of(torch)
    if parsed is None:
        return None
    public = parsed.public
    found = [row for row in table("kernel_windows.yaml")["windows"] if specifier_of(row["torch"]).contains(public)]
    return " and ".join(f"{row['packages'][0]} {_span(row['versions'])}" for row in found) or None


def kernels_built_for(torches: Sequence[str]) -> str | None:
    """Return the released kernels that fit one of these torch versions, in words, or None.

    Among the kernels that fit any torch, those that need a symbol are the ones that fit only torches that export it.
    """
    rows = [
        row
        for row in table("kernel_windows.yaml")["windows"]
        if any(specifier_of(row["torch"]).contains(torch) for torch in torches)
    ]
    packages: dict[str, list[str]] = {}
    for row in rows:
        packages.setdefault(str(row["packages"][0]), []).append(_span(row["versions"]))
    return " and ".join(
        f"{package} {spans[0].partition(' to ')[0]} to {spans[-1].partition(' to ')[2]}"
        for package, spans in packages.items()
    ) or None  # fmt: skip


def _span(specifier: str) -> str:
    bounds = {item.operator: item.version for item in specifier_of(specifier)}
    return f"{bounds['>=']} to {bounds['<=']}"


def package_of_library(soname: str, cuda_major: str | None) -> dict[str, str | None]:
    """Return which package brings a library: ``apt``, ``dnf``, ``index`` (a distribution), each None where unknown.

    Args:
        soname: such as ``libnuma.so.1`` or ``libcublas.so.12``.
        cuda_major: torch's, for libraries whose soname does not tell it.
    """
    known = table("libraries.yaml")
    stem, _, number = soname.partition(".so.")
    row: dict[str, Any] = next((row for row in known["system"] if row["soname"] == soname), {})
    by_name = next((row for row in known["cuda"] if row["library"] == stem), None)
    by_torch = next((row for row in known["of_torch"] if row["soname"] == soname), None)
    index = by_name.get(f"cu{number}") if by_name else by_torch.get(f"cu{cuda_major}") if by_torch else None
    cuda = number if by_name else cuda_major if by_torch else None
    return {"apt": row.get("apt"), "dnf": row.get("dnf"), "index": index, "cuda": cuda}


def serves_some_gpus(file: str) -> bool:
    """Return whether SGLang uses a library on some GPUs only, such as ``sgl_kernel/flash_ops.abi3.so``."""
    folder, _, name = file.rpartition("/")
    return any(
        row["gpus"] == "some" and fnmatchcase(name, row["files"]) and f"/{folder}".endswith(f"/{row['folder']}")
        for row in table("extensions.yaml")["extensions"]
    )


def kernel_fits(versions: dict[str, str], abi: dict[str, Any] | None = None) -> bool | None:
    """Return whether the kernels in a set of versions ask for nothing that its torch lacks; None where not known.

    What was measured by importing decides; for newer kernels the symbols in their libraries do.

    Args:
        versions: distribution to version; without kernels, or without torch, nothing stands against it.
        abi: the table of torch's binary interface; default: the one in use.
    """
    torch = versions.get("torch")
    package = kernel_package(versions)
    if torch is None or package is None:
        return True
    known = abi or table("kernel_abi.json")
    if torch not in known["torch"]:
        return None
    if window := kernel_window(package, versions[package]):
        return specifier_of(str(window["torch"])).contains(torch)
    read = known["kernels"].get(package, {}).get(versions[package])
    return torch in read["torch"] if read else None


def built_from_source(versions: Mapping[str, str], python: str) -> list[dict[str, Any]]:
    """Return the rows of source_builds.yaml for what these versions bring that has no wheel for a Python."""
    return [
        row
        for row in table("source_builds.yaml")["builds"]
        if row["brought_by"] in {f"{name}=={version}" for name, version in versions.items()}
        and python not in row["wheels_for"]
    ]


def health(release: str, arch: str, python: str) -> dict[str, Any] | None:
    """Return whether a release resolves and works for a CPU and a Python, as health.json has it, or None."""
    rows = table("health.json")["releases"].get(release, {}).get(arch, ())
    return next((row for row in rows if python in row["pythons"]), None)


def forward_compatible(cuda_major: int, branch: int, kind: str) -> str | None:
    """Return the cuda-compat package by which a driver branch runs a newer CUDA major, or None.

    Args:
        cuda_major: such as 13.
        branch: the driver's branch, such as 535.
        kind: of the GPU: only some kinds may use it.
    """
    known = table("cuda_drivers.yaml")["forward_compat"]
    if kind not in known["kinds"]:
        return None
    packages = [
        row["cuda"]
        for row in known["packages"]
        if int(row["cuda"].split(".")[0]) == cuda_major and str(branch) in row["driver_branches"]
    ]
    return f"cuda-compat-{packages[0].replace('.', '-')}" if packages else None


OLD_AFTER = 60
"""Days after which a table is called old: SGLang releases every two weeks."""


def age(name: str) -> dict[str, Any]:
    """Return ``{generated_at, days}`` of a generated table."""
    written = str(table(name)["generated_at"])
    days = (datetime.now(timezone.utc) - datetime.fromisoformat(written.replace("Z", "+00:00"))).days
    return {"generated_at": written, "days": days}
