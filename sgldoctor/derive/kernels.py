"""Which torch the installed kernels fit and which GPUs they serve, by the measured windows."""

from __future__ import annotations

import re

from sgldoctor.derive.torch import without_code
from sgldoctor.rules.conditions import specifier_of, version_of
from sgldoctor.rules.knowledge import kernel_for_torch, kernel_gpu_code, kernel_window, kernels_for_torch
from sgldoctor.snapshot import Fact, Facts, Known, Snapshot, Unknown

_TABLE = "kernel_windows.yaml"
_MINOR = re.compile(r"\d+\.\d+")
_OFFICIAL = re.compile(r"^\d+\.\d+\.\d+(?:\.post\d+)?$")
_WINDOW_FACTS = ("kernel.torch_window", "kernel.torch_for", "kernel.cuda_major", "kernel.targets")


def derive(snapshot: Snapshot) -> Facts:
    """Return the window of torch versions, the CUDA major and the GPU code of the installed kernels."""
    facts: Facts = {}
    torch = snapshot.get("torch.version")
    if isinstance(torch, Known) and torch.value is not None:
        version = str(torch.value).partition("+")[0]
        reason = Unknown(f"no released kernels are known to fit torch {version}")
        found, fitting = kernel_for_torch(version), kernels_for_torch(version)
        facts["kernel.for_torch"] = Known(found, _TABLE) if found else reason
        facts["kernel.versions_for_torch"] = Known(fitting, _TABLE) if fitting else reason
    else:
        facts["kernel.for_torch"] = facts["kernel.versions_for_torch"] = torch
    seen = snapshot.with_facts({k: f for k, f in facts.items() if k not in snapshot.facts})
    facts |= _windows(seen)
    seen = seen.with_facts({k: f for k, f in facts.items() if k not in seen.facts})
    facts["kernel.fits_torch"] = _fits(seen)
    facts["kernel.to_remove"] = _to_remove(seen)
    facts |= _words(seen)
    return facts | {"kernel.gpus_without_code": without_code(seen, seen.get("kernel.targets"))}


def carrier(snapshot: Snapshot) -> Facts:
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
    targets = kernel_gpu_code(package, version, str(arch.value))
    if targets is None:
        return Unknown(f"the GPU code of {package} {version} for {arch.value} was never read")
    return Known(targets, "kernel_abi.json")


def _fits(snapshot: Snapshot) -> Fact:
    """Return whether the installed torch lies in the kernels' window; used where their file was not read."""
    torch, window = snapshot.get("torch.version"), snapshot.get("kernel.torch_window")
    for fact in (torch, window):
        if isinstance(fact, Unknown) or fact.value is None:
            return fact
    version = version_of(snapshot.text("torch.version") or "")
    if version is None or not isinstance(window, Known):
        return Unknown("torch's version cannot be read")
    return Known(specifier_of(str(window.value)).contains(version.public), window.source)


def _words(snapshot: Snapshot) -> Facts:
    """Return in words why the kernels do not fit torch: the first thing that is missing, and what would fit."""
    window = snapshot.get("kernel.torch_window")
    built_for = _in_words(str(window.value)) if isinstance(window, Known) and window.value else None
    symbol = snapshot.text("kernel.misfit")
    torch = (snapshot.text("torch.version") or "").partition("+")[0]
    released = snapshot.text("kernel.versions_for_torch")
    others = f"torch {torch} takes {released}" if released else f"no released kernels are known to fit torch {torch}"
    others = f"{others[0].upper()}{others[1:]}."
    fitting = f"These kernels fit torch {built_for}. {others}" if built_for else others
    facts: Facts = {"kernel.fitting": Known(fitting if torch else "", _TABLE)}
    if not built_for and not symbol:
        return facts | {"kernel.mismatch": window}
    kernels = f"{snapshot.text('kernel.distribution') or 'sgl_kernel'} {snapshot.text('kernel.version') or ''}".strip()
    have, first = version_of(torch), version_of(built_for.split()[0] if built_for else "")
    if built_for and have and first:
        text = f"torch {torch} is too {'old' if have < first else 'new'} for {kernels}, which fits torch {built_for}"
    else:
        text = f"{kernels} does not fit torch {torch}"
    if symbol:
        missing = next((str(item.get("name")) for item in snapshot.records("kernel.libraries_missing")), None)
        are = "are" if missing or " more" in symbol else "is"
        text += f"; it needs {f'{missing} and ' if missing else ''}{symbol}, which {are} not there"
    return facts | {"kernel.mismatch": Known(f"{text}. {others}", _TABLE if symbol is None else "kernel.files")}


def _to_remove(snapshot: Snapshot) -> Fact:
    """Return the installed kernels where those that fit have the other name: both write the folder sgl_kernel."""
    carrier, wanted = snapshot.get("kernel.distribution"), snapshot.text("kernel.for_torch")
    if isinstance(carrier, Unknown) or wanted is None:
        return carrier if wanted else Known(None, _TABLE)
    same = carrier.value is None or wanted.startswith(f"{carrier.value}==")
    return Known(None if same else carrier.value, carrier.source)


def _in_words(window: str) -> str:
    """Return ``==2.8.*`` as ``2.8`` and ``>=2.14,<2.16`` as ``2.14 to 2.15``."""
    numbers: list[str] = _MINOR.findall(window)
    if len(numbers) == 1:
        return numbers[0]
    major, minor = numbers[1].split(".")
    last = f"{major}.{int(minor) - 1}"
    return numbers[0] if numbers[0] == last else f"{numbers[0]} to {last}"
