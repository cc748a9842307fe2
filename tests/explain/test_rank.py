"""Which problem is the answer: the root before what follows from it, whatever their order in the text."""

from __future__ import annotations

import pytest

from tests.explain.books import explainer, ids, problem

ERROR = problem("an-error", "port 30000 is taken")
LATER = problem("a-later-error", "out of memory")
WARNING = problem("a-warning", "numa is not set", severity="warning")
NOTE = problem("a-note", "using defaults", severity="info")
BENIGN = problem("a-benign-line", "Decode batch", severity="benign")
SYMPTOM = problem("a-symptom", "Received sigquit", symptom=True)
EARLY_SYMPTOM = problem("an-early-symptom", "Capture cuda graph failed", symptom=True)
ALL = (ERROR, LATER, WARNING, NOTE, BENIGN, SYMPTOM, EARLY_SYMPTOM)
LINES = {
    ERROR.id: "port 30000 is taken", LATER.id: "out of memory", WARNING.id: "numa is not set",
    NOTE.id: "using defaults", BENIGN.id: "Decode batch", SYMPTOM.id: "Received sigquit",
    EARLY_SYMPTOM.id: "Capture cuda graph failed",
}  # fmt: skip


@pytest.mark.parametrize(
    ("shown", "order"),
    [
        ([BENIGN, ERROR], [ERROR, BENIGN]),
        ([WARNING, ERROR], [ERROR, WARNING]),
        ([LATER, ERROR], [LATER, ERROR]),
        ([ERROR, LATER], [ERROR, LATER]),
        ([SYMPTOM, ERROR], [ERROR, SYMPTOM]),
        ([SYMPTOM, WARNING], [WARNING, SYMPTOM]),
        ([EARLY_SYMPTOM, SYMPTOM], [EARLY_SYMPTOM, SYMPTOM]),
        ([NOTE, SYMPTOM], [SYMPTOM, NOTE]),
        ([BENIGN, NOTE], [NOTE, BENIGN]),
        ([BENIGN, NOTE, EARLY_SYMPTOM, WARNING, LATER, ERROR], [LATER, ERROR, WARNING, EARLY_SYMPTOM, NOTE, BENIGN]),
    ],
)  # fmt: skip
def test_kinds_come_before_places(shown: list[object], order: list[object]) -> None:
    text = "\n".join(LINES[item.id] for item in shown)  # type: ignore[attr-defined]
    assert ids(text, *ALL) == [item.id for item in order]  # type: ignore[attr-defined]


def test_what_another_one_explains_comes_after_it_though_it_stands_earlier() -> None:
    root = problem("the-root", "libnuma", consequences=["between"])
    between = problem("between", "import failed", consequences=["at-the-end"])
    end = problem("at-the-end", "server stopped")
    assert ids("server stopped\nimport failed\nlibnuma", root, between, end) == ["the-root", "at-the-end", "between"]


def test_a_chain_holds_though_its_middle_is_not_in_the_text() -> None:
    root = problem("the-root", "libnuma", consequences=["between"])
    between = problem("between", "import failed", consequences=["at-the-end"])
    end = problem("at-the-end", "server stopped")
    assert ids("server stopped\nlibnuma", root, between, end) == ["the-root", "at-the-end"]


def test_on_one_line_the_more_specific_signature_wins() -> None:
    general = problem("general", "undefined symbol")
    special = problem("special", "undefined symbol: _ZN3c10")
    double = problem("double", "undefined symbol", "_ZN3c104cuda")
    text = "x.so: undefined symbol: _ZN3c104cuda9SetDeviceEab"
    assert ids(text, general, special, double) == ["double", "special", "general"]


def test_all_any_and_none() -> None:
    rule = problem("rule", signatures=[{"all": ["aaa", "bbb"], "any": ["ccc", "ddd"], "none": ["eee"]}])
    assert ids("bbb\naaa\nccc", rule) == ["rule"]
    assert ids("aaa bbb ddd", rule) == ["rule"]
    assert ids("aaa\nccc", rule) == []
    assert ids("aaa\nbbb", rule) == []
    assert ids("aaa\nbbb\nccc\nzz eee", rule) == []


def test_any_signature_of_a_problem_is_enough_and_the_most_specific_speaks() -> None:
    rule = problem("rule", signatures=[
        {"all": ["taken"], "message": "A port is taken."},
        {"all": [r"port (?P<port>\d+) is taken"], "message": "Port {capture.port} is taken."},
    ])  # fmt: skip
    assert [m.message for m in explainer(rule).explain_text("port 80 is taken").matches] == ["Port 80 is taken."]
    assert [m.message for m in explainer(rule).explain_text("it is taken").matches] == ["A port is taken."]
