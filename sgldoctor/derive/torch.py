"""What the installed torch asks of the driver and offers to the GPUs."""

from __future__ import annotations

import re
from typing import Any

from sgldoctor.gpu_code import any_runs
from sgldoctor.rules.knowledge import min_driver
from sgldoctor.snapshot import Fact, Facts, Known, Snapshot, Unknown

# 2.8.0, 2.8.0+cu128, 2.8.0+cpu: builds that the tables were measured on. Nightlies and vendors' builds are not.
_OFFICIAL = re.compile(r"^\d+\.\d+\.\d+(?:\+(?:cu\d+|cpu))?$")


def derive(snapshot: Snapshot) -> Facts:
    """Return CUDA major, minimum driver, and the GPUs that this torch holds no code for."""
    cuda = snapshot.get("torch.cuda")
    major: Fact
    least: Fact
    if isinstance(cuda, Unknown):
        major = least = cuda
    elif cuda.value is None:
        major = least = Known(None, cuda.source)
    else:
        major = Known(str(cuda.value).split(".", maxsplit=1)[0], cuda.source)
        found = min_driver(str(cuda.value))
        least = (
            Known(found, "cuda_drivers.yaml")
            if found
            else Unknown(f"the oldest driver for CUDA {cuda.value} is not in the tables of this sgldoctor")
        )
    return {
        "torch.cuda_major": major,
        "torch.min_driver": least,
        "torch.python_wheel": _python_wheel(snapshot),
        "torch.official": _official(snapshot.get("package.torch")),
        "torch.gpus_without_code": without_code(snapshot, snapshot.get("torch.targets")),
    }


def _python_wheel(snapshot: Snapshot) -> Fact:
    """Return whether the torch of a requirements file can be installed on this Python; None where it is installed."""
    if "torch.wheel_pythons" not in snapshot.facts:
        return Known(None, "torch was not asked for in a requirements file")
    return python_listed(snapshot, "torch.wheel_pythons")


def python_listed(snapshot: Snapshot, name: str) -> Fact:
    """Return whether this Python is in a list of Pythons with wheels; None where one wheel serves every Python 3."""
    pythons, minor = snapshot.get(name), snapshot.get("python.minor")
    if isinstance(pythons, Unknown) or pythons.value is None:
        return pythons
    if isinstance(minor, Unknown) or minor.value is None:
        return minor
    return Known(minor.value in snapshot.texts(name), pythons.source)


def _official(torch: Fact) -> Fact:
    if isinstance(torch, Unknown) or torch.value is None:
        return torch
    return Known(bool(_OFFICIAL.match(str(torch.value))), torch.source)


def without_code(snapshot: Snapshot, targets: Fact) -> Fact:
    """Return the GPUs on which none of the targets runs; GPUs that are hidden from CUDA do not count."""
    name = "gpus.visible" if "gpus.visible" in snapshot.facts else "gpus"
    gpus = snapshot.get(name)
    if isinstance(targets, Unknown):
        return targets
    if targets.value is None:
        return Known(None, targets.source)
    if isinstance(gpus, Unknown):
        return gpus
    bad: list[dict[str, Any]] = []
    for gpu in snapshot.records(name):
        if gpu.get("visible") is False:
            continue
        if not gpu.get("capability"):
            return Unknown(f"the compute capability of GPU {gpu.get('index')} ({gpu.get('name')}) is unknown")
        runs = any_runs(
            [str(target) for target in targets.value] if isinstance(targets.value, list) else [],
            gpu["capability"],
        )
        if runs is None:
            return Unknown(f"the GPU code in {targets.source} cannot be read")
        if not runs:
            bad.append({key: gpu.get(key) for key in ("index", "name", "capability")})
    return Known(bad, targets.source)
