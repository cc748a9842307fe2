"""NVIDIA's rules of compatibility, case by case."""

from __future__ import annotations

import pytest

from sgldoctor.gpu_code import any_runs, running, runs


@pytest.mark.parametrize(
    ("target", "capability", "expected"),
    [
        ("sm_80", "8.0", True), ("sm_80", "8.6", True), ("sm_80", "8.9", True), ("sm_86", "8.0", False),
        ("sm_80", "9.0", False), ("sm_90", "8.9", False), ("sm_90a", "9.0", True), ("sm_100a", "10.3", False),
        ("sm_100f", "10.3", True), ("sm_103f", "10.0", False), ("sm_120", "12.1", True), ("sm_120a", "12.1", False),
        ("compute_80", "9.0", True), ("compute_80", "8.0", True), ("compute_90", "8.9", False),
        ("compute_90a", "10.0", False), ("sm_100", "10.0", True), ("sm_x", "9.0", None), ("sm_90", "nine", None),
    ],
)  # fmt: skip
def test_which_code_runs_on_which_gpu(target: str, capability: str, expected: bool | None) -> None:
    assert runs(target, capability) is expected


def test_one_target_that_runs_is_enough_and_an_unreadable_one_leaves_it_open() -> None:
    assert any_runs(["sm_75", "sm_90"], "9.0") is True
    assert any_runs(["sm_75", "sm_x"], "9.0") is None
    assert any_runs(["sm_75"], "9.0") is False
    assert any_runs([], "9.0") is None


def test_a_gpu_runs_the_nearest_machine_code_and_ptx_only_without_any() -> None:
    assert running(["sm_80", "sm_86", "sm_90", "compute_80"], "8.9") == "sm_86"
    assert running(["sm_90", "sm_90a"], "9.0") == "sm_90a"
    assert running(["sm_90", "compute_80", "compute_90"], "12.0") == "compute_90"
    assert running(["sm_90a"], "12.0") is None
