"""Another machine in place of this one: the facts that ``--gpu``, ``--driver`` and their like replace."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from sgldoctor.errors import UsageError
from sgldoctor.rules.conditions import version_of
from sgldoctor.rules.knowledge import gpu as gpu_model
from sgldoctor.rules.knowledge import newest_cuda
from sgldoctor.snapshot import Fact, Facts, Known, Snapshot, Unknown

_ARCHITECTURES = {"x86_64": "x86_64", "amd64": "x86_64", "aarch64": "aarch64", "arm64": "aarch64"}

# What this machine has outside the environment says nothing about the machine with the named GPUs.
_ELSEWHERE = (
    "toolchain.nvcc", "toolchain.nvcc_version", "toolchain.cuda_home", "toolchain.cuda_home_valid",
    "toolchain.cuda_headers", "toolchain.libcuda_link", "toolchain.cxx", "toolchain.cxx_version", "shm.total_mib",
    "memory.total_mib", "memory.limit_mib", "cpu.limit", "limits.memlock_kib", "limits.nofile", "driver.libcuda",
    "driver.fabric_manager", "driver.open_module", "gpu.pci_nvidia", "gpu.visible",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Machine:
    """What the command line says about the machine to judge; None leaves what was observed."""

    gpus: tuple[str, ...] = ()
    driver: str | None = None
    python_version: str | None = None
    glibc: str | None = None
    arch: str | None = None


def simulate(snapshot: Snapshot, machine: Machine) -> Snapshot:
    """Return the snapshot with the named machine's facts in place of the observed ones.

    Raises:
        UsageError: a GPU is unknown, or a version or architecture is none.
    """
    facts: Facts = {}
    if machine.gpus:
        facts |= _gpus(machine.gpus) | dict.fromkeys(_ELSEWHERE, Unknown("--gpu names another machine"))
        if machine.arch is None and all(gpu_model(name).cpu == "aarch64" for name in machine.gpus):
            facts["cpu.arch"] = Known("aarch64", "--gpu names a GPU that is bound to an Arm processor")
        if machine.driver is None and snapshot.value("driver.state") != "ok":
            facts |= {"driver.state": Known("ok", "assumed with --gpu")}
    if machine.driver is not None:
        _version("--driver", machine.driver)
        facts |= {
            "driver.version": Known(machine.driver, "--driver"),
            "driver.cuda": _cuda_of(machine.driver),
            "driver.open_module": Unknown("--driver does not say which kernel modules are loaded"),
            "driver.state": Known("ok", "--driver"),
            "driver.message": Known(None, "--driver"),
            "driver.userspace": Known(machine.driver, "--driver"),
            "driver.libcuda_compat": Known(False, "--driver"),
            "driver.fabric_manager": Known("not-needed", "--driver"),
        }
    if machine.python_version is not None:
        version = _version("--python-version", machine.python_version)
        minor = re.match(r"\d+\.\d+", version)
        facts |= {
            "python.version": Known(version, "--python-version"),
            "python.minor": Known(minor[0] if minor else version, "--python-version"),
        }
    if machine.glibc is not None:
        facts |= {
            "libc.name": Known("glibc", "--glibc"),
            "libc.version": Known(_version("--glibc", machine.glibc), "--glibc"),
        }
    if machine.arch is not None:
        if machine.arch not in _ARCHITECTURES:
            raise UsageError(f"Unknown architecture {machine.arch!r}. Known: {', '.join(_ARCHITECTURES)}.")
        facts["cpu.arch"] = Known(_ARCHITECTURES[machine.arch], "--arch")
    return snapshot.with_facts(facts)


def _cuda_of(driver: str) -> Fact:
    """Return the newest CUDA toolkit that came out with this driver or an older one."""
    cuda = newest_cuda(driver)
    return Known(cuda, "cuda_drivers.yaml") if cuda else Unknown(f"no CUDA version is known for driver {driver}")


def _gpus(names: tuple[str, ...]) -> Facts:
    records: list[dict[str, Any]] = []
    for index, name in enumerate(names):
        model = gpu_model(name)
        memory = round(model.memory_gib * 1024) if model.memory_gib else None
        records.append(
            {"index": index, "name": model.name, "capability": model.capability, "memory_total_mib": memory,
             "memory_used_mib": 0, "memory_used_percent": 0, "mig": False, "uncorrected_errors": 0,
             "recovery_action": "none", "visible": True}
        )  # fmt: skip
    source = "--gpu"
    return {
        "gpus": Known(records, source),
        "gpu.count": Known(len(records), source),
        "gpu.processes": Known([], source),
        "gpu.errors": Known([], source),
        "gpu.vendor": Known("nvidia", source),
    }


def _version(option: str, text: str) -> str:
    if version_of(text) is None:
        raise UsageError(f"{option} takes a version, such as 550.90 or 3.12; {text!r} is none.")
    return text
