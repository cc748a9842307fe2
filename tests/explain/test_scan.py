"""Patterns over blocks: the same answers as line by line, whatever the size and whatever the bytes."""

from __future__ import annotations

import os

import pytest

from sgldoctor.errors import RulesError
from sgldoctor.explain.scan import KEPT, Hit, Library, Patterns, Scan
from sgldoctor.explain.source import BLOCK, Block
from sgldoctor.rules.model import Signature

PATTERNS = (
    r"^ImportError: (?P<library>lib\w+\.so\.\d+): cannot open",
    r"out of memory",
    r"Killed$",
    r"left[^x]*right",
    r"error: .foo. was not declared",
)


def scanned(data: bytes, *, whole: bool, patterns: tuple[str, ...] = PATTERNS) -> dict[str, list[tuple[int, str]]]:
    scan = Scan(Library([Signature(all=patterns)]))
    scan.feed(Block(data, 1, whole=whole))
    return {p: [(hit.line.number, hit.line.text) for hit in hits] for p, hits in scan.hits.items()}


@pytest.mark.parametrize("whole", [True, False])
def test_a_block_and_single_lines_give_the_same_hits(*, whole: bool) -> None:
    text = (
        "start\n"
        "\x1b[31m[2026-04-03 19:13:54 TP0] ImportError: libnuma.so.1: cannot open shared object file\x1b[0m\n"
        "see ImportError: libfoo.so.2: cannot open\n"
        "CUDA out of memory\r\n"
        "./run.sh: line 28: 1668 Killed\r\n"
        "Killed by a signal\n"
        "left\nright\n"
        "error: \u2018foo\u2019 was not declared\n"
    )
    expected = {
        PATTERNS[0]: [(2, "ImportError: libnuma.so.1: cannot open shared object file")],
        PATTERNS[1]: [(4, "CUDA out of memory")],
        PATTERNS[2]: [(5, "./run.sh: line 28: 1668 Killed")],
    }
    found = scanned(text.replace("\u2018", "'").replace("\u2019", "'").encode(), whole=whole)
    assert found == {**expected, PATTERNS[4]: [(9, "error: 'foo' was not declared")]}
    found = scanned(text.encode(), whole=whole)
    assert found[PATTERNS[4]] == [(9, "error: \u2018foo\u2019 was not declared")]


def test_a_match_never_runs_over_the_end_of_a_line() -> None:
    assert scanned(b"left\nright", whole=False, patterns=(r"left\sright",)) == {}


@pytest.mark.parametrize("whole", [True, False])
@pytest.mark.parametrize(
    "begin", ["Receive: obj=", "Finish: obj=", "Receive OpenAI: obj=", "Received request cmpl-1: prompt: "]
)
def test_what_a_client_wrote_is_no_evidence(begin: str, *, whole: bool) -> None:
    line = f"[2026-04-03 19:13:54] {begin}GenerateReqInput(text='why CUDA out of memory')\n"
    assert scanned(line.encode(), whole=whole) == {}
    assert list(scanned(line.encode() + b"CUDA out of memory\n", whole=whole).values()) == [[(2, "CUDA out of memory")]]


@pytest.mark.parametrize("whole", [True, False])
def test_captures_are_those_of_the_line(*, whole: bool) -> None:
    scan = Scan(Library([Signature(all=PATTERNS)]))
    scan.feed(Block(b"x\nImportError: libnuma.so.1: cannot open\n", 1, whole=whole))
    assert [hit.captures for hit in scan.hits[PATTERNS[0]]] == [{"library": "libnuma.so.1"}]


@pytest.mark.parametrize("whole", [True, False])
def test_only_the_first_lines_of_a_pattern_are_kept(*, whole: bool) -> None:
    found = scanned(b"CUDA out of memory\n" * 50, whole=whole)
    assert [number for number, _ in found[PATTERNS[1]]] == list(range(1, KEPT + 1))


def test_a_true_line_behind_many_that_only_look_alike_is_found() -> None:
    data = b"x Killed by y\n" * 150 + b"1668 Killed\n"
    assert scanned(data, whole=False)[PATTERNS[2]] == [(151, "1668 Killed")]


@pytest.mark.parametrize("whole", [True, False])
def test_bytes_that_are_no_text_hide_nothing(*, whole: bool) -> None:
    data = b"\xff\xfe\x00\x80 noise\n" + b"\xffCUDA out of memory\xc3\n" + bytes(range(256))
    assert [number for number, _ in scanned(data, whole=whole)[PATTERNS[1]]] == [2]


def test_short_texts_give_the_same_whether_all_patterns_are_compiled_or_only_those_near() -> None:
    library = Library([Signature(all=PATTERNS)])
    texts = [b"CUDA out of memory", b"1668 Killed\nleft right", b"nothing", b"error: 'foo' was not declared"]

    def found() -> list[dict[str, list[Hit]]]:
        scans = [Scan(library) for _ in texts]
        for scan, text in zip(scans, texts, strict=True):
            scan.feed(Block(text, 1, whole=True))
        return [scan.hits for scan in scans]

    few = found()
    assert library.all
    assert found() == few


def test_noise_matches_nothing() -> None:
    assert scanned(os.urandom(BLOCK), whole=False) == {}


def test_of_a_giant_line_only_what_is_around_the_match_is_kept() -> None:
    data = b"a" * (4 << 20) + b" CUDA out of memory " + b"b" * (4 << 20)
    ((number, text),) = scanned(data, whole=False)[PATTERNS[1]]
    assert number == 1
    assert len(text) < 20_000
    assert "CUDA out of memory" in text


def test_a_set_of_patterns_that_is_too_large_is_refused() -> None:
    bomb = [f"{letter}{number}.{{1000}}x" for letter in "abcd" for number in range(200)]
    with pytest.raises(RulesError, match="the patterns of the signatures are too many or too large"):
        Patterns(bomb)


def test_nested_repetition_takes_linear_time() -> None:
    text = b"a" * 200_000 + b"!\n"
    assert scanned(text, whole=False, patterns=(r"^(a*)*b$", r"(a|aa)+c")) == {}
