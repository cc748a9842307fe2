"""Which release works where: each answer argued from the tables."""

from __future__ import annotations

import pytest
from packaging.specifiers import SpecifierSet
from packaging.version import Version

from sgldoctor.matrix import Build, Status, Target, in_short, judge, newest_that_works, releases
from sgldoctor.rules.knowledge import gpu, kernel_gpu_code, table


def newest(name: str | None = None, **about: str) -> str | None:
    target = Target(gpu=gpu(name) if name else None, **about)
    cell = newest_that_works(target)
    return cell.release if cell else None


def last_release_for_cuda(major: int) -> str:
    """Return the newest final release whose resolution on Python 3.12 brings a torch for a CUDA major."""
    cuda = table("kernel_abi.json")["cuda"]
    cells = {r: judge(r, Target()) for r in releases() if not Version(r).is_prerelease}
    found = [r for r, c in cells.items() if c.status is Status.WORKS and cuda.get(c.versions.get("torch")) == major]
    return max(found, key=Version)


def test_a_new_driver_takes_the_newest_release() -> None:
    top = max((r for r in releases() if not Version(r).is_prerelease), key=Version)
    assert newest("A40", driver="580.65.06") == top
    assert newest("RTX 5090", driver="580") == top
    assert newest("B200", driver="590") == top


@pytest.mark.parametrize("name", ["A40", "H100", "L4"])
def test_a_driver_for_cuda_12_takes_the_last_release_for_it(name: str) -> None:
    assert newest(name, driver="535") == last_release_for_cuda(12)


def test_why_a_newer_one_does_not_run_on_an_old_driver() -> None:
    cell = judge("0.5.23", Target(gpu=gpu("A40"), driver="535"))
    assert (cell.status, cell.reason) == (
        Status.BROKEN,
        "torch 2.14.1 is built for CUDA 13, which needs driver 580; on driver 535 the package cuda-compat-13-0 would "
        "stand in for it",
    )
    assert "cuda-compat" not in judge("0.5.23", Target(gpu=gpu("RTX 5090"), driver="575")).reason


def test_blackwell_on_a_driver_for_cuda_12() -> None:
    assert newest("RTX 5090", driver="575") == last_release_for_cuda(12)
    assert judge("0.5.1", Target(gpu=gpu("RTX 5090"))).reason == (
        "its kernels (sgl-kernel 0.3.5) hold no code for NVIDIA GeForce RTX 5090 (12.0)"
    )


def test_turing_ends_with_the_last_kernels_that_hold_code_for_it() -> None:
    found = newest("T4")
    assert found
    version = judge(found, Target(gpu=gpu("T4"))).versions["sgl-kernel"]
    assert "sm_75" in (kernel_gpu_code("sgl-kernel", version, "x86_64") or [])
    later = [judge(r, Target(gpu=gpu("T4"))) for r in releases() if Version(r) > Version(found)]
    assert {cell.status for cell in later} == {Status.BROKEN}
    assert all(cell.reason.endswith("hold no code for NVIDIA T4 (7.5)") for cell in later)


def test_nothing_works_on_volta_and_it_says_so() -> None:
    assert newest("V100") is None
    reason = "SGLang asks for compute capability 7.5; NVIDIA V100 16GB has 7.0"
    assert judge("0.5.9", Target(gpu=gpu("V100"))).reason == reason


def test_an_arm_machine_needs_wheels_for_it() -> None:
    assert newest("GH200", arch="aarch64") == max((r for r in releases() if not Version(r).is_prerelease), key=Version)
    assert judge("0.5.1", Target(arch="aarch64", gpu=gpu("GH200"))).status is not Status.WORKS


def test_an_old_glibc_ends_where_platform_wheels_begin() -> None:
    found = newest("A40", glibc="2.31")
    assert found
    assert Version(found) < Version("0.5.11")
    assert judge("0.5.23", Target(glibc="2.31")).reason == "its wheels need glibc 2.34, and there is no source package"


def test_a_python_that_was_never_resolved_is_judged_by_what_the_release_asks() -> None:
    assert judge("0.5.23", Target(python="3.8")).reason == "it asks for Python >=3.11"
    assert judge("0.5.23", Target(python="3.15")).reason == (
        "it has wheels for Python 3.11, 3.12, 3.13 only, and no source package"
    )
    assert judge("0.5.9", Target(python="3.15")).status is Status.UNKNOWN


def test_the_pythons_that_sglang_has_left_or_not_reached() -> None:
    old = newest("A40", python="3.9")
    assert old
    later = [r for r in releases() if Version(r) > Version(old) and not Version(r).is_prerelease]
    assert {judge(r, Target(python="3.9")).status for r in later} == {Status.BROKEN}
    asked = table("sglang.json")["releases"]
    assert all(Version("3.9") not in SpecifierSet(asked[release]["requires_python"]) for release in later)
    assert judge("0.5.9", Target(python="3.9")).reason == "it asks for Python >=3.10"
    assert newest("A40", python="3.14") is None
    assert judge("0.5.23", Target(python="3.14")).reason == (
        "it has wheels for Python 3.11, 3.12, 3.13 only, and no source package"
    )


def test_torch_for_arm_has_cuda_only_in_later_releases() -> None:
    assert judge("0.5.9", Target(arch="aarch64", gpu=gpu("GH200"))).reason == (
        "torch 2.9.1 for aarch64 on the package index is built without CUDA"
    )
    assert judge("0.5.11", Target(arch="aarch64", gpu=gpu("GH200"))).status is Status.WORKS


def test_a_labelled_build_is_judged_by_its_own_cuda_and_code() -> None:
    rtx5090 = Target(gpu=gpu("RTX 5090"), driver="570")
    assert judge("0.4.9", rtx5090).status is Status.BROKEN
    assert judge("0.4.9", rtx5090, Build(torch="cu128", kernels="cu128")).status is Status.WORKS
    assert judge("0.5.9", rtx5090, Build(torch="cu130", kernels="cu130")).reason == (
        "torch 2.9.1 is built for CUDA 13, which needs driver 580"
    )


def test_a_release_without_a_wheel_for_a_python_is_not_dead() -> None:
    cell = judge("0.5.23", Target(python="3.10"))
    assert (cell.status, cell.reason) == (
        Status.BROKEN,
        "it has wheels for Python 3.11, 3.12, 3.13 only, and no source package",
    )


def test_a_dead_release_says_what_is_gone() -> None:
    cell = judge("0.4.5", Target())
    assert (cell.status, cell.reason) == (Status.DEAD, "sgl-kernel==0.0.8 is no longer on the package index")


@pytest.mark.parametrize(
    ("reason", "short"),
    [
        ("Because transformers==4.57.0 was yanked (reason: x) and sglang==0.5.3.post1 depends on it, we can conclude.",
         "transformers==4.57.0 was yanked"),
        ("Because flashinfer was not found in the package registry and sglang[all]==0.4.0 depends on flashinfer>=0.1.6.",
         "flashinfer is not on the package index"),
        ("Because sglang[all]==0.5.22 has no wheels with a matching Python implementation tag (e.g., `cp310`).",
         "sglang 0.5.22 has no wheel for this Python"),
        ("Because the requested Python version (>=3.9) does not satisfy Python>=3.10 and you require sglang[all]==0.5.9, we can conclude that your requirements are unsatisfiable.",
         "it asks for Python >=3.10"),
        ("Because st-attn{platform_machine != 'aarch64'}==0.0.7 has no wheels with a matching Python ABI tag (e.g., `cp314`) and sglang[all]==0.5.10 depends on it.",
         "st-attn 0.0.7 has no wheel for this Python"),
        ("Because all of: decord<=0.4.0 decord>=0.4.2,<=0.6.0 have no wheels with a matching platform tag (e.g., `manylinux_2_34_aarch64`) and only these are available.",
         "decord has no wheel for this CPU"),
        ("Because sgl-kernel<=0.1.9 has no wheels with a matching platform tag (e.g., `manylinux_2_34_aarch64`) and only these are available.",
         "sgl-kernel has no wheel for this CPU"),
        ("Because vllm==0.10.2 depends on xgrammar{platform_machine == 'x86_64'}==0.1.23 and sglang[all]==0.5.5 depends on xgrammar==0.1.25, we can conclude.",
         "Because vllm==0.10.2 depends on xgrammar==0.1.23 and sglang[all]==0.5.5 depends on xgrammar==0.1.25, we can conclude."),
        ("Because of something else.", "Because of something else."),
    ],
)  # fmt: skip
def test_uvs_reason_in_short(reason: str, short: str) -> None:
    assert in_short(reason) == short
