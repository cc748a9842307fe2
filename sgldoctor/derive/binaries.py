"""What the library that importing sgl_kernel loads needs, fits and runs on: from its file, so it goes before tables."""

from __future__ import annotations

import re
from typing import Any

from sgldoctor.rules.knowledge import package_of_library
from sgldoctor.snapshot import Facts, Known, Snapshot, Unknown

_MINOR = re.compile(r"^\d+\.\d+")
_FOR_TORCH = re.compile(r"^_Z.*(?:3c10|2at|5torch|6caffe2)\d|^lib(?:c10|torch)\w*\.so$")
_NEEDS = (
    "kernel.file", "kernel.file_there", "kernel.loads", "kernel.refused",
    "kernel.libraries_missing", "kernel.versions_missing", "kernel.symbols_missing",
)  # fmt: skip


def derive(snapshot: Snapshot) -> Facts:
    """Return what follows from the files of torch and the kernels, where they were read."""
    torch = _torch(snapshot)
    return {**torch, **_kernel(snapshot.with_facts(torch))}


def _torch(snapshot: Snapshot) -> Facts:
    failures = snapshot.get("torch.failures")
    version = snapshot.facts.get("torch.version") or snapshot.get("package.torch")
    facts: Facts = {"torch.version": version}
    if isinstance(failures, Unknown) or failures.value is None:
        absent = isinstance(failures, Known) and snapshot.value("kernel.module") is True
        return {
            **facts,
            "torch.loads": Known(False, failures.source) if absent and isinstance(failures, Known) else failures,
            "torch.libraries_missing": failures,
        }
    records = snapshot.records("torch.failures")
    missing = _missing(snapshot, records)
    return {
        **facts,
        "torch.missing_package": Known(next((i.get("index") for i in missing if i.get("index")), None), failures.source),
        "torch.loads": Known(not records, failures.source),
        "torch.libraries_missing": Known(missing, failures.source),
    }


def _kernel(snapshot: Snapshot) -> Facts:
    files = snapshot.facts.get("kernel.files")
    if files is None:
        return {}
    if isinstance(files, Unknown) or files.value is None:
        return dict.fromkeys(_NEEDS, files)
    if snapshot.value("torch.loads") is not True:
        return dict.fromkeys(_NEEDS, Known(None, "torch itself does not load"))
    chosen = _chosen(snapshot)
    if chosen is None:
        return dict.fromkeys(_NEEDS, Known(None, files.source)) | {"kernel.file_there": Known(False, files.source)}
    path = str(chosen["path"])
    failures = [item for item in snapshot.records("kernel.failures_by_file") if item.get("path") == path]
    versions = [item for item in failures if item.get("kind") == "version"]
    symbols = [item for item in failures if item.get("kind") == "symbol"]
    others = [item for item in symbols if not _FOR_TORCH.match(str(item.get("name")))]
    misfits = [item for item in failures if _FOR_TORCH.match(str(item.get("name")))]
    facts: Facts = {
        "kernel.file": Known(path, path),
        "kernel.file_there": Known(True, path),
        "kernel.loads": Known(bool(chosen.get("loads")), path),
        "kernel.libraries_missing": Known(_missing(snapshot, failures), path),
        "kernel.versions_missing": Known([_brief(item) for item in versions], path),
        "kernel.symbols_missing": Known([_brief(item) for item in others], path),
        "kernel.refused": Known(next((i.get("name") for i in failures if i.get("kind") == "file"), None), path),
        "kernel.fits_torch": Known(not misfits, path),
        "kernel.misfit": Known(_described(misfits), path),
    }
    if chosen.get("targets") is not None:
        facts["kernel.targets"] = Known(str(chosen.get("targets")).split(), path)
    if chosen.get("cuda_major"):
        facts["kernel.cuda_major"] = Known(chosen.get("cuda_major"), path)
    return facts | _window(snapshot, chosen, misfits)


def _chosen(snapshot: Snapshot) -> dict[str, Any] | None:
    """Return the library that is loaded on the first visible GPU, as sgl_kernel's own loader chooses.

    From 0.3.13 on: sm90/ on compute capability 9.0, sm100/ on all others and without a GPU; then the folder itself.
    """
    gpus = snapshot.records("gpus.visible")
    variant = "sm90" if gpus and gpus[0].get("capability") == "9.0" else "sm100"
    files = [item for item in snapshot.records("kernel.files") if item.get("variant") in {variant, "flat"}]
    return next((item for item in files if item.get("loads")), files[0] if files else None)


def _brief(failure: dict[str, Any]) -> dict[str, Any]:
    return {key: failure.get(key) for key in ("name", "shown", "needed_by", "library")}


def _missing(snapshot: Snapshot, failures: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the libraries that are found nowhere, with the package that brings each; torch's own are left out."""
    found = []
    for item in failures:
        if item.get("kind") == "library" and not _FOR_TORCH.match(str(item.get("name"))):
            package = package_of_library(str(item.get("name")), snapshot.text("torch.cuda_major"))
            found.append({"name": str(item.get("name")), "needed_by": item.get("needed_by"), **package})
    return found


def _described(misfits: list[dict[str, Any]]) -> str | None:
    """Return the first symbol that torch does not export, in C++ and as an error text names it."""
    if not misfits:
        return None
    first = misfits[0]
    name = str(first.get("name")) if first.get("shown") == str(first.get("name")) else f"{first.get('shown')} ({first.get('name')})"
    return name if len(misfits) == 1 else f"{name} and {len(misfits) - 1} more"


def _window(snapshot: Snapshot, chosen: dict[str, Any], misfits: list[dict[str, Any]]) -> Facts:
    """Return the torch versions that export all that the file asks for; unknown where none, or this one, would fit."""
    path = str(chosen["path"])
    versions = str(chosen.get("fits") or "").split()
    minors = list(dict.fromkeys(match[0] for version in versions if (match := _MINOR.match(version))))
    torch = _MINOR.match(snapshot.text("torch.version") or "")
    if not minors or (misfits and torch and torch[0] in minors):
        reason = Unknown("no torch release is known to export all that this file asks for")
        return {"kernel.torch_window": reason, "kernel.torch_for": reason}
    first, last = minors[0], minors[-1]
    major, minor = last.split(".")
    window = f"=={first}.*" if first == last else f">={first},<{major}.{int(minor) + 1}"
    return {"kernel.torch_window": Known(window, path), "kernel.torch_for": Known(first, path)}
