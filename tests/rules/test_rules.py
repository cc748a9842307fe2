"""Every shipped rule: its examples come out as they say, and no mutant of it goes unnoticed."""

from __future__ import annotations

import pytest

from sgldoctor.diagnose import diagnose
from sgldoctor.rules.load import consequence_errors, read_problems, rules_folder
from sgldoctor.rules.model import Problem
from sgldoctor.rules.mutate import survivors
from sgldoctor.rules.parse import PLACEHOLDER
from sgldoctor.rules.validate import example_snapshot, problem_errors, validate_rules

PROBLEMS = read_problems((rules_folder() / "problems",), examples=True)

each_problem = pytest.mark.parametrize("problem", PROBLEMS, ids=[problem.id for problem in PROBLEMS])


def test_there_are_rules() -> None:
    assert len(PROBLEMS) >= 60


def test_consequences_name_problems_that_exist_and_form_no_cycle() -> None:
    assert consequence_errors(PROBLEMS) == []


def test_a_shipped_folder_can_be_validated_by_its_path() -> None:
    rules, examples = validate_rules((rules_folder() / "problems" / "gpu",))
    assert 0 < rules < examples


@each_problem
def test_examples_come_out_as_they_say(problem: Problem) -> None:
    assert list(problem_errors(problem)) == []


@each_problem
def test_examples_notice_every_mutant(problem: Problem) -> None:
    assert [mutant.name for mutant in survivors(problem)] == []


@each_problem
def test_no_text_of_a_finding_keeps_a_placeholder(problem: Problem) -> None:
    for example in problem.examples.get("match") or ():
        snapshot = example_snapshot(example["facts"])
        for finding in diagnose(snapshot, [problem]).findings:
            texts = [
                finding.message,
                *(fix.text for fix in finding.fixes),
                *(fix.command or "" for fix in finding.fixes),
            ]
            assert [text for text in texts if PLACEHOLDER.search(text)] == []
