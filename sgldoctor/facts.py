"""The catalogue of facts: every name that a rule may use, its kind, and what it means.

`sgldoctor rules facts` prints it. A probe may only report names that stand here, a rule may only ask for them.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, Any

from sgldoctor.errors import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Mapping


class Kind(Enum):
    """What a fact's value is, which decides the conditions that a rule may put on it."""

    TEXT = "text"
    VERSION = "version"
    NUMBER = "number"
    FLAG = "flag"
    TEXTS = "texts"
    RECORDS = "records"


@dataclass(frozen=True, slots=True)
class FactSpec:
    """One fact, or a family of facts whose name ends in ``*``."""

    name: str
    kind: Kind
    label: str
    fields: Mapping[str, Kind] = field(default_factory=dict)


T, V, N, F, L = Kind.TEXT, Kind.VERSION, Kind.NUMBER, Kind.FLAG, Kind.TEXTS


def _records(name: str, label: str, /, **fields: Kind) -> FactSpec:
    return FactSpec(name, Kind.RECORDS, label, fields)


CATALOGUE = (
    # the target Python
    FactSpec("python.executable", T, "interpreter"),
    FactSpec("python.prefix", T, "environment"),
    FactSpec("python.version", V, "Python"),
    FactSpec("python.minor", V, "Python minor version, such as 3.12"),
    FactSpec("python.implementation", T, "implementation (cpython, pypy, ...)"),
    FactSpec("python.free_threaded", F, "free-threaded build"),
    FactSpec("python.environment", T, "kind of environment (venv, conda, system)"),
    FactSpec("python.externally_managed", F, "marked EXTERNALLY-MANAGED (PEP 668)"),
    FactSpec("python.sees_system_packages", F, "venv that also sees the system's packages"),
    FactSpec("python.site_packages", L, "folders that packages are imported from"),
    FactSpec("python.chosen_because", T, "why this environment was examined"),
    FactSpec("python.others", L, "other environments that could be examined"),
    FactSpec("python.headers", F, "Python.h is there (needed to compile extensions)"),
    FactSpec("python.made_for", T, "what sgldoctor install made this environment for (sglang, vllm, packages)"),
    FactSpec("python.base_missing", F, "the venv's base interpreter is gone"),
    # packages in it
    FactSpec("package.*", V, "version of a distribution, canonical name"),
    _records(
        "packages", "distributions found",
        name=T, version=V, local=T, installer=T, url=T, editable=F, location=T,
    ),
    _records("packages.duplicates", "distributions with more than one metadata folder", name=T, versions=T, where=T),
    _records("packages.broken", "metadata folders that cannot be read", name=T, problem=T, where=T),
    _records(
        "packages.damaged", "decisive files that are missing, cut short or changed since the installation",
        name=T, version=V, path=T, problem=T, count=N, where=T,
    ),
    _records("packages.shadowed", "modules that several distributions install", module=T, names=T, where=T),
    _records(
        "requirements.unmet", "requirements in the closure of sglang that are not met",
        package=T, requirement=T, required_by=T, installed=V, problem=T, direct=F,
    ),
    _records("requirements.conflicts", "pins in requirements files that contradict sglang's own",
             package=T, asked=T, needed=T, by=T, where=T),
    _records(
        "requirements.gaps", "unmet requirements by what they mean",
        group=T, package=T, requirement=T, required_by=T, installed=V, problem=T, direct=F,
    ),
    FactSpec("requirements.missing_direct", N, "packages that sglang itself requires and that are not installed"),
    _records("requirements.impossible", "packages whose lines in requirements files exclude each other",
             package=T, asked=T, where=T),
    FactSpec("requirements.open", L, "packages named in the requirements file without an exact version"),
    FactSpec("sglang.runtime", F, "the engine's own requirements are part of this installation"),
    FactSpec("sglang.runtime_extra", T, "the extra that carries the engine, where a release has one"),
    FactSpec("sglang.requires_python", T, "Python versions that this sglang release supports"),
    FactSpec("sglang.wheel_pythons", L, "Python versions that this sglang release has wheels for"),
    FactSpec("sglang.wheel_glibc", V, "smallest glibc that this sglang release's wheels accept"),
    FactSpec("sglang.age", T, "known, newer (than the rules know) or unknown"),
    FactSpec("sglang.python_served", F, "this sglang release has a wheel for this Python"),
    FactSpec("sglang.gone", T, "pin of this sglang release that the package index cannot meet any more"),
    _records("sglang.assertions", "versions that this sglang release asserts at start-up and that are not met",
             package=T, minimum=V, installed=V, problem=T),
    # torch, its CUDA, the kernels
    FactSpec("torch.cuda", V, "CUDA version that torch was built for"),
    FactSpec("torch.cuda_major", T, "CUDA major version that torch was built for"),
    FactSpec("torch.backend", T, "what torch was built for (cuda, rocm, xpu, cpu)"),
    FactSpec("torch.cxx11_abi", F, "torch was built with the cxx11 ABI"),
    FactSpec("torch.targets", L, "GPU targets that torch was compiled for, such as sm_90"),
    FactSpec("torch.libraries", F, "torch's own libraries are in place"),
    FactSpec("torch.min_driver", V, "oldest driver that runs this torch (minor-version compatibility)"),
    FactSpec("torch.toolkit_driver", V, "driver branch that came with torch's CUDA; from it on nothing is held back"),
    FactSpec("torch.python_wheel", F, "this torch release has a wheel for this Python (asked before an installation)"),
    FactSpec("torch.wheel_pythons", L, "Python versions that this torch release has Linux wheels for"),
    FactSpec("torch.cpu_arch", T, "CPU architecture that the installed torch was built for"),
    FactSpec("torch.official", F, "a release build of torch, so that version tables apply"),
    _records("torch.gpus_without_code", "GPUs that this torch holds no code for", index=N, name=T, capability=V),
    _records("torch.companions", "torch's companions and the torch that they were built for",
             package=T, version=V, needs=T, fits=F),
    FactSpec("torch.gpus_with_code", N, "visible GPUs that this torch holds code for"),
    FactSpec("torch.version", V, "torch's own word for its version"),
    FactSpec("torch.loads", F, "torch's libraries can be loaded, by their files"),
    _records("torch.failures", "what keeps torch's libraries from loading",
             kind=T, name=T, shown=T, needed_by=T, library=T),
    FactSpec("torch.missing_package", T, "distribution that brings the first library that torch misses"),
    _records("torch.libraries_missing", "libraries that torch needs and that are found nowhere",
             name=T, needed_by=T, apt=T, dnf=T, index=T, cuda=T),
    FactSpec("kernel.distribution", T, "distribution that carries the kernels (sgl-kernel or sglang-kernel)"),
    FactSpec("kernel.version", V, "version of the kernels"),
    FactSpec("kernel.module", F, "the folder sgl_kernel is in place"),
    FactSpec("kernel.official", F, "a release build of the kernels, so that version tables apply"),
    FactSpec("kernel.torch_window", T, "torch versions that these kernels fit"),
    FactSpec("kernel.for_torch", T, "newest kernels known to fit the installed torch"),
    FactSpec("kernel.torch_for", T, "torch version that these kernels were built for"),
    FactSpec("kernel.cuda_major", T, "CUDA major version that the kernels were built for"),
    _records("kernel.gpus_without_code", "GPUs that these kernels hold no code for", index=N, name=T, capability=V),
    FactSpec("kernel.gpus_with_code", N, "visible GPUs that these kernels hold code for"),
    FactSpec("kernel.targets", L, "GPU targets that these kernels hold code for, such as sm_90"),
    FactSpec("kernel.versions_for_torch", T, "released kernels that fit the installed torch"),
    FactSpec("kernel.fits_torch", F, "torch has all that these kernels ask of it"),
    FactSpec("kernel.misfit", T, "first symbol that torch does not export for these kernels"),
    FactSpec("kernel.fitting", T, "which torch these kernels fit, and which kernels fit this torch"),
    FactSpec("kernel.mismatch", T, "why these kernels do not fit torch, and what would fit"),
    _records("kernel.files", "libraries that importing sgl_kernel may load",
             path=T, variant=T, loads=F, targets=T, cuda_major=T, fits=T),
    _records("kernel.failures_by_file", "what keeps these libraries from loading",
             path=T, kind=T, name=T, shown=T, needed_by=T, library=T),
    FactSpec("kernel.file", T, "library that importing sgl_kernel loads on this GPU"),
    FactSpec("kernel.loads", F, "that library can be loaded, by its file"),
    FactSpec("kernel.file_there", F, "there is a library that importing sgl_kernel loads on this GPU"),
    FactSpec("kernel.to_remove", T, "kernels under their other name, to be removed before others are installed"),
    FactSpec("kernel.cuda_folder_found", F, "the CUDA folder that these kernels search on import is there"),
    FactSpec("kernel.refused", T, "why the loader refuses that file"),
    FactSpec("kernel.driver_library", T, "libcuda.so.1 that the kernels would get"),
    _records("kernel.libraries_missing", "libraries that the kernels need and that are found nowhere",
             name=T, needed_by=T, apt=T, dnf=T, index=T, cuda=T),
    _records("kernel.versions_missing", "symbol versions that a library is too old for",
             name=T, shown=T, needed_by=T, library=T),
    _records("kernel.symbols_missing", "symbols that the kernels ask for and nothing exports, torch's aside",
             name=T, shown=T, needed_by=T, library=T),
    _records("extensions", "extension modules beside the kernels",
             package=T, path=T, file=T, use=T, gpus=T, loads=F, missing=T, targets=T),
    _records("extensions.without_code", "extension modules that should serve these GPUs and hold no code for them",
             package=T, path=T, file=T, use=T, targets=T, name=T, capability=V),
    _records("cuda.majors", "CUDA major versions in this environment", major=T, package=T, version=V, core=F),
    FactSpec("cuda.core_majors", L, "CUDA majors that torch and the kernels ask for"),
    _records("cuda.doubled", "CUDA libraries that two distributions write into one folder", library=T, names=T),
    _records("flashinfer.companions", "flashinfer's companions of another version than its own",
             package=T, version=V, flashinfer=V, refused=F),
    FactSpec("flashinfer.compiles", F, "flashinfer compiles its kernels on first use"),
    FactSpec("flashinfer.torch_window", T, "torch versions that a ready-built flashinfer fits"),
    FactSpec("flashinfer.cuda_major", T, "CUDA major version that flashinfer was built for, by its label"),
    # driver and GPUs
    FactSpec("driver.version", V, "NVIDIA driver"),
    FactSpec("driver.cuda", V, "newest CUDA version that the driver supports by itself"),
    FactSpec("driver.state", T, "ok, not-loaded, no-device, version-mismatch, no-permission, unknown-error, ..."),
    FactSpec("driver.message", T, "the driver's own words"),
    FactSpec("driver.userspace", V, "version of the driver's libraries, where it differs"),
    FactSpec("driver.open_module", F, "the open kernel modules are loaded"),
    FactSpec("driver.libcuda", T, "the libcuda.so.1 that a program would load"),
    FactSpec("driver.libcuda_compat", F, "libcuda.so.1 comes from a cuda-compat folder"),
    FactSpec("driver.fabric_manager", T, "running, stopped or not-needed"),
    FactSpec("gpu.count", N, "number of NVIDIA GPUs"),
    FactSpec("gpu.here", F, "an NVIDIA GPU is in this machine, not only named by an option"),
    FactSpec("gpu.vendor", T, "maker of the accelerator (nvidia, amd, intel, huawei, apple, none)"),
    FactSpec("gpu.pci_nvidia", N, "NVIDIA GPUs on the PCI bus"),
    FactSpec("gpu.visible", T, "CUDA_VISIBLE_DEVICES"),
    FactSpec("gpu.visible_count", N, "GPUs that CUDA_VISIBLE_DEVICES leaves"),
    FactSpec("gpu.visible_cut", T, "entry of CUDA_VISIBLE_DEVICES at which CUDA stops reading"),
    FactSpec("gpu.visible_capabilities", L, "compute capabilities of the visible GPUs, each once"),
    FactSpec("gpu.kinds", L, "kinds of the GPUs (datacenter, workstation, consumer, embedded), each once"),
    FactSpec("gpu.models", L, "names of the GPUs, each once"),
    FactSpec("gpu.datacenter", F, "all GPUs are data-centre models, which may use forward-compatibility packages"),
    _records(
        "gpus", "GPUs",
        index=N, name=T, capability=V, memory_total_mib=N, memory_used_mib=N, memory_used_percent=N, mig=F, ecc=F,
        uncorrected_errors=N, recovery_action=T, fabric=T, visible=F,
    ),
    _records(
        "gpus.visible", "GPUs that CUDA programs see",
        index=N, name=T, capability=V, memory_total_mib=N, memory_used_mib=N, memory_used_percent=N, mig=F, ecc=F,
        uncorrected_errors=N, recovery_action=T, fabric=T, visible=F,
    ),
    _records("gpu.memory_held", "memory of each visible GPU that is taken", index=N, name=T, used_mib=N, percent=N,
             held_by=T),
    _records("gpu.processes", "processes that hold GPU memory", gpu=N, pid=N, name=T, user=T, memory_mib=N),
    _records("gpu.errors", "what the driver would not say about a GPU", index=N, question=T, text=T),
    # tools that JIT compilation needs
    FactSpec("toolchain.nvcc", T, "nvcc"),
    FactSpec("toolchain.nvcc_version", V, "nvcc's version"),
    FactSpec("toolchain.nvcc_major", T, "nvcc's major version"),
    FactSpec("toolchain.cuda_home", T, "CUDA folder that JIT compilation would use"),
    FactSpec("toolchain.cuda_home_valid", F, "CUDA_HOME, where it is set, names a folder with a toolkit"),
    FactSpec("toolchain.cuda_headers", F, "cuda_runtime.h is below that folder"),
    FactSpec("toolchain.ninja", T, "ninja"),
    FactSpec("toolchain.cxx", T, "C++ compiler"),
    FactSpec("toolchain.cxx_version", V, "C++ compiler's version"),
    FactSpec("toolchain.libcuda_link", F, "libcuda.so (the link name) can be found"),
    FactSpec("toolchain.ptxas", T, "ptxas that triton would use"),
    FactSpec("toolchain.ptxas_version", V, "version of that ptxas"),
    # the machine
    FactSpec("os.name", T, "operating system (linux, darwin, windows)"),
    FactSpec("os.id", T, "distribution (debian, ubuntu, rhel, ...)"),
    FactSpec("os.family", T, "distribution family (debian, rhel, suse, arch, alpine)"),
    FactSpec("os.version", T, "version of the distribution"),
    FactSpec("os.kernel", T, "kernel release"),
    FactSpec("libc.name", T, "C library (glibc, musl)"),
    FactSpec("libc.version", V, "C library's version"),
    FactSpec("cpu.arch", T, "CPU architecture (x86_64, aarch64)"),
    FactSpec("container.kind", T, "docker, podman, kubernetes, wsl2, gvisor, modal, runpod, lxc, ... or none"),
    FactSpec("container.wsl", T, "WSL version (1 or 2), absent elsewhere"),
    FactSpec("memory.total_mib", N, "memory of the machine"),
    FactSpec("memory.limit_mib", N, "memory limit of the cgroup"),
    FactSpec("cpu.limit", N, "CPU limit of the cgroup, in cores"),
    FactSpec("shm.total_mib", N, "size of /dev/shm"),
    FactSpec("limits.nofile", N, "open files (soft limit; -1 is unlimited)"),
    FactSpec("limits.memlock_kib", N, "locked memory (soft limit, KiB; -1 is unlimited)"),
    _records("disks", "folders that SGLang writes to", use=T, path=T, free_gib=N, writable=F, problem=T),
    FactSpec("platform.kind", T, "nvidia, or an operating system that no wheels are built for"),
    FactSpec("proxy.catches_localhost", F, "an HTTP proxy is set and NO_PROXY does not except localhost"),
    # variables and ports
    FactSpec("variable.*", T, "environment variable"),
    FactSpec("variables", L, "names of the variables that matter and are set"),
    _records("variables.unread", "SGLang variables that this release never reads", name=T, suggestion=T),
    _records("variables.library_paths", "CUDA folders in LD_LIBRARY_PATH and LD_PRELOAD",
             name=T, path=T, cuda=V, relation=T),
    _records("ports", "TCP ports asked for", port=N, family=T, free=F, problem=T, holder=T, pid=N, user=T, use=T),
    _records("ports.taken", "TCP ports asked for that something listens on", port=N, family=T, use=T, option=T,
             held_by=T, pid=N),
    # --deep
    _records("imports", "imports tried in child processes", module=T, ok=F, seconds=N, error=T),
    _records("imports.failed", "imports that failed in child processes", module=T, error=T, for_driver=F),
    FactSpec("pip.version", V, "pip in the target"),
    _records("pip.differences", "distributions that pip sees differently", name=T, pip=T, seen=T),
    FactSpec("capture.*", T, "what a pattern of a rule's signature took out of a text"),
    FactSpec("knowledge.days", N, "age of the tables of releases and kernels, in days"),
    # commands for the cures
    FactSpec("command.install", T, "command that installs packages into the target"),
    FactSpec("command.uninstall", T, "command that removes packages from the target"),
    FactSpec("command.install_sglang", T, "command that installs this sglang release again with its pins"),
)  # fmt: skip

_EXACT = {spec.name: spec for spec in CATALOGUE if not spec.name.endswith("*")}
_FAMILIES = {spec.name[:-1]: spec for spec in CATALOGUE if spec.name.endswith("*")}


def spec_of(name: str) -> FactSpec | None:
    """Return the entry of a fact's name, or None where there is no such fact."""
    if spec := _EXACT.get(name):
        return spec
    return next((spec for prefix, spec in _FAMILIES.items() if name.startswith(prefix) and name != prefix), None)


def fits(name: str, value: Any) -> bool:  # noqa: ANN401 - any JSON value
    """Return whether a value is of the kind of its fact; absent (None) always is, and so is any of an unknown name."""
    spec = spec_of(name)
    if spec is None or value is None:
        return True
    match spec.kind:
        case Kind.TEXT | Kind.VERSION:
            return isinstance(value, str)
        case Kind.NUMBER:
            return isinstance(value, int | float) and not isinstance(value, bool)
        case Kind.FLAG:
            return isinstance(value, bool)
        case Kind.TEXTS:
            return isinstance(value, list) and all(isinstance(item, str) for item in value)
        case Kind.RECORDS:
            return isinstance(value, list) and all(_is_record(spec.fields, item) for item in value)


def _is_record(fields: Mapping[str, Kind], item: Any) -> bool:  # noqa: ANN401 - any JSON value
    if not isinstance(item, dict):
        return False
    return all(
        value is None or (isinstance(value, bool) if kind is Kind.FLAG else isinstance(value, int | float | str))
        for name, value in item.items()
        if (kind := fields.get(name))
    )


def unknown_fact(name: str) -> str:
    """Return the error text for a fact that does not exist, with the nearest one."""
    return f"there is no fact {name!r}.{did_you_mean(name, list(_EXACT))} See: sgldoctor rules facts"


def label_of(name: str) -> str:
    """Return how a report calls a fact."""
    spec = spec_of(name)
    if spec is None or spec.name.endswith("*"):
        return name.partition(".")[2] or name
    return spec.label.partition(" (")[0]
