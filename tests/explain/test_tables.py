"""What the tables add to a capture; the expected values were measured in wheels or stand in the flags of releases."""

from __future__ import annotations

import pytest

from sgldoctor.explain.tables import added
from sgldoctor.rules.parse import DERIVED
from sgldoctor.snapshot import Known, Snapshot


@pytest.mark.parametrize(
    ("captures", "expected"),
    [
        ({"symbol": "_ZN3c104cuda9SetDeviceEab"}, {
            "symbol_shown": "c10::cuda::SetDevice(signed char, bool)", "symbol_torch": "2.8.0 to 2.15.0",
            "symbol_direction": "older than 2.8.0",
            "symbol_kernels": "sgl-kernel 0.3.0 to 0.3.21 and sglang-kernel 0.4.0 to 0.4.10",
        }),
        ({"symbol": "_ZN3c104cuda9SetDeviceEa"}, {
            "symbol_shown": "c10::cuda::SetDevice(signed char)", "symbol_torch": "2.5.0 to 2.7.1",
            "symbol_direction": "newer than 2.7.1", "symbol_kernels": "sgl-kernel 0.1.0 to 0.2.9",
        }),
        ({"symbol": "cublasGemmGroupedBatchedEx"}, {"symbol_shown": "cublasGemmGroupedBatchedEx"}),
        ({"library": "libnuma.so.1"}, {"library_apt": "libnuma1", "library_dnf": "numactl-libs"}),
        ({"library": "libnvrtc.so.12"}, {"library_package": "nvidia-cuda-nvrtc-cu12"}),
        ({"library": "libunheard.so.1"}, {}),
        ({"gpu": "NVIDIA A40"}, {"gpu_capability": "8.6", "gpu_architecture": "Ampere"}),
        ({"flag": "--mem-fraction=0.8"}, {
            "flag_history": "--mem-fraction is taken for --mem-fraction-static in 0.1.3 to 0.5.23",
            "flag_nearest": "--mem-fraction-static",
        }),
        ({"variable": "SGLANG_DISABLE_DEEPGEMM"}, {
            "variable_history": "no release of sglang reads SGLANG_DISABLE_DEEPGEMM",
            "variable_nearest": "SGLANG_ENABLE_JIT_DEEPGEMM",
        }),
        ({"port": "30000"}, {}),
    ],
)  # fmt: skip
def test_captures_of_known_names_bring_more(captures: dict[str, str], expected: dict[str, str]) -> None:
    assert added(captures, Snapshot()) == expected


@pytest.mark.parametrize(
    ("release", "history"),
    [
        ("0.1.14", "in sglang 0.1.14 --enable-flashinfer is a flag"),
        ("0.4.6", "in sglang 0.4.6 --enable-flashinfer is taken for --enable-flashinfer-mla"),
        ("0.4.9", "in sglang 0.4.9 --enable-flashinfer is ambiguous"),
        ("0.5.9", "in sglang 0.5.9 --enable-flashinfer is taken for --enable-flashinfer-allreduce-fusion"),
        ("0.3.0", "in sglang 0.3.0 --enable-flashinfer is not known"),
    ],
)
def test_of_a_known_release_it_is_told_what_that_makes_of_a_flag(release: str, history: str) -> None:
    snapshot = Snapshot({"package.sglang": Known(release, "pip list")})
    assert added({"flag": "--enable-flashinfer"}, snapshot)["flag_history"] == history


def test_without_a_release_the_history_names_those_that_knew_the_flag() -> None:
    history = added({"flag": "--enable-flashinfer"}, Snapshot())["flag_history"]
    assert history.startswith("--enable-flashinfer is a flag in 0.1.13 to 0.1.17; ")
    assert history.endswith("--enable-flashinfer is taken for --enable-flashinfer-allreduce-fusion in 0.5.7 to 0.5.23")


def test_rules_may_use_exactly_what_the_tables_add() -> None:
    seen: dict[str, set[str]] = {}
    for name, value in (
        ("symbol", "_ZN3c104cuda9SetDeviceEab"), ("library", "libnuma.so.1"), ("library", "libnvrtc.so.12"),
        ("flag", "--enable-flashinfer"), ("variable", "SGLANG_LOG_LEVEL"), ("gpu", "NVIDIA A40"),
    ):  # fmt: skip
        seen.setdefault(name, set()).update(added({name: value}, Snapshot()))
    assert seen == {name: set(more) for name, more in DERIVED.items()}
