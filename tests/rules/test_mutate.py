"""The mutation engine: what it changes, what it leaves alone, and that weak examples are told."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from sgldoctor.rules.model import Problem
from sgldoctor.rules.mutate import mutants, survivors
from sgldoctor.rules.parse import parse_problem


def rule(check: str, *, affects: str | None = None, examples: str = "{}", exceptions: str = "[]") -> Problem:
    document: dict[str, Any] = {
        "id": "a-rule", "title": "A rule", "severity": "error", "subject": "host", "check": yaml.safe_load(check),
        "cause": "Because.", "fix": [{"text": "Mend it."}], "references": ["measured: here"],
        "evidence": {"level": "execution", "date": "2026-11-21"}, "known_exceptions": yaml.safe_load(exceptions),
        "examples": yaml.safe_load(examples) or {"match": []},
    }  # fmt: skip
    if affects is not None:
        document["affects"] = yaml.safe_load(affects)
    problem, errors = parse_problem(document, Path("a-rule.yaml"), examples=True)
    assert errors == []
    assert problem is not None
    return problem


def names(check: str, **more: str) -> list[str]:
    return [mutant.name for mutant in mutants(rule(check, **more))]


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        (">=2.8", [">=2.8 -> >=2.8.post1", ">=2.8 -> >=2.7"]),
        ("<0.4.6.post1", ["<0.4.6.post1 -> <0.4.6.post2", "<0.4.6.post1 -> <0.4.6"]),
        (">2.8", [">2.8 -> >2.9", ">2.8 -> >2.7"]),
        (">=0.5.0rc0", [">=0.5.0rc0 -> >=0.5.0rc1", ">=0.5.0rc0 -> >=0.4"]),
        ("==2.8.*", ["==2.8.* -> >=2.8,<2.10", "==2.8.* -> >=2.7,<2.9"]),
        ("==2.9.1", ["==2.9.1 -> >=2.9.1,<=2.9.2", "==2.9.1 -> >=2.9.0,<=2.9.1"]),
        ("!=2.8", []),
        (">=0", [">=0 -> >=0.post1"]),
        (">=2.7,<2.8", [
            ">=2.7 dropped", ">=2.7 -> >=2.7.post1", ">=2.7 -> >=2.6",
            "<2.8 dropped", "<2.8 -> <2.8.post1", "<2.8 -> <2.7",
        ]),
        ("~=2.8.1", [
            ">=2.8.1 dropped", ">=2.8.1 -> >=2.8.1.post1", ">=2.8.1 -> >=2.8.0",
            "==2.8.* dropped", "==2.8.* -> >=2.8,<2.10",
        ]),
    ],
)  # fmt: skip
def test_bounds_of_versions_move_by_one_step(condition: str, expected: list[str]) -> None:
    found = names(f"{{require: {{libc.version: '{condition}'}}}}")
    fixed = ["require: libc.version dropped", f"require: libc.version '{condition}' dropped"]
    assert found == [*fixed, *(f"require: libc.version {name}" for name in expected)]


def test_a_bound_is_not_moved_where_no_version_tells_the_difference() -> None:
    found = names("{require: {libc.version: ['>=2.7,<2.8', '>=2.8,<2.9']}}")
    assert not any("<2.8 -> <2.8.post1" in name or ">=2.8 -> >=2.7" in name for name in found)
    assert any(">=2.7 -> >=2.6" in name for name in found)
    assert any("<2.9 -> <2.9.post1" in name for name in found)


@pytest.mark.parametrize(
    ("test", "expected"),
    [
        ("shm.total_mib: {min: 64}", ["min 64 -> 65", "min 64 -> 63"]),
        ("shm.total_mib: {min: 1, max: 3}", [
            "min dropped", "min 1 -> 2", "min 1 -> 0", "max dropped", "max 3 -> 4", "max 3 -> 2",
        ]),
        ("gpus: {min_count: 0}", ["min_count 0 -> 1"]),
        ("gpus: {max_count: 0}", ["max_count 0 -> 1", "max_count 0 -> -1"]),
        ("driver.open_module: true", ["is True flipped"]),
        ("driver.libcuda: {present: false}", ["present False flipped"]),
        ("os.id: [debian, ubuntu]", ["in 'debian' dropped", "in 'ubuntu' dropped"]),
        ("os.id: {not: [alpine]}", ["not 'alpine' dropped"]),
        ("os.kernel: {contains: WSL2}", ["contains 'WSL2' dropped"]),
        ("gpu.kinds: {lacks: consumer}", ["lacks 'consumer' changed"]),
        ("driver.version: {at_least: torch.min_driver}", []),
        ("gpus: {none: {ecc: true, index: 0}}", [
            "none.ecc dropped", "none.ecc is True flipped",
            "none.index dropped", "none.index is 0 -> 1", "none.index is 0 -> -1",
        ]),
    ],
)  # fmt: skip
def test_each_operator_has_its_mutants(test: str, expected: list[str]) -> None:
    fact = test.partition(":")[0]
    found = names(f"{{require: {{{test}}}}}")
    assert found == [f"require: {fact} dropped", *(f"require: {fact} {name}" for name in expected)]


def test_conditions_exceptions_and_affected_packages_are_mutated_too() -> None:
    found = names(
        "{when: {os.name: linux, os.id: debian}, require: {libc.name: glibc}}",
        affects="{package: [sgl-kernel, sglang-kernel], since: '0.3', until: null}",
        exceptions="[{text: Fine., when: {os.version: '12', cpu.arch: x86_64}}, {text: Fine., when: {os.version: '13'}}]",
    )
    assert found == [
        "when: os.name dropped", "when: os.name in 'linux' dropped",
        "when: os.id dropped", "when: os.id in 'debian' dropped",
        "require: libc.name dropped", "require: libc.name in 'glibc' dropped",
        "known_exceptions[1] dropped",
        "known_exceptions[1]: os.version dropped", "known_exceptions[1]: os.version in '12' dropped",
        "known_exceptions[1]: cpu.arch dropped", "known_exceptions[1]: cpu.arch in 'x86_64' dropped",
        "known_exceptions[2] dropped", "known_exceptions[2]: os.version in '13' dropped",
        "affects dropped", "affects: sgl-kernel dropped", "affects: sglang-kernel dropped",
        "affects: >=0.3 dropped", "affects: >=0.3 -> >=0.3.post1", "affects: >=0.3 -> >=0.2",
    ]  # fmt: skip


def test_a_missing_near_miss_leaves_a_survivor_and_adding_it_none() -> None:
    check = "{when: {os.name: linux}, require: {libc.version: '>=2.28'}}"
    weak = """
      match: [{name: old, facts: {os.name: linux, libc.version: "2.17"}}]
      no_match: [{name: new, facts: {os.name: linux, libc.version: "2.36"}}]
      unknown: [{name: dark, facts: {os.name: linux}}]
    """
    strong = """
      match: [{name: just-below, facts: {os.name: linux, libc.version: "2.27"}}]
      no_match:
        - {name: exactly, facts: {os.name: linux, libc.version: "2.28"}}
        - {name: not-linux, facts: {os.name: freebsd, libc.version: "2.17"}}
      unknown: [{name: dark, facts: {os.name: linux}}]
    """
    assert [mutant.name for mutant in survivors(rule(check, examples=weak))] == [
        "when: os.name dropped",
        "require: libc.version >=2.28 -> >=2.28.post1",
        "require: libc.version >=2.28 -> >=2.27",
    ]
    assert survivors(rule(check, examples=strong)) == []
