"""What belongs to the installed torch and flashinfer: companions built for them, labels, kernels compiled later."""

from __future__ import annotations

import re
from typing import Any

from sgldoctor.rules.conditions import specifier_of, version_of
from sgldoctor.rules.knowledge import table
from sgldoctor.snapshot import Fact, Facts, Known, Snapshot, Unknown

_TABLE = "torch_companions.yaml"
_OFFICIAL = re.compile(r"^\d+\.\d+\.\d+(?:\+(?:cu\d+|cpu))?$")
# 0.3.15+cu124, and the AOT wheels of flashinfer up to 0.3.1: 0.2.5+cu124torch2.6
_LABEL = re.compile(r"\+cu(\d\d)\d(?:torch(\d+\.\d+))?$")
# flashinfer/jit/env.py compares since 0.4.0; up to 0.7.1 another version stops the import, later it is left aside
_COMPARES, _REFUSES = ">=0.4.0", ">=0.4.0,<0.7.2"


def derive(snapshot: Snapshot) -> Facts:
    """Return which companions do not belong to torch and flashinfer, and what labels say of the builds."""
    return {
        "torch.companions": _torch_companions(snapshot),
        "flashinfer.companions": _flashinfer_companions(snapshot),
        **_flashinfer_build(snapshot),
        **_kernel_label(snapshot),
    }


def _torch_companions(snapshot: Snapshot) -> Fact:
    torch = snapshot.get("package.torch")
    if isinstance(torch, Unknown) or torch.value is None:
        return torch
    records: list[dict[str, Any]] = []
    for name in ("torchvision", "torchaudio"):
        fact = snapshot.get(f"package.{name}")
        if isinstance(fact, Known) and fact.value is None:
            continue
        version = str(fact.value) if isinstance(fact, Known) else None
        needs = _needed_torch(name, version) if version and _OFFICIAL.match(version) else None
        fits = None
        if needs and _OFFICIAL.match(str(torch.value)):
            fits = specifier_of(needs).contains(str(torch.value))
        records.append({"package": name, "version": version, "needs": needs and f"torch{needs}", "fits": fits})
    return Known(records, _TABLE)


def _needed_torch(package: str, version: str) -> str | None:
    parsed = version_of(version.partition("+")[0])
    if parsed is None:
        return None
    rows = (row for row in table(_TABLE)["companions"] if row["package"] == package)
    return next((str(row["torch"]) for row in rows if specifier_of(row["versions"]).contains(parsed)), None)


def _flashinfer_companions(snapshot: Snapshot) -> Fact:
    """Return cubin and jit-cache packages of another version, as flashinfer's own check compares them."""
    own = snapshot.get("package.flashinfer-python")
    if isinstance(own, Unknown) or own.value is None:
        return own
    text = str(own.value)
    version = version_of(text)
    records: list[dict[str, Any]] = []
    for name in ("flashinfer-cubin", "flashinfer-jit-cache"):
        fact = snapshot.get(f"package.{name}")
        if isinstance(fact, Unknown):
            return fact
        other = str(fact.value) if fact.value is not None else text
        same = other == text if name == "flashinfer-cubin" else other.startswith(text)
        if not same and version is not None and specifier_of(_COMPARES).contains(version):
            refused = specifier_of(_REFUSES).contains(version)
            records.append({"package": name, "version": other, "flashinfer": text, "refused": refused})
    return Known(records, own.source)


def _flashinfer_build(snapshot: Snapshot) -> Facts:
    """Return whether flashinfer compiles its kernels on first use, and what an AOT wheel was built for."""
    names = ("flashinfer.compiles", "flashinfer.torch_window", "flashinfer.cuda_major")
    own, cache = snapshot.get("package.flashinfer-python"), snapshot.get("package.flashinfer-jit-cache")
    if isinstance(own, Unknown) or own.value is None:
        return dict.fromkeys(names, own)
    label = _LABEL.search(str(own.value))
    built_for = label[2] if label else None
    compiles: Fact = Known(cache.value is None, cache.source) if isinstance(cache, Known) else cache
    return {
        "flashinfer.compiles": Known(False, own.source) if built_for else compiles,
        "flashinfer.torch_window": Known(f"=={built_for}.*" if built_for else None, own.source),
        "flashinfer.cuda_major": Known(label[1] if label else None, own.source),
    }


def _kernel_label(snapshot: Snapshot) -> Facts:
    """Return the CUDA major that a label such as +cu130 states; it says more than the table of plain builds."""
    for name in ("sglang-kernel", "sgl-kernel"):
        fact = snapshot.get(f"package.{name}")
        if isinstance(fact, Known) and fact.value is not None:
            label = _LABEL.search(str(fact.value))
            return {"kernel.cuda_major": Known(label[1], fact.source)} if label else {}
    return {}
