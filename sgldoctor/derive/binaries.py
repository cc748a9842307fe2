"""What the library that importing sgl_kernel loads needs, fits and runs on: from its file, so it goes before tables."""

from __future__ import annotations

import re
from typing import Any

from sgldoctor.binary.symbols import OF_TORCH, OLD_STRING
from sgldoctor.rules.conditions import specifier_of
from sgldoctor.rules.knowledge import kernel_window, package_of_library
from sgldoctor.snapshot import Fact, Facts, Known, Snapshot, Unknown

Records = list[dict[str, Any]]

_MINOR = re.compile(r"^\d+\.\d+")
# Symbols of torch's namespaces, and torch's own libraries: what only another torch can supply.
_OF_TORCH = re.compile(rf"{OF_TORCH}|^lib(?:c10|torch)\w*\.so$")
_OF_FILE = (
    "kernel.file", "kernel.file_there", "kernel.loads", "kernel.refused",
    "kernel.libraries_missing", "kernel.versions_missing", "kernel.symbols_missing",
)  # fmt: skip


def derive(snapshot: Snapshot) -> Facts:
    """Return what follows from the files of torch and the kernels, where they were read."""
    torch = _torch(snapshot)
    return {**torch, **_kernel(snapshot.with_facts(torch))}


def _torch(snapshot: Snapshot) -> Facts:
    failures = snapshot.get("torch.failures")
    loads: Fact = failures
    missing: Fact = failures
    package: Fact = failures
    if isinstance(failures, Known) and failures.value is not None:
        records = snapshot.records("torch.failures")
        libraries = _libraries(snapshot, records)
        loads = Known(not records, failures.source)
        missing = Known(libraries, failures.source)
        packages = [item["index"] for item in libraries if item["index"]]
        modules = [str(item["name"]) for item in _of_kind(records, "module")]
        packages += [name.replace("_", "-") for name in modules if "." not in name]
        package = Known(next(iter(packages), None), failures.source)
    elif isinstance(failures, Known) and snapshot.value("kernel.module") is True:
        loads = Known(False, failures.source)
    if torn := [item for item in snapshot.records("packages.damaged") if _is_torn(item)]:
        loads = Known(False, str(torn[0].get("where")))
    return {
        "torch.version": snapshot.facts.get("torch.version") or snapshot.get("package.torch"),
        "torch.loads": loads,
        "torch.libraries_missing": missing,
        "torch.missing_package": package,
    }


def _is_torn(damage: dict[str, Any]) -> bool:
    """Return whether a Python module is gone that importing torch needs."""
    gone = damage.get("problem") == "module missing" or str(damage.get("path")).endswith("/__init__.py")
    return damage.get("name") == "torch" and damage.get("problem") != "changed" and gone


def _kernel(snapshot: Snapshot) -> Facts:
    files = snapshot.facts.get("kernel.files")
    if files is None:
        return {}
    if isinstance(files, Unknown) or files.value is None:
        return dict.fromkeys(_OF_FILE, files)
    if snapshot.value("torch.loads") is not True:
        return dict.fromkeys(_OF_FILE, Known(None, "torch itself does not load"))
    chosen = _chosen(snapshot)
    if chosen is None:
        return {**dict.fromkeys(_OF_FILE, Known(None, files.source)), "kernel.file_there": Known(False, files.source)}
    path = str(chosen.get("path"))
    failures = [item for item in snapshot.records("kernel.failures_by_file") if item.get("path") == path]
    misfits = [item for item in failures if _OF_TORCH.match(str(item.get("name")))]
    rest = [item for item in failures if item not in misfits]
    facts: Facts = {
        "kernel.file": Known(path, path),
        "kernel.file_there": Known(True, path),
        "kernel.loads": Known(bool(chosen.get("loads")), path),
        "kernel.refused": Known(next((item["name"] for item in _of_kind(rest, "file")), None), path),
        "kernel.libraries_missing": Known(_libraries(snapshot, rest), path),
        "kernel.versions_missing": Known(_of_kind(rest, "version"), path),
        "kernel.symbols_missing": Known(_of_kind(rest, "symbol"), path),
        "kernel.fits_torch": Known(not misfits, path),
        "kernel.misfit": Known(_described(misfits), path),
    }
    if (targets := chosen.get("targets")) is not None:
        facts["kernel.targets"] = Known(str(targets).split(), path)
    if cuda := chosen.get("cuda_major"):
        facts["kernel.cuda_major"] = Known(cuda, path)
    return facts | _window(snapshot, chosen, misfits)


def _chosen(snapshot: Snapshot) -> dict[str, Any] | None:
    """Return the library that is loaded on the first visible GPU, as sgl_kernel's own loader chooses.

    From 0.3.13 on: sm90/ on compute capability 9.0, sm100/ on all others and without a GPU; then the folder itself.
    """
    gpus = snapshot.records("gpus.visible")
    variant = "sm90" if gpus and gpus[0].get("capability") == "9.0" else "sm100"
    files = [item for item in snapshot.records("kernel.files") if item.get("variant") in {variant, "flat"}]
    return next((item for item in files if item.get("loads")), files[0] if files else None)


def _of_kind(failures: Records, kind: str) -> Records:
    fields = ("name", "shown", "needed_by", "library")
    return [{key: item.get(key) for key in fields} for item in failures if item.get("kind") == kind]


def _libraries(snapshot: Snapshot, failures: Records) -> Records:
    """Return the libraries that are found nowhere, each with the package that brings it.

    A distribution that is there and torn is named in its version; one that is whole is not named: the library is there
    too, only nobody loads it.
    """
    cuda = snapshot.text("torch.cuda_major")
    torn = {item.get("name") for item in snapshot.records("packages.damaged")}
    found = []
    for item in _of_kind(failures, "library"):
        package = package_of_library(str(item["name"]), cuda)
        index = package["index"]
        installed = snapshot.text(f"package.{index}") if index else None
        if installed:
            package["index"] = f"{index}=={installed}" if index in torn else None
        found.append({"name": item["name"], "needed_by": item["needed_by"], **package})
    return found


def _described(misfits: Records) -> str | None:
    """Return the first symbol that torch does not export, in C++ and as an error text names it."""
    if not misfits:
        return None
    name, shown = str(misfits[0].get("name")), misfits[0].get("shown")
    first = name if shown in {None, name} else f"{shown} ({name})"
    if re.search(OLD_STRING, name):
        first += " of the old C++ ABI"
    return first if len(misfits) == 1 else f"{first} and {len(misfits) - 1} more"


def _window(snapshot: Snapshot, chosen: dict[str, Any], misfits: Records) -> Facts:
    """Return the torch versions that export all that the file asks for; unknown where this one should, and does not."""
    path = str(chosen.get("path"))
    versions = _measured(snapshot, str(chosen.get("fits") or "").split())
    minors = list(dict.fromkeys(match[0] for version in versions if (match := _MINOR.match(version))))
    torch = _MINOR.match(snapshot.text("torch.version") or "")
    if not minors or (misfits and torch and torch[0] in minors):
        reason = Unknown("no torch release is known to export all that this file asks for")
        return {"kernel.torch_window": reason, "kernel.torch_for": reason}
    major, minor = minors[-1].split(".")
    window = f"=={minors[0]}.*" if len(minors) == 1 else f">={minors[0]},<{major}.{int(minor) + 1}"
    return {"kernel.torch_window": Known(window, path), "kernel.torch_for": Known(minors[0], path)}


def _measured(snapshot: Snapshot, versions: list[str]) -> list[str]:
    """Return those versions with which this release was imported, all of them where its name and file disagree.

    A torch may export every symbol and still not load a library that the kernels need: 2.5 leaves out libnvrtc.
    """
    row = kernel_window(snapshot.text("kernel.distribution") or "", snapshot.text("kernel.version") or "")
    window = specifier_of(row["torch"]) if row else None
    return [version for version in versions if window and window.contains(version)] or versions
