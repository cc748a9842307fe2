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


_TERMINAL = re.compile(
    r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|[@-Z\\^_])"  # colours, titles, cursor
    r"|(?<![\w\]])\[(?:0|[0-9]{1,2}(?:;[0-9]{1,3})*)m"  # colours whose escape character was lost in copying
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
        ]
    )
)


def logical_lines(text: str, first: int = 1) -> Iterator[Line]:
    """Yield the lines of a text, numbered from `first`, without colours and prefixes."""
    for number, raw in enumerate(_BREAK.split(text), start=first):
        yield Line(number, stripped(raw))


def stripped(raw: str) -> str:
    """Return a line without colours, control characters and the prefixes of collectors."""
    text = _CONTROL.sub("", _TERMINAL.sub("", raw)) if not raw.isprintable() or "[" in raw else raw
    for _ in range(6):
        found = _PREFIX.match(text)
        if not found:
            break
        text = text[found.end() :]
        text = text[1:] if text.startswith(" ") else text
    return text
