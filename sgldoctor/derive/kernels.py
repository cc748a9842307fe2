"""Which torch the installed kernels fit and which GPUs they serve, by the measured windows."""

from __future__ import annotations

import re

from sgldoctor.derive.torch import without_code
from sgldoctor.gpu_code import target_of
from sgldoctor.rules.knowledge import kernel_for_torch, kernel_gpu_code, kernel_window
from sgldoctor.snapshot import Fact, Facts, Known, Snapshot, Unknown

_TABLE = "kernel_windows.yaml"
_MINOR = re.compile(r"\d+\.\d+")
_OFFICIAL = re.compile(r"^\d+\.\d+\.\d+(?:\.post\d+)?$")
_WINDOW_FACTS = ("kernel.torch_window", "kernel.torch_for", "kernel.cuda_major", "kernel.targets")


def derive(snapshot: Snapshot) -> Facts:
    """Return the window of torch versions, the CUDA major and the GPU code of the installed kernels."""
    facts: Facts = {}
    torch = snapshot.get("package.torch")
    if isinstance(torch, Known) and torch.value is not None:
        found = kernel_for_torch(str(torch.value))
        facts["kernel.for_torch"] = (
            Known(found, _TABLE) if found else Unknown(f"no kernels are known to fit torch {torch.value}")
        )
    else:
        facts["kernel.for_torch"] = torch
    facts |= _carrier(snapshot)
    seen = snapshot.with_facts({k: f for k, f in facts.items() if k not in snapshot.facts})
    facts |= _windows(seen)
    return facts | {"kernel.gpus_without_code": without_code(seen, facts["kernel.targets"])}


def _carrier(snapshot: Snapshot) -> Facts:
    """Return the distribution that carries sgl_kernel; probes say it, other snapshots name packages alone."""
    facts = {name: snapshot.get(f"package.{name}") for name in ("sglang-kernel", "sgl-kernel")}
    for name, fact in facts.items():
        if isinstance(fact, Known) and fact.value is not None:
            return {"kernel.distribution": Known(name, fact.source), "kernel.version": fact}
    found = next((fact for fact in facts.values() if isinstance(fact, Unknown)), facts["sgl-kernel"])
    return {"kernel.distribution": found, "kernel.version": found}


def _windows(snapshot: Snapshot) -> Facts:
    version, package = snapshot.get("kernel.version"), snapshot.text("kernel.distribution")
    if isinstance(version, Unknown) or version.value is None or package is None:
        return dict.fromkeys((*_WINDOW_FACTS, "kernel.official"), version)
    text = str(version.value)
    if not _OFFICIAL.match(text):
        reason = Unknown(f"{package} {text} is no build from the package index; the measured windows do not apply")
        return {**dict.fromkeys(_WINDOW_FACTS, reason), "kernel.official": Known(False, version.source)}
    facts: Facts = {"kernel.official": Known(True, version.source)}
    row = kernel_window(package, text)
    if row is None:
        reason = Unknown(f"{package} {text} was never measured; update sgldoctor to know which torch it fits")
        return facts | dict.fromkeys(_WINDOW_FACTS, reason)
    window = str(row["torch"])
    return facts | {
        "kernel.torch_window": _window(snapshot, window),
        "kernel.torch_for": Known(_MINOR.findall(window)[0], _TABLE),
        "kernel.cuda_major": Known(str(row["cuda_major"]), _TABLE),
        "kernel.targets": _targets(snapshot, package, text),
    }


def _window(snapshot: Snapshot, window: str) -> Fact:
    """Return the window, unless this torch is a build that nobody measured."""
    if snapshot.value("torch.official") is False:
        return Unknown(f"torch {snapshot.text('package.torch')} is a custom build; only release builds were measured")
    return Known(window, _TABLE)


def _targets(snapshot: Snapshot, package: str, version: str) -> Fact:
    arch = snapshot.get("cpu.arch")
    if isinstance(arch, Unknown) or arch.value is None:
        return Unknown("the CPU architecture is unknown")
    row = kernel_gpu_code(package, version, str(arch.value))
    if row is None:
        return Unknown(f"the GPU code of {package} {version} for {arch.value} was never read")
    targets = [target_of(item) for item in row["cubins"]]
    targets += [target_of(item).replace("sm_", "compute_") for item in row.get("ptx", ())]
    return Known(targets, _TABLE)
