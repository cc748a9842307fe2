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
    commands = re.findall(
        r"sgldoctor ((?:check|explain|fix|inspect|install|matrix|release|rules \w+|schema)\b[^\n#`]*)", text
    )
    return sorted({(_command(line), option) for line in commands for option in re.findall(r"--[a-z-]+", line)})


def _command(line: str) -> str:
    words = line.split()
    return " ".join(words[:2]) if words[0] == "rules" else words[0]


@pytest.mark.parametrize(("command", "option"), options())
def test_every_option_in_the_readme_is_in_the_help(
    command: str, option: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run([*command.split(), "--help"]) == 0
    assert option in capsys.readouterr().out


def test_the_readme_shows_options() -> None:
    assert ("check", "--venv") in options()
