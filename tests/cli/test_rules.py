"""``sgldoctor rules kernels``: which released kernels run on which GPU."""

from __future__ import annotations

import json

import pytest

from sgldoctor.cli.app import run

GPUS = ["A40", "A10G", "L4", "T4", "V100", "H100", "B200", "RTX 5090", "GB10", "Jetson Thor"]
RELEASES = ["0.1.5", "0.3.5", "0.3.15", "0.3.21", "0.4.4", "0.4.10"]
AMPERE_TO_HOPPER = ["sm_80", "sm_80", "sm_89"]
# What common_ops of each wheel holds, in the order of GPUS; None where nothing runs. cuobjdump listed 0.3.5 and 0.3.15
# and 0.4.10 for x86_64 (fixtures/gpu_code/cuobjdump.json); the others were read from the headers of their fat binaries.
TRUTH = {
    ("0.1.5", "x86_64"): [*AMPERE_TO_HOPPER, "sm_75", None, "sm_90a", None, None, None, None],
    ("0.3.5", "x86_64"): [*AMPERE_TO_HOPPER, "sm_75", None, "sm_90a", None, None, None, None],
    ("0.3.15", "x86_64"): [*AMPERE_TO_HOPPER, None, None, "sm_90a", "sm_100a", "sm_120a", None, None],
    ("0.3.21", "x86_64"): [*AMPERE_TO_HOPPER, None, None, "sm_90a", "sm_100a", "sm_120a", None, None],
    ("0.4.4", "x86_64"): [*AMPERE_TO_HOPPER, None, None, "sm_90a", "sm_100a", "sm_120a", None, None],
    ("0.4.10", "x86_64"): [*AMPERE_TO_HOPPER, None, None, "sm_90a", "sm_100f", "sm_120a", None, None],
    ("0.3.15", "aarch64"): [None] * 5 + ["sm_90a", "sm_100a", "sm_120a", None, None],
    ("0.3.21", "aarch64"): [*AMPERE_TO_HOPPER, None, None, "sm_90a", "sm_100a", "sm_120a", None, None],
    ("0.4.4", "aarch64"): [None] * 5 + ["sm_90", "sm_100a", "sm_120a", "sm_121a", "sm_110a"],
    ("0.4.10", "aarch64"): [None] * 5 + ["sm_90", "sm_100f", "sm_120a", "sm_121a", "sm_110a"],
}


def test_the_table_is_what_the_wheels_hold(capsys: pytest.CaptureFixture[str]) -> None:
    arguments = [part for gpu in GPUS for part in ("--gpu", gpu)]
    arguments += [part for release in RELEASES for part in ("--release", release)]
    assert run(["rules", "kernels", *arguments, "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert {(row["since"], row["arch"]): [gpu["code"] for gpu in row["gpus"]] for row in rows if row["wheel"]} == TRUTH
    assert [(row["since"], row["arch"]) for row in rows if not row["wheel"]] == [
        ("0.1.5", "aarch64"), ("0.3.5", "aarch64"),
    ]  # fmt: skip


def test_releases_that_are_alike_share_a_row(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["rules", "kernels", "--gpu", "T4", "--arch", "x86_64"]) == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert lines[0] == ["kernels", "CPU", "torch", "T4", "(7.5)"]
    assert lines[3] == ["sgl-kernel", "0.3.0", "to", "0.3.5", "x86_64", "==2.8.*", "sm_75"]
    assert lines[4] == ["sgl-kernel", "0.3.6.post1", "to", "0.3.18", "x86_64", "==2.8.*", "-"]


def test_a_release_without_a_wheel_for_a_cpu_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["rules", "kernels", "--gpu", "GB10", "--release", "0.3.5", "--arch", "aarch64"]) == 0
    assert capsys.readouterr().out.splitlines()[1].split() == [
        "sgl-kernel",
        "0.3.5",
        "aarch64",
        "==2.8.*",
        "no",
        "wheel",
    ]


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["--gpu", "A41"], "Unknown GPU 'A41'."),
        (["--release", "0.3.99"], "No kernel release '0.3.99' is known."),
        (["--arch", "x86"], "Unknown CPU architecture 'x86'. Known: x86_64, aarch64."),
    ],
)
def test_bad_input_is_named(arguments: list[str], text: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["rules", "kernels", *arguments]) == 2
    assert text in capsys.readouterr().err


def test_every_rule_is_proved(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["rules", "test"]) == 0
    assert capsys.readouterr().out.endswith(" and notice every shifted bound.\n")


def test_a_part_that_does_not_exist_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["rules", "refresh", "kernel"]) == 2
    assert (
        "There is no part 'kernel'. Did you mean 'kernels'? Known: sglang, packages, sources, kernels, health."
        in capsys.readouterr().err
    )
