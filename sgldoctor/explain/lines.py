"""Logical lines: what a program printed, without what terminals, containers and collectors put around it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


@dataclass(frozen=True, slots=True)
class Line:
    """One line as it was printed: its number in the input (from 1) and its text."""

    number: int
    text: str
    source: str | None = None
    """What its input is called, where there are several."""

    def is_at(self, other: Line) -> bool:
        """Return whether this is the same line, perhaps joined with others."""
        return (self.number, self.source) == (other.number, other.source)


NARROWEST, WIDEST = 40, 300
"""Columns between which a text counts as perhaps wrapped."""
MOST_WRAPPED = 8
"""Lines that are joined at most."""

_TERMINAL = re.compile(
    r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|[@-Z\\^_])"  # colours, titles, cursor
    r"|(?<![\w\]])\[(?:0|[0-9]{1,2}(?:;[0-9]{1,3})*)m|\[0?m(?=\s|$)"  # colours without their escape character
)
_BREAK = re.compile(r"\r\n|\n|\r")
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")
_DATE = r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d"
_PREFIX = re.compile(
    "|".join(
        [
            rf"{_DATE}(?:[.,]\d+)?(?:Z|[+-]\d\d:?\d\d)(?: (?:stdout|stderr) [FP])?",  # kubernetes, docker logs -t
            r"[A-Za-z0-9][\w.-]*[-_]\d+ +\|",  # docker compose
            r"[A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d(?:\.\d+)? \S+ [\w./@-]+\[\d+\]:",  # journald, syslog
            r"\[(?:pod|default|rank)[/\w.-]*\]:?",  # kubectl --prefix, torchrun
            r"\[\d+,\d+\]<std(?:out|err)>:?",  # mpirun
            r"\((?:\w+ )?[\w.:()-]*\s?pid=\d+(?:, ip=[\w.:]+)?\)",  # Ray, engine cores
            rf"\[{_DATE}(?:[.,]\d+)?(?: [A-Z]{{2,3}}\d+)*\]",  # SGLang, with ranks such as TP0
            r"(?:DEBUG|INFO|WARNING|ERROR|CRITICAL) \d\d-\d\d \d\d:\d\d:\d\d(?: \[[\w./-]+:\d+\])?",  # vLLM
            r"\d{1,3}: (?=[A-Z\[])",  # srun
            r">(?= )",  # quoted in a mail or an issue
        ]
    )
)


def logical_lines(text: str, first: int = 1, source: str | None = None) -> Iterator[Line]:
    """Yield the lines of a text without colours and prefixes, then those again that seem to have been wrapped, joined.

    Args:
        text: the whole of it.
        first: the number of its first line.
        source: what the input is called, where there are several.
    """
    raw = _BREAK.split(text)
    plain = _dedented([stripped(line) for line in raw])
    for offset, line in enumerate(plain):
        yield Line(first + offset, line, source)
    yield from (Line(first + offset, joined, source) for offset, joined in _unwrapped(raw, plain))


def _dedented(lines: list[str]) -> list[str]:
    """Return lines without the indentation that all of them have, as in a text copied out of an issue."""
    common = min((len(line) - len(line.lstrip()) for line in lines if line.strip()), default=0)
    return [line[common:] for line in lines] if common else lines


def _unwrapped(raw: list[str], plain: list[str]) -> Iterator[tuple[int, str]]:
    """Yield lines joined with what follows, where the first word of that did not fit into the width of the text.

    Nothing tells whether a word was broken, so both ways are yielded.
    """
    width = max(map(len, raw))
    if not NARROWEST <= width <= WIDEST:
        return
    for at in range(len(raw) - 1):
        if at and _full(raw[at - 1], raw[at], width):
            continue  # joined with the lines before it
        end = at
        while end + 1 < len(raw) and end - at < MOST_WRAPPED and _full(raw[end], raw[end + 1], width):
            end += 1
        if end > at:
            yield at, "".join(plain[at : end + 1])
            yield at, " ".join(part.strip() for part in plain[at : end + 1])


def _full(line: str, following: str, width: int) -> bool:
    word = following.split(maxsplit=1)
    return bool(word) and len(line) + 1 + len(word[0]) > width


def stripped(raw: str) -> str:
    """Return a line without colours, control characters and the prefixes of collectors."""
    text = _CONTROL.sub("", _TERMINAL.sub("", raw)) if not raw.isprintable() or "[" in raw else raw
    for _ in range(6):
        found = _PREFIX.match(text, 0, 400)
        if not found:
            break
        text = text[found.end() :]
        text = text.removeprefix(" ")
    return text
