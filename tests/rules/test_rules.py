"""Every shipped rule: its examples come out as they say, and no mutant of it goes unnoticed."""

from __future__ import annotations

import pytest

from sgldoctor.diagnose import diagnose
from sgldoctor.explain.answer import Explainer
from sgldoctor.rules.book import Book
from sgldoctor.rules.load import consequence_errors, read_problems, rules_folder
from sgldoctor.rules.model import Problem
from sgldoctor.rules.mutate import survivors
from sgldoctor.rules.parse import PLACEHOLDER
from sgldoctor.rules.validate import example_snapshot, problem_errors, text_errors, texts_of, validate_rules

PROBLEMS = read_problems((rules_folder() / "problems",), examples=True)

EXPLAINER = Explainer(Book({}, PROBLEMS)).prepare()

each_problem = pytest.mark.parametrize("problem", PROBLEMS, ids=[problem.id for problem in PROBLEMS])


each_signature = pytest.mark.parametrize(
    "problem", [p for p in PROBLEMS if p.signatures], ids=[p.id for p in PROBLEMS if p.signatures]
)


def test_there_are_rules() -> None:
    assert len(PROBLEMS) >= 60
    assert len([problem for problem in PROBLEMS if problem.signatures]) >= 130


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
        if "facts" not in example:
            continue
        snapshot = example_snapshot(example["facts"])
        for finding in diagnose(snapshot, [problem]).findings:
            texts = [
                finding.message,
                *(fix.text for fix in finding.fixes),
                *(fix.command or "" for fix in finding.fixes),
            ]
            assert [text for text in texts if PLACEHOLDER.search(text)] == []


@each_signature
def test_texts_are_explained_first_by_their_own_problem_and_near_misses_are_not(problem: Problem) -> None:
    assert list(text_errors(problem, EXPLAINER)) == []


@each_signature
def test_no_text_of_an_explanation_keeps_a_placeholder(problem: Problem) -> None:
    for kind, example in texts_of(problem):
        for match in EXPLAINER.explain_text(example["text"]).matches[:1] if kind == "match" else ():
            texts = [
                match.message,
                match.cause,
                *(f.text for f in match.fixes),
                *(f.command or "" for f in match.fixes),
            ]
            assert [text for text in texts if PLACEHOLDER.search(text)] == []
            assert match.fixes or match.severity.value == "benign"
