"""``sgldoctor matrix`` and ``sgldoctor release``: the answer first, then why."""

from __future__ import annotations

import json
from html.parser import HTMLParser

import pytest

from sgldoctor.cli.app import run
from sgldoctor.rules.knowledge import table


def printed(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str]:
    return run(list(arguments)), capsys.readouterr().out


def test_the_first_line_is_the_answer(capsys: pytest.CaptureFixture[str]) -> None:
    code, text = printed(capsys, "matrix", "--gpu", "T4")
    first = " ".join(text.split("\n\n")[0].split())
    assert (code, first) == (
        0,
        "sglang 0.5.1.post2 is the newest release that works on NVIDIA T4, Python 3.12, x86_64.",
    )


def test_where_nothing_works_the_exit_code_and_the_first_line_say_so(capsys: pytest.CaptureFixture[str]) -> None:
    code, text = printed(capsys, "matrix", "--gpu", "V100")
    first = " ".join(text.split("\n\n")[0].split())
    assert (code, first) == (
        1,
        "No release is known to work on NVIDIA V100 16GB, Python 3.12, x86_64: SGLang asks for compute capability 7.5; "
        "NVIDIA V100 16GB has 7.0.",
    )


def test_json_holds_every_release_with_its_reason(capsys: pytest.CaptureFixture[str]) -> None:
    code, text = printed(capsys, "matrix", "--gpu", "GH200", "--json")
    document = json.loads(text)
    assert (code, document["target"]["arch"], document["schema_version"]) == (0, "aarch64", 1)
    assert len(document["releases"]) == len(table("health.json")["releases"])
    assert all(row["reason"] or row["status"] == "works" for row in document["releases"])
    assert {row["status"] for row in document["releases"]} <= {
        "works", "works with override", "does not work", "dead", "unknown",
    }  # fmt: skip


class Cells(HTMLParser):
    """Counts the rows and cells of a page, and what it loads from elsewhere."""

    def __init__(self) -> None:
        super().__init__()
        self.rows, self.cells, self.foreign = 0, 0, 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.rows += tag == "tr"
        self.cells += tag == "td" and bool(dict(attrs)["title"])
        self.foreign += tag in {"script", "link", "img"}


def test_the_page_has_a_reason_on_every_cell_and_loads_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    code, text = printed(capsys, "matrix", "--format", "html")
    page = Cells()
    page.feed(text)
    releases = len(table("health.json")["releases"])
    assert (code, page.rows, page.cells, page.foreign) == (0, releases + 1, releases * 16, 0)


def test_a_release_with_its_health_and_what_mends_it(capsys: pytest.CaptureFixture[str]) -> None:
    code, text = printed(capsys, "release", "0.5.3.post1", "--json")
    health = json.loads(text)["health"]["3.12"]
    assert (code, health["resolves"], health["works"], health["nearest"]) == (0, False, False, "0.5.2")
    assert health["override"] == ["transformers==4.57.1", "apache-tvm-ffi==0.1.0"]
    assert health["versions"]["torch"] == "2.8.0"
    _, words = printed(capsys, "release", "v0.5.3.post1")
    assert "transformers==4.57.0 was yanked. It works with the override" in " ".join(words.split())


def test_the_flags_that_came_and_went_with_a_release(capsys: pytest.CaptureFixture[str]) -> None:
    _, text = printed(capsys, "release", "0.5.9", "--json")
    flags = json.loads(text)["flags"]
    ranges = {name: row["ranges"] for name, row in table("flags.json")["flags"].items()}
    assert flags["since"] == "0.5.8.post1"
    assert flags["added"] == sorted(name for name, found in ranges.items() if "0.5.9" in [first for first, _ in found])
    assert flags["removed"] == sorted(n for n, found in ranges.items() if "0.5.8.post1" in [last for _, last in found])
    assert flags["added"]


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["matrix", "--gpu", "A41"], "Unknown GPU 'A41'."),
        (["matrix", "--python", "3"], "'3' is no Python version. Name one such as 3.12."),
        (["matrix", "--driver", "new"], "'new' is no version for --driver."),
        (["matrix", "--arch", "riscv64"], "Unknown CPU architecture 'riscv64'."),
        (["release", "0.5.99"], "No sglang release '0.5.99' is known."),
    ],
)
def test_bad_input_is_named(arguments: list[str], text: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(arguments) == 2
    assert text in capsys.readouterr().err
