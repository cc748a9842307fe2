"""Findings: what explains what, what stays unknown, and which cures are shown."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sgldoctor.diagnose import diagnose
from sgldoctor.report.model import Status
from sgldoctor.rules.model import Problem
from sgldoctor.rules.parse import parse_problem
from sgldoctor.snapshot import Known, Snapshot, Unknown
from tests.explain.books import problem as known_from_texts


def problem(identity: str, require: dict[str, Any], **more: Any) -> Problem:
    document = {
        "id": identity, "title": identity, "severity": "error", "subject": "torch",
        "check": {"require": require, **more.pop("check", {})}, "cause": "Because.", "fix": [],
        "references": [], "evidence": {"level": "execution", "date": "2026-11-21"}, **more,
    }  # fmt: skip
    found, errors = parse_problem(document, Path(f"{identity}.yaml"), examples=False)
    assert found is not None, errors
    return found


def snapshot(**facts: Any) -> Snapshot:
    return Snapshot(
        {
            name.replace("__", "."): Unknown("dark") if value == "dark" else Known(value, "test")
            for name, value in facts.items()
        }
    )


def statuses(problems: list[Problem], facts: Snapshot) -> dict[str, Status]:
    return {check.id: check.status for check in diagnose(facts, problems).checks}


def test_what_does_not_apply_is_neither_fine_nor_unknown() -> None:
    rule = problem("a", {"torch__cuda".replace("__", "."): ">=12"}, check={"when": {"os.name": "linux"}})
    assert statuses([rule], snapshot(os__name="darwin", torch__cuda="11.8")) == {"a": Status.NOT_APPLICABLE}
    assert statuses([rule], snapshot(os__name="linux", torch__cuda=None)) == {"a": Status.NOT_APPLICABLE}
    assert statuses([rule], snapshot(os__name="linux", torch__cuda="11.8")) == {"a": Status.FOUND}
    assert statuses([rule], snapshot(os__name="dark", torch__cuda="11.8")) == {"a": Status.UNKNOWN}
    assert statuses([rule], snapshot(os__name="dark", torch__cuda="12.8")) == {"a": Status.OK}
    assert statuses([rule], snapshot(os__name="linux", torch__cuda="dark")) == {"a": Status.UNKNOWN}


def test_a_range_of_versions_begins_with_since_and_ends_before_until() -> None:
    rule = problem("a", {"torch.cuda": ">=12"}, affects={"package": ["torch"], "since": "2.7", "until": "2.9"})
    found = {
        version: statuses([rule], snapshot(package__torch=version, torch__cuda="11"))["a"] is Status.FOUND
        for version in ("2.6.9", "2.7", "2.8.5", "2.9", "2.9.0.post1")
    }
    assert found == {"2.6.9": False, "2.7": True, "2.8.5": True, "2.9": False, "2.9.0.post1": False}


def test_a_known_exception_excuses_and_an_unknown_one_does_not() -> None:
    exceptions = [{"text": "WSL", "when": {"container.kind": "wsl2"}}]
    rule = problem("a", {"torch.cuda": ">=12"}, known_exceptions=exceptions)
    assert statuses([rule], snapshot(torch__cuda="11", container__kind="wsl2")) == {"a": Status.NOT_APPLICABLE}
    assert statuses([rule], snapshot(torch__cuda="11", container__kind="dark")) == {"a": Status.FOUND}


def test_a_root_explains_its_consequences_through_any_depth() -> None:
    rules = [
        problem("leaf", {"torch.cuda": ">=12"}),
        problem("middle", {"torch.cuda": ">=12"}, consequences=["leaf"]),
        problem("root", {"torch.cuda": ">=12"}, consequences=["middle"]),
        problem("other", {"torch.cuda": ">=12"}),
    ]
    findings = diagnose(snapshot(torch__cuda="11"), rules).findings
    assert {finding.id: finding.explained_by for finding in findings} == {
        "leaf": "root", "middle": "root", "root": None, "other": None,
    }  # fmt: skip


def test_a_root_that_is_not_there_explains_nothing() -> None:
    rules = [
        problem("leaf", {"torch.cuda": ">=12"}),
        problem("root", {"os.name": "linux"}, consequences=["leaf"]),
    ]
    (finding,) = diagnose(snapshot(torch__cuda="11", os__name="linux"), rules).findings
    assert finding.explained_by is None


def test_an_unknown_names_its_reasons() -> None:
    rule = problem("a", {"torch.cuda": ">=12"}, check={"when": {"os.name": "linux"}})
    facts = Snapshot({"torch.cuda": Unknown("no torch here"), "os.name": Unknown("no uname")})
    assert diagnose(facts, [rule]).findings[0].message == "no uname; no torch here"


def test_reports_alone_never_change_the_verdict() -> None:
    rule = problem("a", {"torch.cuda": ">=12"}, evidence={"level": "report", "date": "2026-11-21"})
    (finding,) = diagnose(snapshot(torch__cuda="11"), [rule]).findings
    assert (finding.severity.value, finding.confirmed) == ("info", False)


def test_cures_are_chosen_by_their_conditions_and_dropped_where_a_value_is_missing() -> None:
    fixes = [
        {"text": "Debian.", "command": "apt-get install x", "when": {"os.family": "debian"}},
        {"text": "Red Hat.", "command": "dnf install x", "when": {"os.family": "rhel"}},
        {"text": "Needs {driver.version}.", "command": "x {driver.version}"},
    ]
    rule = problem("a", {"torch.cuda": ">=12"}, fix=fixes)
    texts = [f.text for f in diagnose(snapshot(torch__cuda="11", os__family="rhel"), [rule]).findings[0].fixes]
    unsure = [f.text for f in diagnose(snapshot(torch__cuda="11", os__family="dark"), [rule]).findings[0].fixes]
    assert (texts, unsure) == (["Red Hat."], ["Debian.", "Red Hat."])


def test_a_name_that_means_something_to_a_shell_never_reaches_a_command() -> None:
    rule = problem(
        "a", {"packages.damaged": {"none": {"problem": "missing"}}},
        fix=[{"text": "Again.", "command": "pip install {item.name}"}],
    )  # fmt: skip
    for name, commands in (("torch", ["pip install torch"]), ("torch; rm -rf ~", []), ("$(reboot)", [])):
        facts = snapshot(packages__damaged=[{"name": name, "problem": "missing"}])
        assert [fix.command for fix in diagnose(facts, [rule]).findings[0].fixes] == commands


def test_evidence_says_what_was_seen_and_where() -> None:
    rule = problem("a", {"packages.damaged": {"none": {"problem": "missing"}}}, check={"when": {"os.name": "linux"}})
    records = [
        {"name": "torch", "problem": "missing", "where": "/a"},
        {"name": "triton", "problem": "changed", "where": "/b"},
    ]
    (finding,) = diagnose(snapshot(os__name="linux", packages__damaged=records), [rule]).findings
    assert [(e.what, e.where) for e in finding.evidence] == [
        ("operating system: linux", "test"), ("name torch, problem missing", "/a"),
    ]  # fmt: skip


def test_a_cure_that_depends_on_a_text_is_no_cure_of_a_check() -> None:
    rule = known_from_texts(
        "rule", r"libnvrtc\.so\.(?P<major>\d+)", check={"require": {"libc.version": ">=2.28"}},
        fix=[{"text": "For 13.", "when": {"capture.major": ["13"]}}, {"text": "Always."}],
    )  # fmt: skip
    (finding,) = diagnose(Snapshot({"libc.version": Known("2.17", "here")}), [rule]).findings
    assert [fix.text for fix in finding.fixes] == ["Always."]
