from __future__ import annotations

from typing import Any

import pytest

from sgldoctor.api import check
from sgldoctor.install.execute import judge
from sgldoctor.install.execute.errors import InstallFailedError
from sgldoctor.install.plan import READY, Plan
from sgldoctor.rules.validate import example_snapshot

LIBNUMA = {"kernel.libraries_missing": [{"name": "libnuma.so.1", "needed_by": "common_ops.abi3.so", "apt": "libnuma1"}]}
MISFIT = {"package.torch": "2.7.0", "package.sgl-kernel": "0.3.5"}


def told(facts: dict[str, Any], *rules: str) -> list[str]:
    return judge.refuse_errors(check(example_snapshot(facts), keep=lambda problem: problem.id in rules))


@pytest.mark.parametrize("family", ["debian", "rhel", "arch"])
def test_a_library_that_the_host_lacks_is_told_and_is_no_failure(family: str) -> None:
    (text,) = told({"os.family": family, **LIBNUMA}, "kernel-needs-libnuma")
    assert text.startswith("This machine lacks something that the environment needs: ")
    assert text.endswith("[kernel-needs-libnuma]")


def test_kernels_for_another_torch_are_a_failure() -> None:
    with pytest.raises(InstallFailedError) as caught:
        told({"os.family": "debian", **LIBNUMA, **MISFIT}, "kernel-needs-libnuma", "kernel-does-not-fit-torch")
    lines = str(caught.value).splitlines()
    assert lines[0] == "check finds:"
    assert lines[1].endswith("[kernel-does-not-fit-torch]")
    assert len(lines) == 2


def test_what_is_fine_says_nothing() -> None:
    assert told({"package.torch": "2.8.0", "package.sgl-kernel": "0.3.5"}, "kernel-does-not-fit-torch") == []


def test_the_machine_is_the_one_that_was_planned_for() -> None:
    target = {
        "gpu": "A40",
        "gpus": ["A40", "L4"],
        "driver": "550.90",
        "arch": "x86_64",
        "glibc": "2.34",
        "python": "3.12",
    }
    machine = judge.machine_of(Plan(READY, False, None, tuple(target.items())))
    assert (machine.gpus, machine.driver, machine.python_version, machine.glibc, machine.arch) == (
        ("A40", "L4"), "550.90", None, "2.34", "x86_64",
    )  # fmt: skip
    assert judge.machine_of(Plan(READY, False, None, (("gpus", []), ("gpu", None)))).gpus == ()
