"""What the README promises exists."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from sgldoctor.cli.app import run

README = Path(__file__).parents[1] / "README.md"


def options() -> list[tuple[str, str]]:
    """Return (command, option) for every long option that the README shows."""
    text = README.read_text(encoding="utf-8")
    commands = re.findall(r"sgldoctor ((?:check|rules \w+|schema)\b[^\n#`]*)", text)
    return sorted(
        {(line.split(" -")[0].split()[0], option) for line in commands for option in re.findall(r"--[a-z-]+", line)}
    )


@pytest.mark.parametrize(("command", "option"), options())
def test_every_option_in_the_readme_is_in_the_help(
    command: str, option: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run([command, "--help"]) == 0
    assert option in capsys.readouterr().out


def test_the_readme_shows_options() -> None:
    assert ("check", "--venv") in options()
