from __future__ import annotations

import json
import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree as ET

import pytest
from jsonschema import Draft202012Validator

from sgldoctor.errors import UsageError
from sgldoctor.redact import Redactor
from sgldoctor.report import as_github, as_json, as_junit, as_markdown, as_sarif
from sgldoctor.rules.model import Severity
from sgldoctor.schema import schema_text
from sgldoctor.snapshot import Known, Snapshot, Unknown, from_json
from tests.report import expected
from tests.report.sick_machine import (
    CONSEQUENCE,
    HEALTHY,
    HOSTILE_REPORT,
    NOTE,
    REPORT,
    ROOT,
    SECRETS,
    SNAPSHOT,
    UNJUDGED,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from sgldoctor.report.model import Finding, Report

    Render = Callable[[Report, Redactor], str]

PLAIN = Redactor()
RENDERERS = pytest.mark.parametrize(
    "render",
    [as_json.render, as_junit.render, as_sarif.render, as_github.render, as_markdown.render],
    ids=["json", "junit", "sarif", "github", "markdown"],
)
SCHEMA = Draft202012Validator(json.loads(schema_text("check")))


# ---- what every format promises


@RENDERERS
def test_no_secret_and_no_name_of_a_person_comes_out(render: Render) -> None:
    text = render(HOSTILE_REPORT, PLAIN)
    assert [secret for secret in SECRETS if secret in text] == []
    assert "https://***@host/x?***" in text.replace("\\*", "*")


@RENDERERS
@pytest.mark.parametrize("report", [REPORT, HEALTHY, HOSTILE_REPORT], ids=["sick", "healthy", "hostile"])
def test_ends_with_one_newline_and_can_be_written_as_utf8(render: Render, report: Report) -> None:
    text = render(report, PLAIN)
    assert text.rstrip("\n") + "\n" == text
    assert text.encode("utf-8").decode("utf-8") == text


@RENDERERS
def test_no_control_character_reaches_a_terminal(render: Render) -> None:
    assert re.findall(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]", render(HOSTILE_REPORT, PLAIN)) == []


@RENDERERS
def test_ids_and_verdicts_stay_when_a_variable_holds_the_same_word_as_its_secret(render: Render) -> None:
    same_words = Redactor({"MY_TOKEN": "torch-lacks-gpu-code", "MY_KEY": "error", "MY_SECRET": "2#gpus"})
    assert render(REPORT, same_words) == render(REPORT, PLAIN)


# ---- JSON


def test_json_is_the_contract() -> None:
    document = json.loads(as_json.render(REPORT, PLAIN))
    facts, findings = document.pop("facts"), document.pop("findings")
    assert document == expected.JSON_BUT_FACTS_AND_FINDINGS
    assert facts["variable.HF_TOKEN"] == {"value": "***", "source": "environment"}
    assert facts["driver.version"] == {"unknown": "libnvidia-ml.so.1 is missing"}
    assert facts["package.torch"] == {"value": "2.5.1", "source": "~/v/lib/torch-2.5.1.dist-info/METADATA"}
    assert [(finding["id"], finding["status"], finding["explained_by"]) for finding in findings] == [
        ("disk-nearly-full", "found", None),
        ("driver-too-old", "unknown", None),
        ("kernel-import-fails", "found", "torch-lacks-gpu-code"),
        ("torch-lacks-gpu-code", "found", None),
    ]
    assert findings[3] == expected.JSON_ERROR


def test_json_keys_are_sorted_and_facts_are_complete() -> None:
    def keys_of(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        assert [key for key, _ in pairs] == sorted(key for key, _ in pairs)
        return dict(pairs)

    document = json.loads(as_json.render(REPORT, PLAIN), object_pairs_hook=keys_of)
    assert document["facts"].keys() == SNAPSHOT.facts.keys()


def test_json_keys_are_never_redacted() -> None:
    snapshot = Snapshot({"variable.hf_abcdefghijklmnop": Known([{"hf_abcdefghijklmnop": "hf_abcdefghijklmnop"}], "x")})
    document = as_json.document(replace(HEALTHY, snapshot=snapshot), PLAIN)
    assert document["facts"] == {
        "variable.hf_abcdefghijklmnop": {"value": [{"hf_abcdefghijklmnop": "***"}], "source": "x"}
    }


def test_json_is_read_back_as_a_snapshot() -> None:
    snapshot = Snapshot({"os.id": Known("ubuntu", "x"), "gpu.count": Known(None, "x"), "gpus": Unknown("café")})
    assert from_json(as_json.render(replace(REPORT, snapshot=snapshot), PLAIN), "check.json") == snapshot


@pytest.mark.parametrize(
    ("findings", "verdict"),
    [
        ((ROOT, NOTE), "error"),
        ((CONSEQUENCE, UNJUDGED), "warning"),
        ((UNJUDGED, NOTE), "unknown"),
        ((NOTE,), "ok"),
    ],
)
def test_json_verdict(findings: tuple[Finding, ...], verdict: str) -> None:
    assert as_json.document(replace(REPORT, findings=findings), PLAIN)["verdict"] == verdict


def test_json_of_a_target_that_nobody_could_read() -> None:
    document = as_json.document(replace(HEALTHY, snapshot=Snapshot()), PLAIN)
    assert document["target"] == {"python": None, "prefix": None, "chosen_because": None, "others": None}
    assert list(SCHEMA.iter_errors(document)) == []


# ---- the JSON Schema


def test_schema_is_a_schema() -> None:
    Draft202012Validator.check_schema(json.loads(schema_text("check")))


@pytest.mark.parametrize("report", [REPORT, HEALTHY, HOSTILE_REPORT], ids=["sick", "healthy", "hostile"])
def test_schema_accepts_what_is_rendered(report: Report) -> None:
    assert [error.message for error in SCHEMA.iter_errors(json.loads(as_json.render(report, PLAIN)))] == []


def objects(node: Any, path: str = "$") -> list[tuple[str, dict[str, Any]]]:
    """Return the first object of each kind in the document, but for the open ones: facts and their values."""
    if isinstance(node, list):
        return objects(node[-1], f"{path}[]") if node else []
    if not isinstance(node, dict):
        return []
    inner = [
        item for key, value in node.items() if key not in {"value", "facts"} for item in objects(value, f"{path}.{key}")
    ]
    return [(path, node), *inner]


def closed_objects() -> list[tuple[str, dict[str, Any], dict[str, Any]]]:
    document = as_json.document(REPORT, PLAIN)
    known, unknown = document["facts"]["python.version"], document["facts"]["driver.version"]
    found = [*objects(document), ("$.facts.known", known), ("$.facts.unknown", unknown)]
    return [(path, node, document) for path, node in found]


def test_every_kind_of_object_is_tried() -> None:
    assert [path for path, _, _ in closed_objects()] == [
        "$",
        "$.tool",
        "$.target",
        "$.findings[]",
        "$.findings[].evidence[]",
        "$.findings[].fixes[]",
        "$.checks[]",
        "$.summary",
        "$.facts.known",
        "$.facts.unknown",
    ]


@pytest.mark.parametrize("number", range(10))
def test_schema_rejects_a_field_too_many_a_field_too_few_and_a_wrong_type(number: int) -> None:
    path, node, document = closed_objects()[number]
    optional = {"$.target": {"chosen_because", "others"}, "$.findings[]": {"confirmed"}}.get(path, set())
    assert SCHEMA.is_valid(document)
    node["surprise"] = 1
    assert not SCHEMA.is_valid(document), "a field too many"
    del node["surprise"]
    for name, value in list(node.items()):
        node[name] = 1.5 if name != "value" else {"an": "object"}
        assert not SCHEMA.is_valid(document), f"{path}.{name} of a wrong type"
        del node[name]
        assert SCHEMA.is_valid(document) is (name in optional), f"{path} without {name}"
        node[name] = value
    assert SCHEMA.is_valid(document)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("schema_version",), 2),
        (("verdict",), "fine"),
        (("findings", 0, "status"), "ok"),
        (("findings", 0, "severity"), "fatal"),
        (("findings", 0, "id"), "Torch Is Old"),
        (("findings", 0, "message"), ""),
        (("findings", 0, "explained_by"), ""),
        (("checks", 0, "status"), "passed"),
        (("summary", "ok"), -1),
        (("target", "others"), [1]),
        (("facts", "python.version", "value"), [1]),
    ],
)
def test_schema_rejects_values_outside_the_contract(path: tuple[str | int, ...], value: object) -> None:
    document = json.loads(as_json.render(REPORT, PLAIN))
    node = document
    for step in path[:-1]:
        node = node[step]
    node[path[-1]] = value
    errors = list(SCHEMA.iter_errors(document))
    assert [tuple(error.absolute_path)[: len(path)] for error in errors] in ([path], [path[:-1]])


def test_an_unknown_schema_is_a_usage_error() -> None:
    with pytest.raises(UsageError, match=re.escape("There is no schema 'chek'. Did you mean 'check'?")):
        schema_text("chek")


# ---- JUnit


def tree(element: ET.Element) -> expected.Tree:
    return (element.tag, element.attrib, (element.text or "").strip(), [tree(child) for child in element])


def test_junit_has_one_suite_per_subject_and_one_case_per_check() -> None:
    text = as_junit.render(REPORT, PLAIN)
    assert text.startswith('<?xml version="1.0" encoding="UTF-8"?>\n<testsuites name="sgldoctor"')
    assert tree(ET.fromstring(text)) == expected.JUNIT


def test_junit_survives_hostile_texts() -> None:
    root = ET.fromstring(as_junit.render(HOSTILE_REPORT, PLAIN))
    failure = root.find("testsuite[@name='torch']/testcase/failure")
    assert failure is not None
    assert list(failure) == []
    assert failure.get("message") == expected.JUNIT_HOSTILE_MESSAGE
    assert root.attrib == {"name": "sgldoctor", "tests": "6", "failures": "2", "errors": "0", "skipped": "2"}


def test_junit_never_shows_a_found_problem_without_its_finding_as_a_pass() -> None:
    with pytest.raises(KeyError):
        as_junit.render(replace(REPORT, findings=()), PLAIN)


# ---- SARIF


def test_sarif_lists_what_was_found_and_what_is_open() -> None:
    document = json.loads(as_sarif.render(REPORT, PLAIN))
    assert list(document) == ["$schema", "version", "runs"]
    assert document["version"] == "2.1.0"
    (run,) = document["runs"]
    driver = run["tool"]["driver"]
    assert (driver["name"], driver["version"]) == ("sgldoctor", "0.1.0")
    assert [(rule["id"], rule["defaultConfiguration"]["level"]) for rule in driver["rules"]] == [
        ("torch-lacks-gpu-code", "error"),
        ("kernel-import-fails", "warning"),
        ("disk-nearly-full", "note"),
        ("driver-too-old", "error"),
    ]
    assert driver["rules"][0] == expected.SARIF_RULE
    assert [
        (result["ruleId"], result["ruleIndex"], result["kind"], result["level"], result["message"]["text"])
        for result in run["results"]
    ] == [
        ("torch-lacks-gpu-code", 0, "fail", "error", expected.SARIF_ERROR),
        ("kernel-import-fails", 1, "fail", "warning", expected.SARIF_WARNING),
        ("disk-nearly-full", 2, "fail", "note", "1 GiB is free."),
        ("driver-too-old", 3, "open", "none", "Could not be judged: libnvidia-ml.so.1 is missing, 100% sure"),
    ]
    fingerprints = {result["partialFingerprints"]["primaryLocationLineHash"] for result in run["results"]}
    assert len(fingerprints) == 4
    assert [result["locations"] for result in run["results"]] == 4 * [[expected.SARIF_LOCATION]]


def test_sarif_without_a_known_environment_names_none() -> None:
    document = json.loads(as_sarif.render(replace(REPORT, snapshot=Snapshot()), PLAIN))
    assert document["runs"][0]["results"][0]["locations"][0].keys() == {"physicalLocation"}


def test_sarif_of_a_healthy_machine_has_a_run_without_results() -> None:
    document = json.loads(as_sarif.render(HEALTHY, PLAIN))
    assert [run["results"] for run in document["runs"]] == [[]]


def test_sarif_braces_are_no_placeholders() -> None:
    finding = replace(NOTE, title="{0}", message="run ${X}", cause="{1}", references=("{2}",))
    (run,) = json.loads(as_sarif.render(replace(REPORT, findings=(finding,)), PLAIN))["runs"]
    (rule,) = run["tool"]["driver"]["rules"]
    assert run["results"][0]["message"] == {"text": "run ${{X}}"}
    assert rule["shortDescription"] == {"text": "{{0}}"}
    assert rule["fullDescription"] == {"text": "{{1}}"}
    assert rule["help"] == {"text": "{{1}}\nSee: {{2}}"}


@pytest.mark.parametrize(
    ("severity", "level", "command"),
    [
        (Severity.ERROR, "error", "error"),
        (Severity.WARNING, "warning", "warning"),
        (Severity.INFO, "note", "notice"),
        (Severity.BENIGN, "note", "notice"),
    ],
)
def test_every_severity_has_a_word_in_every_format(severity: Severity, level: str, command: str) -> None:
    report = replace(REPORT, findings=(replace(NOTE, severity=severity),))
    assert json.loads(as_sarif.render(report, PLAIN))["runs"][0]["results"][0]["level"] == level
    assert as_github.render(report, PLAIN).startswith(f"::{command} title=")


# ---- GitHub


def test_github_annotates_each_problem_and_sums_up_the_unknown_ones() -> None:
    assert as_github.render(REPORT, PLAIN).replace("%0A", "\n    ") == expected.GITHUB


def test_github_escapes_what_would_end_a_title_or_start_a_command() -> None:
    findings = (replace(NOTE, title="a,b: 5%\r\n::error::c", message="d,e: 5%\r\n::stop-commands::f", cause="g"),)
    assert as_github.render(replace(REPORT, findings=findings), PLAIN) == (
        "::notice title=a%2Cb%3A 5%25%0D%0A%3A%3Aerror%3A%3Ac::d,e: 5%25%0D%0A::stop-commands::f%0AWhy: g\n"
    )


def test_github_hostile_texts_stay_on_their_lines() -> None:
    lines = as_github.render(HOSTILE_REPORT, PLAIN).splitlines()
    assert [line.partition(" ")[0] for line in lines] == ["::error", "::warning", "::notice", "::notice"]


def test_github_says_so_when_all_is_well() -> None:
    assert as_github.render(HEALTHY, PLAIN) == (
        "::notice title=sgldoctor found nothing wrong::checks: 2, ok: 1, not applicable: 1\n"
    )


# ---- Markdown


def test_markdown_reads_as_a_bug_report() -> None:
    assert as_markdown.render(REPORT, PLAIN) == expected.MARKDOWN


def test_markdown_hostile_texts_are_plain_texts() -> None:
    text, prose = as_markdown.render(HOSTILE_REPORT, PLAIN), expected.MARKDOWN_HOSTILE_PROSE
    assert f"| Driver | unknown: {prose} |\n" in text
    assert f"#### error: {prose} (torch-lacks-gpu-code)\n\n**Why:** {prose}\n" in text
    outside_code = re.sub(r"(?ms)^(`{3,})(?:sh|text)$.*?^\1$", "", text)
    assert re.findall(r"(?<!\\)<[^\n>]*>", outside_code) == 2 * ["<details>", "<summary>", "</summary>", "</details>"]


def test_markdown_code_is_literal_and_its_fence_longer_than_any_in_the_text() -> None:
    text = as_markdown.render(HOSTILE_REPORT, PLAIN)
    assert text.count("\n`````sh\necho ```` a|b `c` *d* __e__ 100% ]]></failure>") == 3
    assert text.count("\n`````\n") == 3
    assert text.count('"q" {0} \\[y] a\nb\n::error::boo[31m31m') == 4


def test_markdown_names_within_words_stay_readable() -> None:
    findings = (replace(NOTE, title="sgl_kernel needs LD_LIBRARY_PATH, _C and __init__"),)
    text = as_markdown.render(replace(REPORT, findings=findings), PLAIN)
    assert "sgl_kernel needs LD_LIBRARY_PATH, \\_C and \\_\\_init\\_\\_ (disk-nearly-full)" in text


def test_markdown_of_a_machine_that_could_not_be_read() -> None:
    snapshot = Snapshot({"packages": Unknown("no | permission"), "gpus": Known([], "nvml")})
    text = as_markdown.render(replace(HEALTHY, snapshot=snapshot), PLAIN)
    assert text.startswith("### sgldoctor 0.1.0: ok\n\nerrors: 0, warnings: 0, notes: 0, not judged: 0, ok: 1, not ")
    assert "\n| GPUs | none |\n" in text
    assert text.endswith("\n\nPackages: unknown: no \\| permission\n")
    assert "####" not in text
    assert "<details>" not in text
