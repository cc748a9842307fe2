"""What an installer said, told to a reader: what it means first, then its own words."""

from __future__ import annotations

import pytest

from sgldoctor.install.execute.engine import failure

NO_RUST = """\
Using CPython 3.12.1
error: Failed to build `outlines-core==0.1.26`
  cause: The build backend returned an error
error: can't find Rust compiler
"""


def test_the_cause_that_explain_knows_comes_first() -> None:
    assert failure(NO_RUST) == (
        "A package is built from source and there is no Rust compiler. Try: python -m pip install --upgrade pip\n"
        "More: sgldoctor rules show rust-missing\n"
        "The installer says:\n"
        "  error: Failed to build `outlines-core==0.1.26`\n"
        "    cause: The build backend returned an error\n"
        "  error: can't find Rust compiler"
    )


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("error: No space left on device (os error 28)", "The disk is full: make room."),
        ("error: something that nobody has met", "The installer says:"),
    ],
)
def test_first_line(text: str, told: str) -> None:
    assert failure(text).splitlines()[0] == told
