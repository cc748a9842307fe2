"""What an answer holds: captures in its words, cures that can be typed, what the facts confirm."""

from __future__ import annotations

from sgldoctor.explain.model import Meaning
from sgldoctor.snapshot import Known, Snapshot
from tests.explain.books import explainer, problem

PORT = r"address (?P<host>\S+):(?P<port>\d+) already in use"


def test_captures_fill_message_cause_and_cures() -> None:
    rule = problem(
        "rule", cause="Something listens on {capture.port}.",
        signatures=[{"all": [PORT], "message": "Port {capture.port} of {capture.host} is taken."}],
        fix=[{"text": "See who holds {capture.port}.", "command": "ss -ltnp 'sport = :{capture.port}'"}],
    )  # fmt: skip
    (match,) = explainer(rule).explain_text("x\naddress 0.0.0.0:30000 already in use").matches
    assert match.message == "Port 30000 of 0.0.0.0 is taken."
    assert match.cause == "Something listens on 30000."
    assert [(fix.text, fix.command) for fix in match.fixes] == [("See who holds 30000.", "ss -ltnp 'sport = :30000'")]
    assert match.captures == {"host": "0.0.0.0", "port": "30000"}
    assert [(line.number, line.text) for line in match.lines] == [(2, "address 0.0.0.0:30000 already in use")]


def test_a_cure_that_cannot_be_filled_gives_way_to_the_next() -> None:
    rule = problem(
        "rule", signatures=[{"all": ["in use"], "any": [PORT, "Address"]}],
        fix=[{"text": "See who.", "command": "ss :{capture.port}"}, {"text": "Take another port.", "command": "x --port 1"}],
    )  # fmt: skip
    (match,) = explainer(rule).explain_text("Address already in use").matches
    assert [fix.command for fix in match.fixes] == ["x --port 1"]


def test_where_no_cure_can_be_filled_the_first_shows_what_to_put_in() -> None:
    rule = problem(
        "rule", signatures=[{"all": ["in use"], "any": [PORT, "Address"]}],
        fix=[{"text": "See who.", "command": "ss :{capture.port}"}, {"text": "Or {capture.host}."}],
    )  # fmt: skip
    (match,) = explainer(rule).explain_text("Address already in use").matches
    assert [(fix.text, fix.command) for fix in match.fixes] == [("See who.", "ss :<port>")]


def test_what_could_mean_something_to_a_shell_never_stands_in_a_command() -> None:
    rule = problem(
        "rule", signatures=[{"all": ["no file (?P<path>.+)$"]}],
        fix=[{"text": "Make it.", "command": 'touch "{capture.path}"'}],
    )  # fmt: skip
    (match,) = explainer(rule).explain_text("no file $(reboot)").matches
    assert [fix.command for fix in match.fixes] == ['touch "<path>"']


def test_a_cure_may_depend_on_a_capture() -> None:
    rule = problem(
        "rule", signatures=[{"all": [r"libnvrtc\.so\.(?P<major>\d+)"]}],
        fix=[
            {"text": "Take 13.", "when": {"capture.major": ["13"]}},
            {"text": "Take 12.", "when": {"capture.major": ["12"]}},
        ],
    )  # fmt: skip
    (match,) = explainer(rule).explain_text("libnvrtc.so.12").matches
    assert [fix.text for fix in match.fixes] == ["Take 12."]


def test_commands_that_are_alike_stand_once() -> None:
    rule = problem(
        "rule", "x1", fix=[{"text": "Now.", "command": "pip list"}, {"text": "Again.", "command": "pip list"}]
    )
    (match,) = explainer(rule).explain_text("x1").matches
    assert [fix.command for fix in match.fixes] == ["pip list"]


CHECK = {"require": {"package.torch": ">=2.8"}, "message": "torch {package.torch} is too old."}
CHECKED = problem("torch-too-old", "undefined symbol", check=CHECK)
OTHER = problem("another-cause", "undefined symbol: x")


def test_versions_in_the_text_confirm_a_cause_and_give_its_words() -> None:
    text = "undefined symbol: x\n$ pip list\ntorch    2.7.1+cu126\n"
    matches = explainer(OTHER, CHECKED).explain_text(text).matches
    assert [(m.id, m.confirmed) for m in matches] == [("torch-too-old", True), ("another-cause", None)]
    assert matches[0].message == "torch 2.7.1+cu126 is too old."


def test_versions_in_the_text_exclude_a_cause() -> None:
    text = "undefined symbol\ntorch==2.9.1\n"
    later = problem("a-later-cause", "2[.]9[.]1")
    matches = explainer(CHECKED, later).explain_text(text).matches
    assert [(m.id, m.confirmed) for m in matches] == [("a-later-cause", None), ("torch-too-old", False)]


def test_the_machine_overrules_the_text() -> None:
    taker = explainer(CHECKED)
    scan = taker.scan_text("undefined symbol\ntorch==2.9.1\n")
    here = Snapshot(
        {"package.torch": Known("2.7.0", "here"), "python.executable": Known("/opt/venv/bin/python", "here")}
    )
    (match,) = taker.explain(scan, here).matches
    assert (match.confirmed, match.message) == (True, "torch 2.7.0 is too old.")


def test_a_symptom_gives_way_to_what_the_facts_prove_and_names_what_else_could_be_behind_it() -> None:
    hidden = problem("hidden", "could not be loaded", symptom=True)
    behind = problem("torch-too-old", check=CHECK, consequences=["hidden"])
    other = problem("numa-missing", "libnuma", consequences=["hidden"])
    taker = explainer(hidden, behind, other)
    alone = taker.explain_text("could not be loaded").matches
    assert [m.id for m in alone] == ["hidden"]
    assert alone[0].possible == ("The title of numa-missing", "The title of torch-too-old")
    proven = taker.explain_text("could not be loaded\ntorch==2.7.1").matches
    assert [(m.id, m.confirmed) for m in proven] == [("torch-too-old", True), ("hidden", None)]
    assert [line.text for line in proven[0].lines] == ["could not be loaded"]
    assert [m.id for m in taker.explain_text("could not be loaded\ntorch==2.9.1").matches] == ["hidden"]


def test_what_is_proven_does_not_stand_before_a_cause_that_the_text_names() -> None:
    named = problem("named", "could not be loaded: libnvrtc")
    behind = problem("torch-too-old", check=CHECK, consequences=["named"])
    text = "could not be loaded: libnvrtc\ntorch==2.7.1"
    assert [m.id for m in explainer(named, behind).explain_text(text).matches] == ["named"]


def test_meanings_and_exit_codes() -> None:
    taker = explainer(
        problem("harmless", "Decode batch", severity="benign"), problem("wrong", "out of memory", "at start")
    )
    benign, wrong, unknown = map(
        taker.explain_text, ("Decode batch", "out of memory at start", "out of memory\nError: x")
    )
    assert (benign.meaning, benign.exit_code) == (Meaning.BENIGN, 0)
    assert (wrong.meaning, wrong.exit_code) == (Meaning.EXPLAINED, 0)
    assert (unknown.meaning, unknown.exit_code) == (Meaning.UNKNOWN, 6)
    assert unknown.nearest == (("wrong", "The title of wrong"),)
    assert [line.text for line in unknown.errors] == ["Error: x"]


def test_a_text_of_any_kind_and_size_is_taken() -> None:
    taker = explainer(problem("rule", "out of memory"))
    assert [m.id for m in taker.explain_text("\udcff out of memory").matches] == ["rule"]
    (match,) = taker.explain_text("nothing\n" * 400_000 + "out of memory").matches
    assert [line.number for line in match.lines] == [400_001]
