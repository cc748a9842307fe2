"""Labelled builds of torch and the kernels: which one serves a machine where the default build does not."""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING

from packaging.version import Version

from sgldoctor.gpu_code import any_runs
from sgldoctor.matrix import Build, Status, cuda_major, cuda_of_label, judge
from sgldoctor.rules.conditions import specifier_of
from sgldoctor.rules.knowledge import kernel_package, table, torch_build

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sgldoctor.matrix import Target
    from sgldoctor.rules.knowledge import GpuModel


_BLACKWELL_CUDA = "12.8"
"""The first CUDA whose compiler knows Blackwell; SGLang's own Blackwell helpers ask torch for it too."""


def default_cuda(torch: str) -> str | None:
    """Return the CUDA of torch's default build, such as 12.8, or its major alone, or None."""
    known = torch_build(torch)
    major = cuda_major(torch)
    return str(known["cuda"]) if known else str(major) if major else None


def index_of(part: str, label: str) -> str:
    """Return the address of the wheel index of ``torch`` or ``kernels`` for a label."""
    return str(table("wheel_indexes.yaml")["urls"][part]).format(label=label)


def serving(release: str, versions: dict[str, str], machines: Sequence[Target], cuda: str | None) -> Build | None:
    """Return the labelled build of a release that works on all machines, with the fewest labels, or None.

    Args:
        release: of sglang.
        versions: what it installs.
        machines: one per GPU.
        cuda: the CUDA that torch shall be built for, or None: any.
    """
    torch, package = versions.get("torch", ""), kernel_package(versions)
    if package is None or not torch:
        return None
    arch = machines[0].arch
    found = [
        Build(of_torch, of_kernels)
        for of_torch, of_kernels in product(_torch_labels(torch, arch), _kernel_labels(package, versions, arch))
        if (of_torch or of_kernels) and _majors_agree(torch, of_torch, of_kernels)
    ]
    gpus = [machine.gpu for machine in machines if machine.gpu]
    return next(
        (
            build
            for build in sorted(found, key=lambda build: (bool(build.torch) + bool(build.kernels), build.torch or ""))
            if (cuda is None or cuda == (cuda_of_label(build.torch) if build.torch else default_cuda(torch)))
            and _has_code(torch, build.torch, gpus)
            and all(judge(release, machine, build).status is Status.WORKS for machine in machines)
        ),
        None,
    )


def _torch_labels(torch: str, arch: str) -> list[str | None]:
    rows = table("wheel_indexes.yaml")["torch"]
    return [None, *(row["label"] for row in rows if row["torch"] == torch and arch in row["arch"])]


def _kernel_labels(package: str, versions: dict[str, str], arch: str) -> list[str | None]:
    rows = table("wheel_indexes.yaml")["kernels"]
    return [
        None,
        *(
            row["label"]
            for row in rows
            if package in row["packages"]
            and arch in row["arch"]
            and specifier_of(row["versions"]).contains(versions[package])
        ),
    ]


def _majors_agree(torch: str, of_torch: str | None, of_kernels: str | None) -> bool:
    """Return whether torch and kernels are built for one CUDA major; by default those of a release are."""
    default = cuda_major(torch)
    left, right = (
        int(cuda_of_label(label).partition(".")[0]) if label else default for label in (of_torch, of_kernels)
    )
    return left == right


def _has_code(torch: str, label: str | None, gpus: list[GpuModel]) -> bool:
    """Return whether a build of torch is not known to lack code for one of the GPUs."""
    if label:
        blackwell = any(Version(model.capability) >= Version("10.0") for model in gpus)
        return not blackwell or Version(cuda_of_label(label)) >= Version(_BLACKWELL_CUDA)
    known = torch_build(torch)
    return known is None or all(any_runs(known["targets"], model.capability) is not False for model in gpus)
