"""The NVIDIA driver and every GPU: what the kernel, the management library and nvidia-smi say."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree as ET

from sgldoctor.snapshot import Fact, Facts, Known, Unknown

if TYPE_CHECKING:
    from sgldoctor.system import System

OVERRIDE = "SGLDOCTOR_DRIVER_VERSION"
ABSENT = "no NVIDIA driver is visible here (to judge another machine: --gpu NAME --driver VERSION)"
_SYS_VERSION = "/sys/module/nvidia/version"
_PROC_VERSION = "/proc/driver/nvidia/version"
_NVIDIA_VENDOR, _AMD_VENDOR, _INTEL_VENDOR = "0x10de", "0x1002", "0x8086"
_DEVICES = ("/dev/nvidiactl", "/dev/nvidia0", "/dev/dxg", "/dev/nvhost-gpu", "/dev/nvgpu/igpu0/ctrl")
_NVML_LIBRARIES = (
    "/usr/lib/x86_64-linux-gnu/libnvidia-ml.so.1", "/usr/lib/aarch64-linux-gnu/libnvidia-ml.so.1",
    "/usr/lib64/libnvidia-ml.so.1", "/usr/lib/wsl/lib/libnvidia-ml.so.1", "/usr/local/nvidia/lib64/libnvidia-ml.so.1",
    "/usr/lib/libnvidia-ml.so.1",
)  # fmt: skip
_GPU_FACTS = ("gpu.count", "gpus", "gpu.processes", "gpu.errors")
_DRIVER_FACTS = (
    "driver.version",
    "driver.cuda",
    "driver.userspace",
    "driver.open_module",
    "driver.fabric_manager",
)


def probe(system: System) -> Facts:
    """Return the facts about driver and GPUs, in the order of trust that uv uses.

    The override variable, /sys, /proc, the management library, then nvidia-smi.
    """
    kernel = _kernel_driver(system)
    facts = _libcuda(system) | _pci(system)
    if isinstance(kernel, Unknown) and not _has_device(system):
        if _overridden(system):
            return facts | _absent(facts) | {"driver.version": _overridden(system) or kernel}
        return facts | _absent(facts)
    answer = _ask_nvml(system)
    facts |= _driver(system, kernel, answer) | _gpus(system, answer)
    if override := _overridden(system):
        facts["driver.version"] = override
    return facts


def _overridden(system: System) -> Known | None:
    try:
        version = system.environ().get(OVERRIDE)
    except OSError:
        return None
    return Known(version, OVERRIDE) if version else None


def _kernel_driver(system: System) -> Fact:
    """Return the loaded kernel module's version, such as ``580.159.04``."""
    try:
        return Known(system.read_text(_SYS_VERSION).strip(), _SYS_VERSION)
    except OSError:
        pass
    try:
        match = re.search(r"Kernel Module.*?\s(\d+\.\d+(?:\.\d+)?)\s", system.read_text(_PROC_VERSION))
    except OSError:
        return Unknown(ABSENT)
    return Known(match[1], _PROC_VERSION) if match else Unknown(f"{_PROC_VERSION} names no version")


def _has_device(system: System) -> bool:
    return any(system.exists(path) for path in (*_DEVICES, *_NVML_LIBRARIES)) or system_has_smi(system)


def system_has_smi(system: System) -> bool:
    """Return whether nvidia-smi is on PATH; false where variables cannot be read."""
    try:
        return system.which("nvidia-smi") is not None
    except OSError:
        return False


def _absent(facts: Facts) -> Facts:
    pci = facts["gpu.pci_nvidia"]
    on_bus = isinstance(pci, Known) and isinstance(pci.value, int) and pci.value > 0
    source = pci.source if isinstance(pci, Known) else "/sys/bus/pci/devices"
    if on_bus:
        reason = Unknown("an NVIDIA GPU is on the PCI bus, but its driver is not loaded")
        state: Fact = Known("not-loaded", source)
    else:
        reason, state = Unknown(ABSENT), Unknown(ABSENT)
    return {
        **dict.fromkeys((*_GPU_FACTS, *_DRIVER_FACTS, "driver.message"), reason),
        "driver.state": state,
    }


def _ask_nvml(system: System) -> dict[str, Any]:
    """Return NVML's answer, or nvidia-smi's where the library cannot be used."""
    try:
        answer = system.nvml()
    except OSError as error:
        return {"error": {"state": "error", "text": str(error)}, "driver": None, "cuda": None, "gpus": []}
    if answer["error"] is None or answer["error"]["state"] not in {"library-not-found", "error"}:
        return answer
    return _ask_smi(system) or answer


def _ask_smi(system: System) -> dict[str, Any] | None:
    if not system_has_smi(system):
        return None
    try:
        done = system.run(["nvidia-smi", "-q", "-x"], timeout=15)
    except OSError:
        return None
    return parse_smi(done.out) if done.code == 0 else None


def parse_smi(text: str) -> dict[str, Any] | None:
    """Read ``nvidia-smi -q -x`` into the shape of `sgldoctor.system.nvml.read`, or None if it is no such text."""
    try:
        root = ET.fromstring(text)  # noqa: S314 - the output of a local program of the driver
    except ET.ParseError:
        return None
    cuda = root.findtext("cuda_version")
    return {
        "error": None,
        "driver": root.findtext("driver_version"),
        "cuda": cuda,
        "gpus": [_smi_gpu(index, gpu) for index, gpu in enumerate(root.iter("gpu"))],
    }


def _smi_gpu(index: int, gpu: ET.Element) -> dict[str, Any]:
    def mib(path: str) -> int | None:
        match = re.match(r"(\d+) MiB", gpu.findtext(path) or "")
        return int(match[1]) if match else None

    def switch(path: str) -> bool | None:
        return {"Enabled": True, "Disabled": False}.get(gpu.findtext(path) or "")

    return {
        "index": index,
        "name": gpu.findtext("product_name"),
        "capability": gpu.findtext("compute_cap"),
        "memory_total_mib": mib("fb_memory_usage/total"),
        "memory_used_mib": mib("fb_memory_usage/used"),
        "mig": switch("mig_mode/current_mig"),
        "ecc": switch("ecc_mode/current_ecc"),
        "uncorrected_errors": None,
        "recovery_action": (gpu.findtext("gpu_recovery_action") or "").lower().replace(" ", "-") or None,
        "fabric": (gpu.findtext("fabric/state") or "").lower().replace(" ", "-").replace("n/a", "") or None,
        "processes": [
            {"pid": int(item.findtext("pid") or 0), "memory_mib": None}
            for item in gpu.iterfind("processes/process_info")
        ],
        "errors": {},
    }


def _driver(system: System, kernel: Fact, answer: dict[str, Any]) -> Facts:
    error = answer["error"]
    version = kernel if isinstance(kernel, Known) else _told(answer["driver"], "NVML")
    try:
        proc = system.read_text(_PROC_VERSION)
        opened: Fact = Known("Open Kernel Module" in proc, _PROC_VERSION)
    except OSError as problem:
        opened = Unknown(f"{_PROC_VERSION} cannot be read: {problem.strerror or problem}")
    return {
        "driver.version": version,
        "driver.cuda": _told(answer["cuda"], "NVML"),
        "driver.state": Known(_state(error, answer, system), "NVML"),
        "driver.message": Known(error["text"] if error else None, "NVML"),
        "driver.userspace": _told(answer["driver"], "NVML"),
        "driver.open_module": opened,
        "driver.fabric_manager": _fabric_manager(system, answer),
    }


def _state(error: dict[str, Any] | None, answer: dict[str, Any], system: System) -> str:
    if error is None:
        return "ok" if answer["gpus"] else "no-device"
    if error["state"] == "library-not-found" and not any(system.exists(path) for path in _DEVICES):
        return "no-device"
    return str(error["state"])


def _told(value: str | None, source: str) -> Fact:
    return Known(value, source) if value else Unknown("the driver's management library does not answer")


def _gpus(system: System, answer: dict[str, Any]) -> Facts:
    if answer["error"] is not None:
        reason = Unknown(f"the driver's management library says: {answer['error']['text']}")
        return dict.fromkeys(_GPU_FACTS, reason)
    records: list[dict[str, Any]] = []
    processes: list[dict[str, Any]] = []
    errors: list[dict[str, Any]] = []
    for gpu in answer["gpus"]:
        total, used = gpu.get("memory_total_mib"), gpu.get("memory_used_mib")
        kept = {key: value for key, value in gpu.items() if key not in {"processes", "errors"}}
        records.append(
            kept | {"memory_used_percent": round(100 * used / total) if total and used is not None else None}
        )
        errors += [{"index": gpu["index"], "question": name, "text": text} for name, text in gpu["errors"].items()]
        processes += [
            {"gpu": gpu["index"], **_process(system, item["pid"]), "memory_mib": item["memory_mib"]}
            for item in gpu.get("processes", [])
        ]
    return {
        "gpu.count": Known(len(records), "NVML"),
        "gpus": Known(records, "NVML"),
        "gpu.processes": Known(processes, "NVML"),
        "gpu.errors": Known(errors, "NVML"),
    }


def _process(system: System, pid: int) -> dict[str, Any]:
    try:
        return system.process(pid)
    except OSError:
        return {"pid": pid, "name": None, "user": None}


def _fabric_manager(system: System, answer: dict[str, Any]) -> Fact:
    """Return whether NVSwitch machines have their fabric manager: without it CUDA says error 802."""
    states = {gpu.get("fabric") for gpu in answer["gpus"]} - {None, "", "not-supported"}
    try:
        switches = system.list_dir("/proc/driver/nvidia-nvswitch/devices")
    except OSError:
        switches = []
    if not states and not switches:
        return Known("not-needed", "NVML")
    if states == {"completed"}:
        return Known("running", "NVML: every GPU has joined the fabric")
    if states & {"not-started", "in-progress"}:
        return Known("stopped", "NVML: a GPU has not joined the fabric")
    try:
        running = "nv-fabricmanage" in system.process_names() or "nv-fabricmanager" in system.process_names()
    except OSError as error:
        return Unknown(f"processes cannot be listed: {error.strerror or error}")
    return (
        Known("running", "/proc")
        if running
        else Unknown("NVSwitch is here; its fabric manager is not visible from here")
    )


def _pci(system: System) -> Facts:
    """Return how many NVIDIA display or 3D controllers (PCI class 03) are on the bus, and whose else."""
    folder = "/sys/bus/pci/devices"
    try:
        devices = system.list_dir(folder)
    except OSError as error:
        unknown = Unknown(f"{folder} cannot be read: {error.strerror or error}")
        return {"gpu.pci_nvidia": unknown, "gpu.vendor": _other_vendor(system) or unknown}
    vendors: list[str] = []
    for device in devices:
        try:
            if system.read_text(f"{folder}/{device}/class").startswith("0x03"):
                vendors.append(system.read_text(f"{folder}/{device}/vendor").strip())
        except OSError:
            continue
    count = vendors.count(_NVIDIA_VENDOR)
    vendor = "nvidia" if count else None
    return {
        "gpu.pci_nvidia": Known(count, folder),
        "gpu.vendor": Known(vendor, folder) if vendor else _other_vendor(system) or Known("none", folder),
    }


def _other_vendor(system: System) -> Known | None:
    """Return the maker of an accelerator that has left its device files here."""
    for path, vendor in (
        ("/dev/nvidiactl", "nvidia"), ("/dev/nvhost-gpu", "nvidia"), ("/dev/kfd", "amd"),
        ("/dev/davinci_manager", "huawei"), ("/dev/accel/accel0", "intel-gaudi"),
    ):  # fmt: skip
        if system.exists(path):
            return Known(vendor, path)
    return None


def _libcuda(system: System) -> Facts:
    """Return the libcuda.so.1 that LD_LIBRARY_PATH or the default folders give to a program."""
    try:
        listed = [f for f in system.environ().get("LD_LIBRARY_PATH", "").split(":") if f.startswith("/")]
    except OSError:
        listed = []
    folders = [
        *listed, "/usr/lib/wsl/lib", "/usr/local/nvidia/lib64", "/usr/lib/x86_64-linux-gnu",
        "/usr/lib/aarch64-linux-gnu", "/usr/lib64", "/usr/lib",
    ]  # fmt: skip
    path = next((f"{folder}/libcuda.so.1" for folder in folders if system.exists(f"{folder}/libcuda.so.1")), None)
    try:
        real = system.real_path(path) if path else ""
    except OSError:
        real = path or ""
    compat = "/compat" in real or "/compat" in (path or "")
    return {
        "driver.libcuda": Known(path, "library folders"),
        "driver.libcuda_compat": Known(compat, real) if path else Known(None, "library folders"),
    }
