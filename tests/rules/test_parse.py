"""What is wrong with a rule file is named: all of it, with the nearest right word."""

from __future__ import annotations

from pathlib import Path

import pytest

from sgldoctor.errors import RulesError
from sgldoctor.rules.load import load_problems, read_problems
from sgldoctor.rules.validate import validate_rules

GOOD = """\
id: {name}
title: Torch is too old
severity: error
subject: torch
check:
  require: {{package.torch: ">=2.8"}}
  message: "torch {{package.torch}} is too old."
cause: Because.
fix:
  - {{text: "Update it.", command: "{{command.install}} torch"}}
references: ["measured: here"]
evidence: {{level: execution, date: "2026-11-21"}}
examples:
  match: [{{name: old, facts: {{package.torch: "2.7.1"}}}}]
  no_match: [{{name: new, facts: {{package.torch: "2.8.0"}}}}]
  unknown: [{{name: dark, facts: {{package.torch: {{unknown: unreadable}}}}}}]
"""


def write(folder: Path, name: str = "torch-too-old", **changes: str) -> Path:
    text = GOOD.format(name=name)
    for old, new in changes.items():
        line = next(line for line in text.splitlines() if line.startswith(old))
        text = text.replace(line, new)
    path = folder / f"{name}.yaml"
    path.write_text(text)
    return path


def errors_of(path: Path) -> list[str]:
    with pytest.raises(RulesError) as caught:
        validate_rules((path,))
    return [line.removeprefix(f"{path}: ") for line in caught.value.errors]


def test_a_good_rule_is_proved_by_its_examples(tmp_path: Path) -> None:
    assert validate_rules((write(tmp_path),)) == (1, 3)


@pytest.mark.parametrize(
    ("key", "line", "message"),
    [
        ("severity", "severity: eror", "severity: 'eror' is none of error, warning, info, benign. Did you mean 'error'?"),
        ("subject", "subject: torsh", "subject: 'torsh' is none of"),
        ("title", "titel: x", "unknown key 'titel'. Did you mean 'title'?"),
        ("id", "id: other", "id: 'other' is not the name of the file"),
        ("  require", '  require: {package.torch: ">=2.x"}', "check.require.package.torch: '>=2.x' is no PEP 440 specifier"),
        ("  message", '  message: "torch {torch.vers} is old"', "check.message: the placeholder {torch.vers} names no fact"),
        ("evidence", 'evidence: {level: rumour, date: "2026"}', "evidence.level: 'rumour' is none of report"),
        ("references", "references: nowhere", "references: must be a list, not 'nowhere'"),
        ("cause", "cause: 3.10", "cause: must be a text, not 3.1 (quote versions and dates)"),
    ],
)  # fmt: skip
def test_each_mistake_has_its_own_line(tmp_path: Path, key: str, line: str, message: str) -> None:
    assert any(error.startswith(message) for error in errors_of(write(tmp_path, **{key: line})))


def test_all_mistakes_of_all_files_are_listed_at_once(tmp_path: Path) -> None:
    write(tmp_path, "a", severity="severity: bad", subject="subject: bad")
    write(tmp_path, "b", cause="cause: []")
    with pytest.raises(RulesError) as caught:
        read_problems((tmp_path,), examples=True)
    assert [Path(error.split(":")[0]).stem for error in caught.value.errors] == ["a", "a", "b"]


def test_an_example_that_does_not_come_out_as_it_says_is_an_error(tmp_path: Path) -> None:
    path = write(tmp_path, **{"  no_match": '  no_match: [{name: new, facts: {package.torch: "2.7.9"}}]'})
    assert errors_of(path) == ["examples.no_match (new): expected not_applicable or ok, came out as found"]


def test_a_check_without_examples_is_an_error(tmp_path: Path) -> None:
    path = write(tmp_path, **{"  unknown": "  unknown: []"})
    assert errors_of(path) == ["examples.unknown: a check needs at least one example with facts"]


def test_a_pattern_that_does_not_compile_is_an_error(tmp_path: Path) -> None:
    path = write(tmp_path, cause="signatures:\n  - all: ['(unclosed']\ncause: Because.")
    assert errors_of(path) == [
        "signatures[1].all: '(unclosed' does not compile: missing ): (unclosed",
        "examples.match: signatures need at least one example with a text",
    ]


def test_text_that_is_no_yaml_is_an_error_that_names_the_file(tmp_path: Path) -> None:
    path = tmp_path / "x.yaml"
    path.write_text("id: [\n")
    assert errors_of(path)[0].startswith("while parsing a flow node")


def test_a_missing_rules_folder_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(RulesError, match="nowhere: no such file or folder"):
        load_problems((tmp_path / "nowhere",))


def test_two_rules_of_one_name_are_an_error(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    write(tmp_path / "a")
    second = write(tmp_path / "b")
    with pytest.raises(RulesError) as caught:
        read_problems((tmp_path,), examples=True)
    assert caught.value.errors == (f"{second}: the id 'torch-too-old' is taken by {tmp_path}/a/torch-too-old.yaml",)


def test_consequences_must_exist_and_never_form_a_circle(tmp_path: Path) -> None:
    write(tmp_path, "a-rule", cause="consequences: [b-rule]\ncause: Because.")
    write(tmp_path, "b-rule", cause="consequences: [a-rule]\ncause: Because.")
    with pytest.raises(RulesError, match="consequences form a cycle: a-rule -> b-rule -> a-rule"):
        load_problems((tmp_path,))
    write(tmp_path, "b-rule", cause="consequences: [c-rule]\ncause: Because.")
    with pytest.raises(RulesError, match="there is no problem 'c-rule'"):
        load_problems((tmp_path,))
