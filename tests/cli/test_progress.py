from __future__ import annotations

import re

import pytest

from sgldoctor.cli.progress import reporter


def test_without_a_terminal_each_step_and_each_large_download_is_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    shown = reporter()
    shown.begin("sglang: torch, 26 packages", 4_070_000_000)
    shown.downloading("torch", 858 << 20)
    shown.downloading("idna", 100_000)
    shown.arrived("torch")
    shown.note("The package index did not answer in full; trying once more.")
    shown.verifying()
    shown.end("torch 2.9.1+cu128")
    shown.begin("sglang: resolving")
    shown.end("3 packages")
    told = capsys.readouterr()
    assert told.out == ""
    assert re.sub(r"\d+\.\d s", "N s", told.err) == (
        "sglang: torch, 26 packages, 4.1 GB ...\n"
        "  torch (858 MiB)\n"
        "  The package index did not answer in full; trying once more.\n"
        "  N s, verified in N s: torch 2.9.1+cu128\n"
        "sglang: resolving ...\n"
        "  N s: 3 packages\n"
    )


def test_on_a_terminal_bars_end_as_one_line_for_each_step(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")
    shown = reporter()
    shown.begin("sglang: torch", 1000)
    shown.downloading("torch", 1000)
    shown.arrived("torch")
    shown.verifying()
    shown.end("torch 2.9.1")
    last = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", capsys.readouterr().err).strip().splitlines()[-1]
    assert re.sub(r"\d+\.\d s", "N s", last).strip() == "sglang: torch: N s, verified in N s: torch 2.9.1"


@pytest.mark.parametrize("width", [50, 80])
def test_the_amount_stays_on_the_line_where_names_are_long(
    width: int, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", str(width))
    shown = reporter()
    shown.begin("sglang: torch, 30 packages", 4_100_000_000)
    shown.downloading("nvidia-cudnn-cu12-with-a-long-name", 700 << 20)
    shown.end("torch 2.9.1")
    drawn = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", capsys.readouterr().err).replace("\r", "\n").splitlines()
    bars = [line for line in drawn if "GB" in line]
    assert bars
    assert all(len(line) <= width and line.rstrip().endswith("0:00:00") and "0.0/4.1 GB" in line for line in bars)
