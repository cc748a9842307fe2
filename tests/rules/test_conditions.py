"""The three-valued conditions that rules are made of."""

from __future__ import annotations

from typing import Any

import pytest

from sgldoctor.rules.conditions import parse
from sgldoctor.snapshot import Known, Snapshot, Unknown

OTHERS = Snapshot(
    {
        "torch.min_driver": Known("525.60.13", "table"),
        "kernel.torch_window": Known("==2.8.*", "table"),
        "torch.cuda_major": Known("12", "torch"),
        "kernel.cuda_major": Unknown("never read"),
        "toolchain.nvcc_major": Known(None, "no nvcc"),
    }
)


def answer(fact: str, raw: Any, value: Any) -> bool | None:
    answers = {condition.test(value, OTHERS) for condition in parse(fact, raw)}
    assert len(answers) == 1
    return answers.pop()


@pytest.mark.parametrize(
    ("fact", "raw", "value", "expected"),
    [
        ("package.torch", ">=2.8,<2.9", "2.8.0+cu128", True),
        ("package.torch", ">=2.8,<2.9", "2.9.0", False),
        ("package.torch", [">=2.8,<2.9", "==2.11.*"], "2.11.1", True),
        ("package.torch", ">=2.8", "2.9.0a0+nv25.6", True),
        ("package.torch", ">=2.8", "main", None),
        ("package.torch", ">=2.8", None, False),
        ("package.torch", {"present": False}, None, True),
        ("package.torch", {"present": True}, "2.8.0", True),
        ("package.torch", {"within": "kernel.torch_window"}, "2.8.1", True),
        ("package.torch", {"within": "kernel.torch_window"}, "2.7.1", False),
        ("driver.version", {"at_least": "torch.min_driver"}, "525.60.13", True),
        ("driver.version", {"at_least": "torch.min_driver"}, "525.60.12", False),
        ("driver.version", {"at_least": "python.version"}, "525.60.12", None),
        ("kernel.cuda_major", {"same_as": "torch.cuda_major"}, "12", True),
        ("kernel.cuda_major", {"same_as": "torch.cuda_major"}, "13", False),
        ("torch.cuda_major", {"same_as": "kernel.cuda_major"}, "12", None),
        ("torch.cuda_major", {"same_as": "toolchain.nvcc_major"}, "12", False),
        ("os.family", "debian", "debian", True),
        ("os.family", ["debian", "rhel"], "alpine", False),
        ("os.family", {"not": ["alpine"]}, "debian", True),
        ("os.family", {"not": ["alpine"]}, "alpine", False),
        ("os.kernel", {"contains": "microsoft"}, "5.15-microsoft-standard", True),
        ("os.kernel", {"contains": "microsoft"}, "5.15", False),
        ("gpu.count", {"min": 2}, 2, True),
        ("gpu.count", {"min": 2}, 1, False),
        ("gpu.count", {"max": 1}, 2, False),
        ("gpu.count", 1, 1, True),
        ("gpu.count", {"min": 2}, True, None),
        ("torch.cxx11_abi", True, True, True),
        ("torch.cxx11_abi", True, False, False),
        ("torch.targets", {"has": "sm_90"}, ["sm_80", "sm_90"], True),
        ("torch.targets", {"lacks": "sm_90"}, ["sm_80", "sm_90"], False),
        ("cuda.core_majors", {"max_count": 1}, ["12"], True),
        ("cuda.core_majors", {"max_count": 1}, ["12", "13"], False),
    ],
)
def test_a_condition_has_three_answers(fact: str, raw: Any, value: Any, expected: bool | None) -> None:
    assert answer(fact, raw, value) is expected


GOOD, BAD, DARK = {"capability": "9.0"}, {"capability": "7.0"}, {"capability": None}


@pytest.mark.parametrize(
    ("operator", "records", "expected"),
    [
        ("none", [GOOD], True), ("none", [GOOD, BAD], False), ("none", [BAD, DARK], False), ("none", [GOOD, DARK], None),
        ("none", [], True), ("any", [GOOD, BAD], True), ("any", [GOOD], False), ("any", [DARK], None), ("any", [], False),
        ("all", [BAD], True), ("all", [BAD, GOOD], False), ("all", [BAD, DARK], None), ("all", [], True),
    ],
)  # fmt: skip
def test_records_are_judged_one_by_one_and_a_null_field_is_unknown(
    operator: str, records: list[dict[str, Any]], expected: bool | None
) -> None:
    assert answer("gpus", {operator: {"capability": "<7.5"}}, records) is expected


@pytest.mark.parametrize(
    ("fact", "raw", "message"),
    [
        ("package.torch", ">=2.x", "'>=2.x' is no PEP 440 specifier, such as '>=2.8,<2.9' or '==2.8.*'"),
        ("pyhton.version", ">=3", "there is no fact 'pyhton.version'. Did you mean 'python.version'? See: sgldoctor rules facts"),
        ("gpu.count", {"mim": 2}, "no operator 'mim' on a number fact. Did you mean 'min'? use a number, min, max, present"),
        ("gpu.count", {"min": "2"}, "'min' takes a number, not '2'"),
        ("gpu.count", ">1", "'>1' is no condition on a number fact; use a number, min, max, present"),
        ("gpus", {"none": {"capabilty": "<7.5"}}, "records have no field 'capabilty'. Did you mean 'capability'?"),
        ("os.family", {}, "holds no condition"),
        ("driver.version", {"at_least": "torch.minimum"}, "there is no fact 'torch.minimum'. Did you mean 'torch.min_driver'? See: sgldoctor rules facts"),
    ],
)  # fmt: skip
def test_a_condition_that_makes_no_sense_is_refused_with_its_reason(fact: str, raw: Any, message: str) -> None:
    with pytest.raises(ValueError, match=".") as caught:
        parse(fact, raw)
    assert str(caught.value) == message
