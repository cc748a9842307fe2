"""What follows about the environment: how whole its installation is, and what would install it again."""

from __future__ import annotations

from typing import Any

from sgldoctor.derive.torch import python_listed
from sgldoctor.rules.conditions import specifier_of, version_of
from sgldoctor.snapshot import Fact, Facts, Known, Snapshot, Unknown

_NOT_ASKED = "only --deep looks at this"
# Packages of two CUDA majors that write the same files: nvidia/cudnn/lib/libcudnn.so.9 and so on (RECORD of each)
_ONE_FOLDER = ("cudnn", "nccl", "nvshmem", "cusparselt")
# Releases whose pins cannot be met from the package index any more, and the pin (METADATA held against the index)
_GONE = (
    (">=0.3.6.post3,<=0.4.2.post1", "flashinfer, a project that is not there"),
    (">=0.4.3.post3,<=0.4.6", "sgl-kernel 0.0.x, which was removed; the oldest there is 0.1.0"),
    (">=0.5.3.post1,<=0.5.4.post2", "apache-tvm-ffi==0.1.0b15 through flashinfer-python, which was removed"),
)
# These pin transformers 4.57.0, which was yanked; uv takes a yanked release only where it is named
_PIN_YANKED = (">=0.5.3rc2,<=0.5.3", ' "transformers==4.57.0"')
_NEEDS_EARLY = ">=0.5.10rc0"
# An import that fails for want of the driver says nothing about the environment; the kernels of 0.3.13 to 0.3.15
# name no cause at all
_DRIVER_WORDS = ("libcuda.so", "NVIDIA driver", "CUDA driver", "No CUDA GPUs")
_HIDES_CAUSE, _NAMES_CAUSE = "Could not load any common_ops library", ("undefined symbol", "cannot open shared object")


def derive(snapshot: Snapshot) -> Facts:
    """Return counts and gaps of the installation, and the command that installs this sglang release again."""
    imports = snapshot.get("imports") if "imports" in snapshot.facts else Known(None, _NOT_ASKED)
    gone = _gone(snapshot.get("package.sglang"))
    return {
        "imports": imports,
        "imports.failed": _failed(snapshot, imports),
        "pip.version": Known(None, _NOT_ASKED),
        "pip.differences": Known(None, _NOT_ASKED),
        "requirements.missing_direct": _missing_direct(snapshot),
        "gpu.here": _gpu_here(snapshot.get("gpu.count")),
        "sglang.python_served": python_listed(snapshot, "sglang.wheel_pythons"),
        "sglang.gone": gone,
        "cuda.doubled": _doubled(snapshot),
        "command.install_sglang": _install(snapshot, gone),
    }


def _failed(snapshot: Snapshot, imports: Fact) -> Fact:
    if isinstance(imports, Unknown) or imports.value is None:
        return imports
    there = _driver_there(snapshot)
    records: list[dict[str, Any]] = []
    for item in imports.value if isinstance(imports.value, list) else []:
        if isinstance(item, dict) and item.get("ok") is False:
            error = str(item.get("error") or "no error text")
            blame = _for_driver(error, there=there)
            records.append({"module": item.get("module"), "error": error, "for_driver": blame})
    return Known(records, imports.source)


def _driver_there(snapshot: Snapshot) -> bool | None:
    """Return whether programs here find a working driver; ``--gpu`` assumes a state, but brings no library."""
    libcuda, state = snapshot.get("driver.libcuda"), snapshot.value("driver.state")
    if (isinstance(libcuda, Known) and libcuda.value is None) or state not in {None, "ok"}:
        return False
    return True if state == "ok" and isinstance(libcuda, Known) else None


def _for_driver(error: str, *, there: bool | None) -> bool | None:
    """Return whether the driver is to blame; None where the error or the driver's state does not say."""
    if there:
        return False
    if any(word in error for word in _DRIVER_WORDS):
        return None if there is None else True
    return None if _HIDES_CAUSE in error and not any(word in error for word in _NAMES_CAUSE) else False


def _gpu_here(count: Fact) -> Fact:
    """Return whether a GPU is in this machine, whose compilers and folders can then be judged with it."""
    if isinstance(count, Unknown) or count.value is None:
        return count
    if count.source == "--gpu":
        return Unknown("--gpu names another machine")
    return Known(count.value != 0, count.source)


def _missing_direct(snapshot: Snapshot) -> Fact:
    unmet = snapshot.get("requirements.unmet")
    if isinstance(unmet, Unknown) or unmet.value is None:
        return unmet
    rows = snapshot.records("requirements.unmet")
    return Known(sum(row.get("direct") is True and row.get("problem") == "missing" for row in rows), unmet.source)


def _gone(sglang: Fact) -> Fact:
    if isinstance(sglang, Unknown) or sglang.value is None:
        return sglang
    version = version_of(str(sglang.value))
    if version is None:
        return Unknown(f"the version {sglang.value} is not PEP 440")
    found = next((need for versions, need in _GONE if specifier_of(versions).contains(version)), None)
    return Known(found, "METADATA of the release, held against the package index")


def _doubled(snapshot: Snapshot) -> Fact:
    packages = snapshot.get("packages")
    if isinstance(packages, Unknown) or packages.value is None:
        return packages
    names = {str(item.get("name")) for item in snapshot.records("packages")}
    records: list[dict[str, Any]] = []
    for library in _ONE_FOLDER:
        found = sorted(name for name in names if name in {f"nvidia-{library}-cu{major}" for major in (11, 12, 13)})
        if len(found) > 1:
            records.append({"library": library, "names": " and ".join(found)})
    return Known(records, packages.source)


def _install(snapshot: Snapshot, gone: Fact) -> Fact:
    """Return the one command that brings this release with all of its pins; unknown where the index has it not."""
    sglang = snapshot.get("package.sglang")
    if isinstance(sglang, Unknown) or sglang.value is None:
        return sglang
    if snapshot.value("sglang.age") != "known":
        return Unknown(f"sglang {sglang.value} is no release that this sgldoctor knows")
    if not isinstance(gone, Known) or gone.value is not None:
        return Unknown(f"sglang {sglang.value} cannot be installed from the package index any more")
    if any(item.get("name") == "sglang" and item.get("url") for item in snapshot.records("packages")):
        return Unknown("sglang was not installed from the package index")
    version = str(sglang.value)
    command, yanked = str(snapshot.value("command.install") or "pip install"), ""
    if command.startswith("uv "):
        # pip takes pre-releases that are asked for, and yanked releases that are pinned; uv wants to be told
        command += " --prerelease=allow" if specifier_of(_NEEDS_EARLY).contains(version) else ""
        yanked = _PIN_YANKED[1] if specifier_of(_PIN_YANKED[0]).contains(version) else ""
    extra = f"[{name}]" if (name := snapshot.text("sglang.runtime_extra")) else ""
    return Known(f'{command} "sglang{extra}=={version}"{yanked}', sglang.source)
