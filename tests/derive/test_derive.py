"""What follows from observed facts, for pairs and machines whose truth was measured."""

from __future__ import annotations

from typing import Any

import pytest

from sgldoctor.derive import derive
from sgldoctor.simulate import Machine, simulate
from sgldoctor.snapshot import Known, Snapshot, Unknown


def snapshot(**facts: Any) -> Snapshot:
    """Build a snapshot; ``package__torch`` stands for ``package.torch``."""
    known = {
        name.replace("__", ".").replace("_kernel", "-kernel"): Known(value, "test") for name, value in facts.items()
    }
    packages = [{"name": n[8:], "version": f.value} for n, f in known.items() if n.startswith("package.")]
    return Snapshot({"packages": Known(packages, "test"), **known})


def derived(machine: Machine | None = None, **facts: Any) -> Snapshot:
    return derive(simulate(snapshot(**facts), machine or Machine()))


@pytest.mark.parametrize(
    ("kernel", "window", "cuda"),
    [
        ("0.1.6.post1", "==2.6.*", "12"),
        ("0.1.7", "==2.7.*", "12"),
        ("0.2.9", "==2.7.*", "12"),
        ("0.3.0", "==2.8.*", "12"),
        ("0.3.18", "==2.8.*", "12"),
        ("0.3.18.post1", "==2.9.*", "12"),
    ],
)
def test_each_kernel_build_has_its_window_of_torch(kernel: str, window: str, cuda: str) -> None:
    seen = derived(package__sgl_kernel=kernel, package__torch="2.8.0")
    assert (seen.value("kernel.torch_window"), seen.value("kernel.cuda_major")) == (window, cuda)


def test_a_build_that_nobody_measured_has_no_window() -> None:
    for kernel, torch in (("0.3.15+cu124", "2.8.0"), ("0.3.15", "2.8.0a0+git1"), ("9.9.9", "2.8.0")):
        assert isinstance(derived(package__sgl_kernel=kernel, package__torch=torch).get("kernel.torch_window"), Unknown)


@pytest.mark.parametrize(
    ("gpu", "arch", "kernel", "served"),
    [
        ("A40", "x86_64", "0.3.15", True),
        ("T4", "x86_64", "0.3.5", True),
        ("T4", "x86_64", "0.3.15", False),
        ("RTX 5090", "x86_64", "0.3.5", False),
        ("RTX 5090", "x86_64", "0.3.15", True),
        ("H100", "aarch64", "0.3.15", True),
        ("A100", "aarch64", "0.3.15", False),
        ("V100", "x86_64", "0.3.15", False),
    ],
)
def test_the_gpu_code_of_the_kernels_decides_which_gpus_they_serve(
    gpu: str, arch: str, kernel: str, *, served: bool
) -> None:
    seen = derived(Machine(gpus=(gpu,), arch=arch), package__sgl_kernel=kernel, package__torch="2.8.0")
    assert (seen.records("kernel.gpus_without_code") == []) is served


def test_a_hidden_gpu_needs_no_code() -> None:
    gpus = [{"index": 0, "name": "NVIDIA H100", "capability": "9.0", "visible": True}]
    old = {"index": 1, "name": "Tesla V100", "capability": "7.0", "visible": False}
    seen = derived(torch__targets=["sm_80", "sm_90"], gpus=[*gpus, old])
    assert seen.records("torch.gpus_without_code") == []


@pytest.mark.parametrize(("cuda", "driver"), [("12.8", "525.60.13"), ("13.0", "580"), ("11.8", "450.80.02")])
def test_the_cuda_major_of_torch_decides_the_oldest_driver(cuda: str, driver: str) -> None:
    assert derived(torch__cuda=cuda).value("torch.min_driver") == driver


def test_a_cuda_that_the_tables_do_not_know_leaves_the_driver_unknown() -> None:
    assert isinstance(derived(torch__cuda="14.1").get("torch.min_driver"), Unknown)


def test_the_cuda_majors_of_torch_and_kernels_are_put_side_by_side() -> None:
    mixed = derived(package__torch="2.9.1+cu130", torch__cuda="13.0", package__sgl_kernel="0.3.21")
    alike = derived(package__torch="2.9.1", torch__cuda="12.8", package__sgl_kernel="0.3.21")
    assert (mixed.value("cuda.core_majors"), alike.value("cuda.core_majors")) == (["12", "13"], ["12"])


def test_wheels_tell_which_pythons_and_which_glibc_a_release_needs() -> None:
    newest = derived(package__sglang="0.5.23")
    old = derived(package__sglang="0.5.9")
    assert (newest.value("sglang.wheel_pythons"), newest.value("sglang.wheel_glibc")) == (
        ["3.11", "3.12", "3.13"],
        "2.34",
    )
    assert (old.value("sglang.wheel_pythons"), old.value("sglang.wheel_glibc")) == (None, None)


@pytest.mark.parametrize(("version", "age"), [("0.5.9", "known"), ("99.0", "newer"), ("0.5.9.dev1", "unknown")])
def test_a_release_that_the_table_does_not_know_is_told(version: str, age: str) -> None:
    assert derived(package__sglang=version).value("sglang.age") == age


def test_the_environments_own_pip_installs_else_uv_from_outside() -> None:
    own = derived(python__executable="/opt/my env/bin/python", package__pip="24.0")
    outside = derived(python__executable="/opt/venv/bin/python")
    system = derived(python__executable="/usr/bin/python3", package__pip="23.0", python__externally_managed=True)
    assert [seen.value("command.install") for seen in (own, outside, system)] == [
        "'/opt/my env/bin/python' -m pip install",
        "uv pip install --python /opt/venv/bin/python",
        "/usr/bin/python3 -m pip install --break-system-packages",
    ]


def test_a_named_gpu_brings_its_cpu_where_it_has_but_one() -> None:
    assert simulate(Snapshot(), Machine(gpus=("GH200",))).value("cpu.arch") == "aarch64"
    assert isinstance(simulate(Snapshot(), Machine(gpus=("H100",))).get("cpu.arch"), Unknown)


@pytest.mark.parametrize(("driver", "cuda"), [("535.54.03", "12.2"), ("580.65.06", "13.0"), ("550.90", "12.4")])
def test_a_named_driver_brings_its_cuda(driver: str, cuda: str) -> None:
    assert simulate(Snapshot(), Machine(driver=driver)).value("driver.cuda") == cuda


def test_a_driver_older_than_the_table_brings_none() -> None:
    assert isinstance(simulate(Snapshot(), Machine(driver="390.1")).get("driver.cuda"), Unknown)
