"""CUDA_VISIBLE_DEVICES as CUDA reads it: each row was measured on an H200 with driver 580.159.04, or follows."""

from __future__ import annotations

from typing import Any

import pytest

from sgldoctor.derive import derive
from sgldoctor.snapshot import Known, Snapshot, Unknown

H200 = {"name": "NVIDIA H200", "capability": "9.0", "memory_used_mib": 31246, "memory_used_percent": 22}
T4 = {"name": "Tesla T4", "capability": "7.5", "memory_used_mib": 0, "memory_used_percent": 0}


def seen(*gpus: dict[str, Any], visible: str | None = None, facts: dict[str, Any] | None = None) -> Snapshot:
    records = [{"index": index, **gpu} for index, gpu in enumerate(gpus)]
    known: dict[str, Any] = {"gpus": records, "gpu.count": len(records), "variables": [], "gpu.processes": []}
    known |= {"gpu.errors": []} | (facts or {})
    if visible is not None:
        known["variable.CUDA_VISIBLE_DEVICES"] = visible
    return derive(Snapshot({name: Known(value, "test") for name, value in known.items()}))


@pytest.mark.parametrize(
    ("text", "count", "cut"),
    [
        (None, 1, None), ("0", 1, None), (" 0", 1, None), ("0 ", 1, None), ("00", 1, None), ("+0", 1, None),
        ("0gpu", 1, None), ("0,", 1, None), ("0,5", 1, "5"), ("0,-1", 1, "-1"),
        ("", 0, ""), ("-1", 0, "-1"), ("5", 0, "5"), ("5,0", 0, "5"), ("1gpu", 0, "1gpu"), ("abc", 0, "abc"),
        ("all", 0, "all"), ("none", 0, "none"), (",", 0, ""), (",0", 0, ""), ("0,0", 0, "0"),
    ],
)  # fmt: skip
def test_what_one_gpu_machines_show(text: str | None, count: int, cut: str | None) -> None:
    snapshot = seen(H200, visible=text)
    assert (snapshot.value("gpu.visible_count"), snapshot.value("gpu.visible_cut")) == (count, cut)
    assert len(snapshot.records("gpus.visible")) == count


@pytest.mark.parametrize("text", ["GPU-0fcfc219", "MIG-00aa11bb-22cc", "0,GPU-deadbeef"])
def test_names_that_are_no_numbers_cannot_be_told(text: str) -> None:
    snapshot = seen(H200, visible=text)
    assert isinstance(snapshot.get("gpu.visible_count"), Unknown)
    assert isinstance(snapshot.get("gpu.memory_held"), Unknown)
    assert snapshot.value("gpu.visible_capabilities") == ["9.0"]


def test_numbers_mean_nothing_among_unlike_gpus_unless_the_order_is_fixed() -> None:
    assert isinstance(seen(H200, T4, visible="1").get("gpus.visible"), Unknown)
    fixed = seen(H200, T4, visible="1", facts={"variable.CUDA_DEVICE_ORDER": "PCI_BUS_ID"})
    assert [gpu["name"] for gpu in fixed.records("gpus.visible")] == ["Tesla T4"]
    assert fixed.value("gpu.visible_capabilities") == ["7.5"]
    assert seen(H200, T4, visible="1,0").value("gpu.visible_capabilities") == ["7.5", "9.0"]


def test_records_that_say_so_themselves_win() -> None:
    snapshot = seen({**H200, "visible": True}, {**T4, "visible": False}, visible="")
    assert snapshot.value("gpu.visible_count") == 1
    assert snapshot.value("gpu.visible_capabilities") == ["9.0"]


def test_gpus_of_other_users_do_not_count() -> None:
    refused = [{"index": 0, "question": "handle", "text": "Insufficient Permissions"}]
    snapshot = seen({}, H200, facts={"gpu.errors": refused})
    assert snapshot.value("gpu.visible_count") == 1
    assert snapshot.value("gpu.visible_capabilities") == ["9.0"]


def test_variables_that_cannot_be_read_leave_it_open() -> None:
    gpus = Known([{"index": 0, **H200}], "test")
    closed = Snapshot({"gpus": gpus, "variables": Unknown("an unpacked image does not run")})
    assert isinstance(derive(closed).get("gpu.visible_count"), Unknown)


def test_who_holds_the_memory_is_named() -> None:
    processes = [{"gpu": 0, "pid": 643, "name": "python3", "user": "root", "memory_mib": 31238}]
    held = seen(H200, T4, facts={"gpu.processes": processes}).records("gpu.memory_held")
    assert [(gpu["index"], gpu["name"], gpu["used_mib"], gpu["percent"], gpu["held_by"]) for gpu in held] == [
        (0, "NVIDIA H200", 31246, 22, "python3 (pid 643, user root)"),
        (1, "Tesla T4", 0, 0, "no process that is visible from here"),
    ]


@pytest.mark.parametrize(("gpus", "count"), [((H200,), 1), ((T4,), 0), ((H200, T4), 1), ((H200, H200), 2)])
def test_on_how_many_gpus_the_code_runs(gpus: tuple[dict[str, Any], ...], count: int) -> None:
    assert seen(*gpus, facts={"torch.targets": ["sm_80", "sm_90"]}).value("torch.gpus_with_code") == count


def test_without_kernels_no_gpu_is_counted() -> None:
    fact = seen(H200, facts={"packages": []}).get("kernel.gpus_with_code")
    assert isinstance(fact, Known)
    assert fact.value is None


def test_kinds_of_gpus() -> None:
    assert seen(H200, T4).value("gpu.kinds") == ["datacenter"]
    assert isinstance(seen(H200, {"name": "a new GPU"}).get("gpu.kinds"), Unknown)
