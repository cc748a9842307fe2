"""The literals of a pattern stand wherever it matches, so that nothing is missed by looking for them first."""

from __future__ import annotations

import pytest

from sgldoctor.explain.literals import literals
from sgldoctor.explain.scan import compiled, patterns_of
from sgldoctor.rules.load import read_problems, rules_folder
from sgldoctor.rules.validate import texts_of


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        (r"libnuma\.so\.1: cannot open", ("libnuma.so.1: cannot open",)),
        (r"(?P<library>lib\w+\.so\.\d+): cannot (?:open|close) it", (": cannot ",)),
        (r"first one|second\s+two", ("first one", "second")),
        (r"long enough|ab", ()),
        (r"ghi?jkl", ("jkl",)),
        (r"ghijk{0,2}", ("ghij",)),
        (r"[abc|d]+efg", ("efg",)),
        (r"[\w.\]]+abc", ("abc",)),
        (r"x\[y\] z[^]]q", ("x[y] z",)),
        (r"a\|b|c\(d\)e", ("a|b", "c(d)e")),
        (r"(?:abc)?def", ("def",)),
        (r"out(?:er(?:most)?)? of memory", (" of memory",)),
        (r"^Killed$", ("Killed",)),
        (r"(?i)out of memory", ()),
        (r"(?i:out) of memory", ()),
        (r"\x41bcdef", ()),
        (r"\d+\.\d+", ()),
    ],
)
def test_what_must_stand_in_a_line(pattern: str, expected: tuple[str, ...]) -> None:
    assert literals(pattern) == expected


def test_no_example_of_any_rule_is_missed_by_its_literals() -> None:
    problems = read_problems((rules_folder() / "problems",), examples=True)
    lines = {line for problem in problems for _, item in texts_of(problem) for line in item["text"].splitlines()}
    patterns = {pattern for problem in problems for s in problem.signatures for pattern in patterns_of(s)}
    for pattern in patterns:
        if words := literals(pattern):
            missed = [x for x in lines if not any(word in x for word in words) and compiled(pattern).search(x)]
            assert (pattern, missed) == (pattern, [])
