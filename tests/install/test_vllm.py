"""vLLM as the engine: the last release per torch that the machine can run."""

from __future__ import annotations

import pytest

from sgldoctor.install.plan import Plan
from sgldoctor.install.target import Wish, named, release_wish
from sgldoctor.install.vllm import plan_for
from sgldoctor.rules.knowledge import table


def plan(
    *gpus: str,
    release: str | None = None,
    additions: tuple[str, ...] = (),
    extras: tuple[str, ...] = (),
    **machine: str,
) -> Plan:
    wish = Wish("vllm", release_wish(release) if release else None, extras, additions)
    return plan_for(named(gpus=gpus, **machine), wish)


def chosen(found: Plan) -> str:
    return dict(found.environments[0].versions)["vllm"]


NEWEST = str(table("vllm.yaml")["releases"][0]["version"])


@pytest.mark.parametrize(
    ("gpu", "machine", "release"),
    [
        ("H100", {"driver": "580"}, NEWEST),
        ("H100", {"driver": "535"}, "0.19.1"),
        ("H100", {}, "0.19.1"),
        ("H100", {"cuda": "12.4"}, "0.19.1"),
        ("H100", {"driver": "580", "python": "3.10"}, "0.26.0"),
        ("A10G", {"driver": "535", "python": "3.9"}, "0.9.2"),
        ("GH200", {"driver": "580"}, NEWEST),
        ("H100", {"driver": "535", "glibc": "2.28"}, "0.9.2"),
    ],
)
def test_the_newest_that_the_machine_runs(gpu: str, machine: dict[str, str], release: str) -> None:
    if release == "0.9.2":
        machine = {"python": "3.11", **machine}
    assert chosen(plan(gpu, additions=(), extras=(), **machine)) == release


@pytest.mark.parametrize(
    ("found", "reason"),
    [
        (plan("GH200", driver="550"), f"vLLM {NEWEST} cannot be installed here: torch 2.13.0 is built for CUDA 13.0, which needs driver 580."),
        (plan("V100", driver="580"), f"vLLM {NEWEST} cannot be installed here: its kernels were not read, and are not trusted below 7.5; NVIDIA V100 16GB has 7.0."),
        (plan("H100", release="0.1.0"), "No vLLM ==0.1.0 is in the table."),
        (plan("H100", release="latest", python="3.10"), f"vLLM {NEWEST} cannot be installed here: it asks for Python >=3.11,<3.15."),
        (plan("RTX 5090", release="0.9.2"), "vLLM 0.9.2 cannot be installed here: torch 2.7.0 holds no code for NVIDIA GeForce RTX 5090 (12.0)."),
    ],
)  # fmt: skip
def test_what_cannot_run_is_refused(found: Plan, reason: str) -> None:
    assert (found.status, found.reason) == ("refused", reason)


def test_torch_comes_first_and_is_checked_last() -> None:
    steps = plan("A10G", release="0.9.2", driver="535").environments[0].steps
    assert [(step.name, step.verify) for step in steps] == [
        ("torch", ("torch",)),
        ("vllm", ("vllm", "versions", "torch-unchanged")),
    ]
    assert steps[1].requirements == ("vllm==0.9.2", "transformers>=4.51.1,<4.54")


def test_further_requirements_choose_a_release_that_fits_them() -> None:
    assert chosen(plan("A10G", additions=("torch==2.7.0",))) == "0.9.2"
    assert chosen(plan("A10G", additions=("torch==2.4; sys_platform == 'win32'",))) == "0.19.1"
    assert chosen(plan("A10G", additions=("vllm==0.16.0",))) == "0.16.0"


@pytest.mark.parametrize(
    ("found", "reason"),
    [
        (plan("A10G", release="0.19.1", additions=("torch==2.8.0",)), "it brings torch 2.10.0, which --with torch==2.8.0 excludes"),
        (plan("A10G", release="0.9.2", additions=("transformers==4.54.0",)), "it asks for transformers>=4.51.1,<4.54, which --with transformers==4.54.0 excludes"),
        (plan("A10G", release="0.16.0", additions=("transformers==5.0.0",)), "it asks for transformers<5,>=4.56.0, which --with transformers==5.0.0 excludes"),
        (plan("A10G", release="0.9.2", extras=("benhc",)), "it has no extra 'benhc'; it has bench, tensorizer, fastsafetensors, runai, audio, video"),
    ],
)  # fmt: skip
def test_what_a_release_excludes_is_no_part_of_its_plan(found: Plan, reason: str) -> None:
    assert found.status == "refused"
    assert str(found.reason).partition(": ")[2] == f"{reason}."


@pytest.mark.parametrize(
    ("gpu", "release", "driver"),
    [("B300", NEWEST, "13.0 and driver 580"), ("RTX 5090", "0.19.1", "12 and driver 570"), ("A10G", "0.19.1", "12 and driver 525")],
)  # fmt: skip
def test_the_driver_that_is_assumed_knows_the_gpu(gpu: str, release: str, driver: str) -> None:
    found = plan(gpu)
    assert (chosen(found), found.assumptions[0]) == (
        release,
        f"Driver not known: planned for CUDA {driver} or newer.",
    )


def test_an_unknown_c_library_is_an_assumption() -> None:
    assert plan("GH200", driver="580").assumptions == (
        "C library not known: taken to be glibc 2.28 or newer. Ubuntu 20.04 has 2.31; say it with --glibc.",
        "Python not given: 3.12. Name another with --python.",
    )


def test_a_refusal_names_the_nearest_and_what_would_help() -> None:
    found = plan("H100", release="latest", driver="580", python="3.10")
    assert (found.nearest, found.notes) == (
        "0.26.0",
        (
            "The nearest release that works there is 0.26.0: --release 0.26.0",
            f"--python 3.12: vLLM {NEWEST} would work",
        ),
    )
    old = plan("GH200", driver="550")
    assert (old.nearest, old.notes) == (None, (f"Driver 580 or newer: vLLM {NEWEST} would work",))


def test_override_has_nothing_to_do() -> None:
    found = plan_for(named(gpus=("A10G",), driver="580"), Wish("vllm", override=True))
    assert found.notes == ("--override has nothing to replace: no pin of this release is gone from the index.",)
