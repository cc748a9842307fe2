"""What follows about the machine as a whole: is it a kind that the rules judge, and which ports are taken."""

from __future__ import annotations

from typing import Any

from sgldoctor.rules.knowledge import table
from sgldoctor.snapshot import Fact, Facts, Known, Snapshot, Unknown

_SYSTEMS = {"darwin": "macOS", "windows": "Windows"}
_BACKENDS = {"rocm": "ROCm (AMD)", "xpu": "XPU (Intel)"}
_VENDORS = {
    "amd": "AMD",
    "huawei": "Huawei (Ascend)",
    "intel": "Intel",
    "intel-gaudi": "Intel (Gaudi)",
    "apple": "Apple",
}
_LIMIT = "not judged yet: the rules cover NVIDIA GPUs under Linux"
# python -m sglang.launch_server --port, --dist-init-addr; python -m sglang_router.launch_router --prometheus-port
_OPTIONS = {"server": "--port", "dist-init": "--dist-init-addr", "metrics": "--prometheus-port"}


def derive(snapshot: Snapshot) -> Facts:
    """Return the kind of platform, the ports that are taken, and the driver that came with torch's CUDA."""
    return {
        "platform.kind": _platform(snapshot),
        "ports.taken": _taken(snapshot),
        "torch.toolkit_driver": _toolkit_driver(snapshot.get("torch.cuda")),
    }


def _platform(snapshot: Snapshot) -> Fact:
    """Return ``nvidia``, or the name of a system without wheels; what is recognised but not judged is unknown."""
    system = snapshot.get("os.name")
    if isinstance(system, Unknown) or system.value is None:
        return Unknown("the operating system is unknown")
    if name := _SYSTEMS.get(str(system.value)):
        return Unknown(f"{name} is {_LIMIT}")
    if system.value != "linux":
        return system
    backend, vendor = snapshot.text("torch.backend"), snapshot.get("gpu.vendor")
    if backend in _BACKENDS:
        return Unknown(f"torch is built for {_BACKENDS[backend]}, which is {_LIMIT}")
    if snapshot.value("package.torch-npu") is not None:
        return Unknown(f"torch-npu (Ascend) is installed, which is {_LIMIT}")
    if source := _nvidia(snapshot):
        return Known("nvidia", source)
    if isinstance(vendor, Known) and (name := _VENDORS.get(str(vendor.value))):
        return Unknown(f"the accelerator here is made by {name}, which is {_LIMIT}")
    if backend == "cpu":
        return Unknown(f"torch is a CPU-only build, which is {_LIMIT}")
    if isinstance(vendor, Unknown):
        return vendor
    return Unknown("no NVIDIA GPU is visible here; name one with --gpu to judge another machine")


def _nvidia(snapshot: Snapshot) -> str | None:
    """Return what shows that an NVIDIA GPU or its driver is here."""
    if snapshot.value("gpu.vendor") == "nvidia":
        fact = snapshot.get("gpu.vendor")
        return fact.source if isinstance(fact, Known) else None
    for name in ("driver.version", "gpu.count", "gpu.pci_nvidia"):
        fact = snapshot.get(name)
        if isinstance(fact, Known) and fact.value:
            return fact.source
    return None


def _taken(snapshot: Snapshot) -> Fact:
    """Return one record for each port that something listens on; IPv6 only where IPv4 is free."""
    ports = snapshot.get("ports")
    if isinstance(ports, Unknown):
        return ports
    found: dict[int, dict[str, Any]] = {}
    for item in snapshot.records("ports"):
        if item.get("problem") != "in use" or (item["port"] in found and item.get("family") != "ipv4"):
            continue
        use = item.get("use") or "server"
        found[item["port"]] = {
            "port": item["port"], "family": item.get("family"), "use": use, "option": _OPTIONS.get(use, "another port"),
            "held_by": _holder(item), "pid": item.get("pid"),
        }  # fmt: skip
    return Known([found[port] for port in sorted(found)], ports.source)


def _holder(item: dict[str, Any]) -> str:
    if item.get("pid") is None:
        return "a process that cannot be seen without more rights"
    user = f", user {item['user']}" if item.get("user") else ""
    return f"{item.get('holder') or 'a process'} (pid {item['pid']}{user})"


def _toolkit_driver(cuda: Fact) -> Fact:
    """Return the driver branch that came with torch's CUDA: from 570 on nothing of CUDA 12.8 is held back."""
    if isinstance(cuda, Unknown) or cuda.value is None:
        return cuda
    rows = table("cuda_drivers.yaml")["toolkits"]
    row = next((row for row in rows if row["cuda"] == str(cuda.value)), None)
    if row is None:
        return Unknown(f"the driver that came with CUDA {cuda.value} is not in the tables of this sgldoctor")
    return Known(str(row["min_driver"]).partition(".")[0], "cuda_drivers.yaml")
