"""Logical lines: what a program printed, whatever terminals and collectors put around it."""

from __future__ import annotations

import pytest

from sgldoctor.explain.lines import Line, logical_lines, stripped
from tests.explain.books import ids, problem

ERROR = "ImportError: libnuma.so.1: cannot open shared object file: No such file or directory"


@pytest.mark.parametrize(
    "around",
    [
        "{}",
        "\x1b[31m{}\x1b[0m",
        "\x1b]0;a title\x07{}",
        "[31m{}[0m",
        "2025-06-15T15:04:21.529239171Z {}",
        "2025-06-15T15:04:21.529239171Z stderr F {}",
        "2025-06-15T15:04:21.529239171+02:00 stdout P {}",
        "inference-1  | {}",
        "sglang_server_1 | {}",
        "\x1b[33mweb-1  | \x1b[0m{}",
        "Nov 21 16:03:00 gpu-node sglang[4711]: {}",
        "[pod/sglang-router-0-qq7tl/server] {}",
        "[rank3]: {}",
        "[default0]:{}",
        "[1,0]<stderr>:{}",
        "(RayWorkerWrapper pid=4711, ip=10.0.0.7) {}",
        "\x1b[36m(EngineCore_DP0 pid=67175)\x1b[0m {}",
        "(EngineCore_DP0 pid=67175) ERROR 01-15 13:11:30 [multiproc_executor.py:671] {}",
        "[2026-04-03 19:13:54] {}",
        "[2026-04-03 19:13:54 DP1 TP0] {}",
        "2025-08-23T06:55:02.1Z [2026-04-03 19:13:54 TP0] {}",
        "0: {}",
        "> {}",
    ],
)  # fmt: skip
def test_prefixes_and_colours_are_gone(around: str) -> None:
    assert stripped(around.format(ERROR)) == ERROR


@pytest.mark.parametrize(
    "line",
    [
        "    raise ImportError(error_msg)",
        "[1/4] nvcc --generate-dependencies x.cuda.o",
        "GPU 0: NVIDIA H200",
        "[sgl_kernel] CRITICAL: Could not load any common_ops library!",
        "supported: list[32] of modes[0m]",
        "12: error",
        "e-1 without a bar",
    ],
)
def test_what_belongs_to_the_program_stays(line: str) -> None:
    assert stripped(line) == line


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_lines_are_numbered_from_one_whatever_ends_them(end: str) -> None:
    assert list(logical_lines(f"one{end}two{end}")) == [Line(1, "one"), Line(2, "two"), Line(3, "")]


@pytest.mark.parametrize("width", [40, 50, 60, 79])
def test_a_line_broken_by_a_terminal_is_joined_again(width: int) -> None:
    wrapped = "\n".join(ERROR[at : at + width] for at in range(0, len(ERROR), width))
    rule = problem("a-rule", r"libnuma\.so\.1: cannot open shared object file: No such file")
    assert ids(wrapped, rule) == ["a-rule"]


def test_a_line_broken_between_words_is_joined_again() -> None:
    wrapped = "  Traceback (most recent call last):\nImportError: libnuma.so.1: cannot open shared object\nfile: No such file or directory"
    assert ids(wrapped, problem("a-rule", r"shared object file: No such file")) == ["a-rule"]


def test_lines_that_end_early_are_not_joined() -> None:
    text = f"{ERROR}\nThe port is 30000\nand it is taken\n"
    assert ids(text, problem("a-rule", "30000 and it")) == []


def test_indentation_of_the_whole_is_none_of_the_program() -> None:
    text = "    Traceback (most recent call last):\n      File x\n\n    Killed\n"
    assert [line.text for line in logical_lines(text)] == [
        "Traceback (most recent call last):",
        "  File x",
        "",
        "Killed",
        "",
    ]
