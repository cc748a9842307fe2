"""Which platforms are judged, which ports are taken, and the driver that came with a CUDA version."""

from __future__ import annotations

from typing import Any

import pytest

from sgldoctor.derive import derive
from sgldoctor.snapshot import Known, Snapshot, Unknown


def seen(**facts: Any) -> Snapshot:
    return derive(Snapshot({name.replace("__", "."): Known(value, "test") for name, value in facts.items()}))


@pytest.mark.parametrize(
    ("facts", "kind"),
    [
        ({"os__name": "linux", "gpu__vendor": "nvidia"}, "nvidia"),
        ({"os__name": "linux", "gpu__vendor": "nvidia", "torch__backend": "cpu"}, "nvidia"),
        ({"os__name": "linux", "gpu__vendor": "none", "driver__version": "566.36"}, "nvidia"),
        ({"os__name": "linux", "gpu__vendor": "none", "gpu__count": 1}, "nvidia"),
        ({"os__name": "linux", "gpu__vendor": "amd", "gpu__pci_nvidia": 1}, "nvidia"),
        ({"os__name": "freebsd", "gpu__vendor": "nvidia"}, "freebsd"),
    ],
)
def test_platforms_that_are_judged(facts: dict[str, Any], kind: str) -> None:
    assert seen(**facts).value("platform.kind") == kind


@pytest.mark.parametrize(
    ("facts", "word"),
    [
        ({"os__name": "darwin"}, "macOS"),
        ({"os__name": "windows", "gpu__vendor": "nvidia"}, "Windows"),
        ({"os__name": "linux", "gpu__vendor": "nvidia", "torch__backend": "rocm"}, "ROCm"),
        ({"os__name": "linux", "gpu__vendor": "none", "torch__backend": "xpu"}, "XPU"),
        ({"os__name": "linux", "gpu__vendor": "amd"}, "AMD"),
        ({"os__name": "linux", "gpu__vendor": "huawei"}, "Ascend"),
        ({"os__name": "linux", "gpu__vendor": "none", "packages": [], "package__torch-npu": "2.8.0"}, "Ascend"),
        ({"os__name": "linux", "gpu__vendor": "intel-gaudi"}, "Gaudi"),
        ({"os__name": "linux", "gpu__vendor": "none", "torch__backend": "cpu"}, "CPU-only"),
        ({"os__name": "linux", "gpu__vendor": "none"}, "no NVIDIA GPU"),
        ({"os__name": "linux"}, "nothing looked"),
        ({}, "operating system"),
    ],
)
def test_platforms_that_are_recognised_and_not_judged(facts: dict[str, Any], word: str) -> None:
    fact = seen(**facts).get("platform.kind")
    assert isinstance(fact, Unknown)
    assert word in fact.reason


def port(number: int, family: str, problem: str | None, **more: Any) -> dict[str, Any]:
    return {"port": number, "family": family, "free": problem is None, "problem": problem, "use": "server", **more}


def test_a_taken_port_is_told_once_with_its_holder() -> None:
    holder = {"holder": "python3", "pid": 4242, "user": "ann"}
    snapshot = seen(
        ports=[
            port(30000, "ipv4", "in use", **holder), port(30000, "ipv6", "in use", **holder),
            port(29500, "ipv6", "in use", use="dist-init"), port(29500, "ipv4", None, use="dist-init"),
            port(80, "ipv4", "permission denied"),
        ]
    )  # fmt: skip
    assert snapshot.records("ports.taken") == [
        {"port": 29500, "family": "ipv6", "use": "dist-init", "option": "--dist-init-addr",
         "held_by": "a process that cannot be seen without more rights", "pid": None},
        {"port": 30000, "family": "ipv4", "use": "server", "option": "--port",
         "held_by": "python3 (pid 4242, user ann)", "pid": 4242},
    ]  # fmt: skip


@pytest.mark.parametrize(("cuda", "driver"), [("12.8", "570"), ("13.0", "580"), (None, None)])
def test_the_driver_that_came_with_a_cuda_version(cuda: str | None, driver: str | None) -> None:
    fact = seen(torch__cuda=cuda).get("torch.toolkit_driver")
    assert isinstance(fact, Known)
    assert fact.value == driver


def test_a_cuda_version_without_a_driver_of_its_own_is_unknown() -> None:
    assert isinstance(seen(torch__cuda="12.7").get("torch.toolkit_driver"), Unknown)
