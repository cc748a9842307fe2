"""Which patterns match which lines: all patterns at once over whole blocks, then each where it was seen.

A block is searched by one automaton for all patterns, in linear time; line breaks end every match. Only where it
names a pattern that still wants lines is that pattern searched for by itself, and tried again on the logical line.
A short text is judged line by line instead, also with lines joined again that a terminal or a mail had wrapped.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import re2

from sgldoctor.errors import RulesError
from sgldoctor.explain.lines import Line, logical_lines, stripped
from sgldoctor.explain.literals import literals

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from sgldoctor.explain.source import Block
    from sgldoctor.rules.model import Signature

KEPT = 3
"""Lines that are kept for each pattern."""
_MEMORY = 48 << 20
"""Bytes that the automaton may take for its states."""
_AROUND = 8 << 10
"""Bytes of a long line, before and after a match, that are taken for the line."""
_LONG = 16 << 10
"""Bytes in a line, on average, from which on a block is searched as noise."""
_TRIES, _PATIENCE = 200, 1000
"""Places in a block at which a pattern is tried before the next block has its turn: a tenth of them after so many
misses, so that a careless pattern of ``--rules`` makes nothing slow."""
_QUOTED = re.compile(r"(?:Receive(?: OpenAI)?|Finish): obj=|Received request \S+: (?:prompt|params)")
"""How lines of SGLang and vLLM begin that repeat what a client sent or got: any words may stand in them."""
_SENTINEL = "sgldoctor probes its own patterns"


@dataclass(frozen=True, slots=True)
class Hit:
    """A pattern that matched a line, and what it captured."""

    line: Line
    captures: Mapping[str, str]


class Patterns:
    """Patterns, compiled into one automaton."""

    def __init__(self, texts: Iterable[str], *, coarse: bool = False) -> None:
        """Compile every pattern.

        Args:
            texts: the patterns.
            coarse: only the literals of those that have some.

        Raises:
            RulesError: together they need more memory than an automaton may take.
        """
        self._texts = [*texts, _SENTINEL]
        self._set = re2.Set.SearchSet(_options())
        for text in self._texts:
            self._set.Add(_coarse(text) if coarse else _unanchored(text))
        try:
            self._set.Compile()
        except re2.error:
            raise RulesError(["the patterns of the signatures are too many or too large"]) from None
        if _SENTINEL not in self.matching(_SENTINEL.encode()):
            raise RulesError(["the patterns of the signatures need too much memory; simplify .{n,m}"])

    def matching(self, data: bytes) -> list[str]:
        """Return the patterns that match somewhere in some lines, and perhaps some that do so without their anchors."""
        return [self._texts[index] for index in self._set.Match(data) or ()]


class Library:
    """Every pattern of the rules; what is compiled of it depends on how much there is to be searched."""

    def __init__(self, signatures: Iterable[Signature], further: Iterable[str] = ()) -> None:
        """Take the patterns.

        Args:
            signatures: those of the rules.
            further: patterns that belong to no rule.
        """
        known = (pattern for signature in signatures for pattern in patterns_of(signature))
        self._texts = dict.fromkeys((*known, *further))
        self._near: dict[tuple[str, ...], Patterns] = {}

    @cached_property
    def all(self) -> Patterns:
        """All of them: for logs, and where many texts are searched."""
        return Patterns(self._texts)

    def in_noise(self, data: bytes) -> list[str]:
        """Return those that match in noise: there the states of all patterns together are too many to be kept.

        The literals are searched first, then the patterns of those that were found.
        """
        near = tuple(self._coarse.matching(data))
        if near not in self._near:
            self._near = {near: Patterns(near)}
        return self._near[near].matching(data)

    @cached_property
    def _coarse(self) -> Patterns:
        return Patterns(self._texts, coarse=True)

    def of(self, text: str) -> Patterns:
        """Return those whose literals stand in a text, which is short: most need not even be compiled."""
        if "all" in self.__dict__:
            return self.all
        near = (p for p in self._texts if not (words := literals(p)) or any(word in text for word in words))
        return Patterns(near)


class Scan:
    """What has been seen of one input, or of several that belong together."""

    def __init__(self, library: Library) -> None:
        """Begin with nothing seen."""
        self.hits: dict[str, list[Hit]] = {}
        self._library = library
        self._misses: Counter[str] = Counter()

    def feed(self, block: Block, source: str | None = None) -> None:
        """Judge some more lines.

        Args:
            block: the lines.
            source: what the input is called, where there are several.
        """
        data = _as_utf8(block.data)
        if block.whole:
            lines = list(logical_lines(data.decode(), block.first, source))
            patterns = self._library.of("\n".join(line.text for line in lines))
            for line in lines:
                self._line(line, patterns.matching(line.text.encode()))
        else:
            odd = _is_odd(block.data)
            for pattern in self._library.in_noise(data) if odd else self._library.all.matching(data):
                if len(self.hits.get(pattern, ())) < KEPT:
                    self._misses[pattern] += _PATIENCE * odd
                    self._block(data, block.first, source, pattern)

    def _line(self, line: Line, patterns: list[str]) -> None:
        for pattern in () if _QUOTED.match(line.text) else patterns:
            kept = self.hits.setdefault(pattern, [])
            if len(kept) < KEPT and not (kept and kept[-1].line.is_at(line)):
                found = compiled(pattern).search(line.text)
                if found:
                    kept.append(Hit(line, {k: v for k, v in found.groupdict().items() if v is not None}))
            if not kept:
                del self.hits[pattern]

    def _block(self, data: bytes, first: int, source: str | None, pattern: str) -> None:
        number, counted = first, 0
        for at, (start, end) in enumerate(_lines_with(pattern, data)):
            number += data.count(b"\n", counted, start)
            counted = start
            self._line(Line(number, stripped(data[start:end].decode(errors="replace")), source), [pattern])
            if len(self.hits.get(pattern, ())) >= KEPT or at >= _TRIES // (
                10 if self._misses[pattern] > _PATIENCE else 1
            ):
                return
            self._misses[pattern] += 1


def patterns_of(signature: Signature) -> tuple[str, ...]:
    """Return every pattern of a signature."""
    return (*signature.all, *signature.any, *signature.none)


def _lines_with(pattern: str, data: bytes) -> Iterator[tuple[int, int]]:
    """Yield where the lines begin and end in which a pattern is found; of a long line, what is around the match."""
    loose, at = compiled(_unanchored(pattern)), 0
    while at < len(data) and (found := loose.search(data, at)):
        start = max(data.rfind(b"\n", 0, found.start()) + 1, found.start() - _AROUND)
        end = data.find(b"\n", found.end())
        end = min(len(data) if end < 0 else end, found.end() + _AROUND)
        yield start, end
        at = end + 1


def _is_odd(data: bytes) -> bool:
    """Return whether a block is no text, or has giant lines."""
    if len(data) > _LONG * (data.count(b"\n") + 1):
        return True
    try:
        data.decode()
    except UnicodeDecodeError:
        return True
    return False


def _coarse(pattern: str) -> str:
    return "|".join(map(re2.escape, literals(pattern))) or _unanchored(pattern)


def _as_utf8(data: bytes) -> bytes:
    try:
        data.decode()
    except UnicodeDecodeError:
        return data.decode(errors="replace").encode()
    return data


_COMPILED: dict[str, re2._Regexp] = {}


def compiled(pattern: str) -> re2._Regexp:
    """Return a pattern, compiled once, that never matches across lines.

    Raises:
        re2.error: it is none.
    """
    if pattern not in _COMPILED:
        _COMPILED[pattern] = re2.compile(pattern, _options())
    return _COMPILED[pattern]


def _options() -> re2.Options:
    options = re2.Options()
    options.max_mem = _MEMORY
    options.never_nl = True
    options.log_errors = False
    return options


def _unanchored(pattern: str) -> str:
    """Return a pattern that also matches where its anchors do not: in a line that still has its prefixes."""
    if not any(anchor in pattern for anchor in ("^", "$", "\\A", "\\z")):
        return pattern
    parts, within, at = [], False, 0
    while at < len(pattern):
        letter = pattern[at]
        pair = pattern[at : at + 2]
        if letter == "\\":
            parts.append("(?:)" if pair in {"\\A", "\\z"} and not within else pair)
            at += 2
            continue
        if within:
            within = letter != "]" or pattern[at - 1] == "[" or pattern[at - 2 : at] == "[^"
        elif letter == "[":
            within = True
        elif letter in "^$":
            letter = "(?:)"
        parts.append(letter)
        at += 1
    return "".join(parts)
