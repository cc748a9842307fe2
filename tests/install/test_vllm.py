"""vLLM as the engine: the last release per torch that the machine can run."""

from __future__ import annotations

import pytest

from sgldoctor.install.plan import Plan
from sgldoctor.install.target import Wish, named, release_wish
from sgldoctor.install.vllm import plan_for
from sgldoctor.rules.knowledge import table


def plan(*gpus: str, release: str | None = None, **machine: str) -> Plan:
    return plan_for(
        named(gpus=gpus, **machine), Wish(engine="vllm", release=release_wish(release) if release else None)
    )


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
    assert chosen(plan(gpu, **machine)) == release


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
