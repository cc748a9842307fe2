from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from sgldoctor.probes.gpu import ABSENT, parse_smi, probe
from sgldoctor.snapshot import Known, Snapshot, Unknown
from tests.fakes import FakeSystem

FIXTURES = Path(__file__).parents[2] / "fixtures"
PROC = "/proc/driver/nvidia/version"
# Captured on a machine with an H200 and driver 580.159.04.
PROC_TEXT = "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  580.159.04  Release Build  (nixbld@)\n"
H200 = {
    "index": 0, "errors": {}, "name": "NVIDIA H200", "capability": "9.0", "memory_total_mib": 143771,
    "memory_used_mib": 0, "mig": False, "ecc": True, "uncorrected_errors": 0, "recovery_action": "none",
    "fabric": "not-supported", "processes": [],
}  # fmt: skip
ANSWER = {"error": None, "driver": "580.159.04", "cuda": "13.0", "gpus": [H200]}


class GpuSystem(FakeSystem):
    """A machine whose management library answers, or says why it does not."""

    def __init__(self, nvml: dict[str, Any] | None = None, names: list[str] | None = None, **rest: Any) -> None:
        super().__init__(**rest)
        self._answer, self._names = nvml, names

    def _nvml(self) -> dict[str, Any]:
        if self._answer is None:
            raise AssertionError("the management library must not be asked where there is no driver")
        return self._answer

    def _process(self, pid: int) -> dict[str, Any]:
        return {"pid": pid, "name": "python3", "user": "alice"}

    def _process_names(self) -> list[str]:
        return self._names or []


def observe(system: FakeSystem) -> Snapshot:
    return Snapshot(probe(system))


def refused(state: str, text: str) -> dict[str, Any]:
    return {"error": {"code": 0, "state": state, "text": text}, "driver": None, "cuda": None, "gpus": []}


def test_a_machine_without_a_driver_is_unknown_and_asks_no_library() -> None:
    seen = observe(GpuSystem(environ={}, folders=["/sys/bus/pci/devices"]))
    assert {seen.get(name) for name in ("driver.version", "driver.state", "gpus", "gpu.count")} == {Unknown(ABSENT)}
    assert seen.value("gpu.pci_nvidia") == 0


def test_a_card_on_the_bus_without_a_driver_is_told() -> None:
    card = "/sys/bus/pci/devices/0000:00:06.0"
    seen = observe(GpuSystem(environ={}, files={f"{card}/class": "0x030200\n", f"{card}/vendor": "0x10de\n"}))
    assert (seen.value("gpu.pci_nvidia"), seen.value("driver.state")) == (1, "not-loaded")
    assert isinstance(seen.get("gpus"), Unknown)


def test_a_network_card_of_the_same_maker_is_no_gpu() -> None:
    card = "/sys/bus/pci/devices/0000:00:06.0"
    seen = observe(GpuSystem(environ={}, files={f"{card}/class": "0x020700\n", f"{card}/vendor": "0x10de\n"}))
    assert (seen.value("gpu.pci_nvidia"), seen.get("driver.state")) == (0, Unknown(ABSENT))


def test_the_kernel_module_names_the_driver_before_the_library_does() -> None:
    newer = {**ANSWER, "driver": "590.1"}
    from_sys = observe(
        GpuSystem(newer, environ={}, files={"/sys/module/nvidia/version": "580.159.04\n", PROC: PROC_TEXT})
    )
    from_proc = observe(GpuSystem(newer, environ={}, files={PROC: PROC_TEXT}))
    from_library = observe(GpuSystem(newer, environ={}, files={"/dev/nvidiactl": ""}))
    assert [seen.get("driver.version") for seen in (from_sys, from_proc, from_library)] == [
        Known("580.159.04", "/sys/module/nvidia/version"), Known("580.159.04", PROC), Known("590.1", "NVML"),
    ]  # fmt: skip
    assert from_sys.value("driver.open_module") is True


def test_the_override_variable_comes_before_everything() -> None:
    system = GpuSystem(ANSWER, environ={"SGLDOCTOR_DRIVER_VERSION": "535.1"}, files={PROC: PROC_TEXT})
    assert observe(system).get("driver.version") == Known("535.1", "SGLDOCTOR_DRIVER_VERSION")


def test_every_gpu_and_every_process_is_listed() -> None:
    busy = H200 | {"index": 1, "memory_used_mib": 71886, "processes": [{"pid": 4711, "memory_mib": 71000}]}
    system = GpuSystem({**ANSWER, "gpus": [H200, busy]}, environ={}, files={PROC: PROC_TEXT})
    seen = observe(system)
    assert (seen.value("gpu.count"), [gpu["memory_used_percent"] for gpu in seen.records("gpus")]) == (2, [0, 50])
    assert seen.records("gpu.processes") == [
        {"gpu": 1, "pid": 4711, "name": "python3", "user": "alice", "memory_mib": 71000}
    ]


@pytest.mark.parametrize(
    ("state", "text"),
    [
        ("version-mismatch", "Driver/library version mismatch"),
        ("unknown-error", "Unknown Error"),
        ("no-permission", "Insufficient Permissions"),
    ],
)
def test_what_the_library_complains_of_is_the_state_of_the_driver(state: str, text: str) -> None:
    seen = observe(GpuSystem(refused(state, text), environ={}, files={PROC: PROC_TEXT}))
    assert (seen.value("driver.state"), seen.value("driver.message")) == (state, text)
    assert seen.get("gpus") == Unknown(f"the driver's management library says: {text}")
    assert seen.value("driver.version") == "580.159.04"


def test_a_container_that_was_given_no_gpu_is_told_from_a_missing_library() -> None:
    outside = refused("library-not-found", "NVML Shared Library Not Found")
    assert observe(GpuSystem(outside, environ={}, files={PROC: PROC_TEXT})).value("driver.state") == "no-device"
    inside = GpuSystem(outside, environ={}, files={PROC: PROC_TEXT, "/dev/nvidiactl": ""})
    assert observe(inside).value("driver.state") == "library-not-found"


def test_nvidia_smi_answers_where_the_library_cannot_be_loaded() -> None:
    text = (FIXTURES / "captures/nvidia-smi-h200.xml").read_text()
    system = GpuSystem(
        refused("library-not-found", "NVML Shared Library Not Found"), environ={"PATH": "/usr/bin"},
        programs=["/usr/bin/nvidia-smi"], files={PROC: PROC_TEXT, "/dev/nvidiactl": ""},
        commands={"nvidia-smi -q -x": (0, text, "")},
    )  # fmt: skip
    seen = observe(system)
    assert (seen.value("driver.state"), seen.value("gpu.count"), seen.value("driver.cuda")) == ("ok", 1, "13.0")


def test_the_captured_nvidia_smi_is_read_whole() -> None:
    found = parse_smi((FIXTURES / "captures/nvidia-smi-h200.xml").read_text())
    assert found == {
        "error": None, "driver": "580.159.04", "cuda": "13.0",
        "gpus": [{
            "index": 0, "name": "NVIDIA H200", "capability": None, "memory_total_mib": 143771, "memory_used_mib": 0,
            "mig": False, "ecc": True, "uncorrected_errors": None, "recovery_action": "none", "fabric": None,
            "processes": [], "errors": {},
        }],
    }  # fmt: skip


def test_output_that_is_no_xml_is_no_answer() -> None:
    assert parse_smi("Failed to initialize NVML: Driver/library version mismatch\n") is None


@pytest.mark.parametrize(
    ("fabric", "names", "expected"),
    [
        ("not-supported", [], Known("not-needed", "NVML")),
        ("completed", [], Known("running", "NVML: every GPU has joined the fabric")),
        ("in-progress", ["nv-fabricmanage"], Known("stopped", "NVML: a GPU has not joined the fabric")),
    ],
)
def test_the_fabric_manager_is_judged_by_what_the_gpus_say(fabric: str, names: list[str], expected: Known) -> None:
    system = GpuSystem({**ANSWER, "gpus": [H200 | {"fabric": fabric}]}, names, environ={}, files={PROC: PROC_TEXT})
    assert observe(system).get("driver.fabric_manager") == expected


def test_switches_without_a_visible_fabric_manager_are_unknown() -> None:
    files = {PROC: PROC_TEXT, "/proc/driver/nvidia-nvswitch/devices/0000:05:00.0": ""}
    assert isinstance(observe(GpuSystem(ANSWER, [], environ={}, files=files)).get("driver.fabric_manager"), Unknown)
    running = GpuSystem(ANSWER, ["nv-fabricmanage"], environ={}, files=files)
    assert observe(running).value("driver.fabric_manager") == "running"


def test_a_compat_libcuda_first_on_the_path_is_told() -> None:
    compat = "/usr/local/cuda/compat/libcuda.so.1"
    own = "/usr/lib/x86_64-linux-gnu/libcuda.so.1"
    with_compat = GpuSystem(
        ANSWER, environ={"LD_LIBRARY_PATH": "/usr/local/cuda/compat"}, files={compat: "", own: "", PROC: PROC_TEXT}
    )
    plain = GpuSystem(ANSWER, environ={}, files={own: "", PROC: PROC_TEXT})
    assert (observe(with_compat).value("driver.libcuda"), observe(with_compat).value("driver.libcuda_compat")) == (
        compat,
        True,
    )
    assert (observe(plain).value("driver.libcuda"), observe(plain).value("driver.libcuda_compat")) == (own, False)
