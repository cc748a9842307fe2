"""Where a text comes from: words, files, a pipe; read in blocks, so that logs of any size take constant memory."""

from __future__ import annotations

import codecs
import gzip
import io
import os
import sys
import time
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from sgldoctor.errors import InputError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

BLOCK = 1 << 20
"""Bytes that are judged at a time."""
SHORT = 256 << 10
"""Bytes up to which a text is judged line by line, wrapped lines joined."""
OVERLAP = 8 << 10
"""Bytes of a line without an end that are judged again with its next piece."""
_ENDINGS = (".log", ".txt", ".gz")
_GZIP = b"\x1f\x8b"
_ASK_AGAIN = 0.25
"""Seconds between two looks at a file that is followed."""


@dataclass(frozen=True, slots=True)
class Block:
    """Some whole lines, or a piece of one that is longer than a block."""

    data: bytes
    first: int
    """Number of its first line, from 1."""
    whole: bool
    """Whether this is all there is of a short input."""


@dataclass(frozen=True, slots=True)
class Source:
    """One input: its name, None for words and for the standard input, and how it is opened."""

    name: str | None
    open: Callable[[], BinaryIO]
    follow: bool = False

    def blocks(self) -> Iterator[Block]:
        """Yield the input block by block; UTF-16 and gzip have become plain UTF-8.

        Raises:
            InputError: it cannot be read.
        """
        try:
            with self.open() as stream:
                yield from _blocks(_pieces(stream, self.name, follow=self.follow), live=self.follow)
        except (OSError, EOFError, zlib.error) as error:
            reason = getattr(error, "strerror", None) or str(error)
            raise InputError(f"Cannot read {self.name or 'the standard input'}: {reason}.") from None


def sources(words: list[str], *, as_text: bool, follow: bool) -> list[Source]:
    """Return the inputs that the words of a command line name.

    A word with ``/`` in it or with the ending of a log is a path, unless it holds a space or a line break, as error
    texts do; a word that names a file is a path in any case. Words that are no paths are one text together.

    Args:
        words: as given; none, or ``-``: the standard input.
        as_text: all words are text.
        follow: keep reading a file that grows.

    Raises:
        InputError: a path does not exist, or is a folder.
        UsageError: ``--follow`` without one log.
    """
    paths = [] if as_text else _paths(words)
    if follow and (len(paths) > 1 or not (paths or words in ([], ["-"]))):
        raise UsageError("--follow goes with one log that grows, such as: sgldoctor explain --follow server.log")
    if paths:
        return [Source(path, _opener(path), follow) for path in paths]
    if words in ([], ["-"]) and not as_text:
        return [Source(None, lambda: open(sys.stdin.fileno(), "rb", buffering=0, closefd=False), follow)]
    text = " ".join(words).encode("utf-8", "surrogateescape")
    return [Source(None, lambda: io.BytesIO(text))]


def _paths(words: list[str]) -> list[str]:
    """Return the words where all of them are paths, else none."""
    like = [_is_path(word) for word in words]
    if words and all(like):
        return words
    if words and like[0] and any(os.path.isfile(word) for word in words):
        wrong = next(word for word, path in zip(words, like, strict=True) if not path)
        raise InputError(f"There is no file {wrong}. To explain words that are a text, put --text in front of them.")
    return []


def _is_path(word: str) -> bool:
    if os.path.exists(word):
        return True
    return ("/" in word or word.endswith(_ENDINGS)) and not any(letter.isspace() for letter in word)


def _opener(path: str) -> Callable[[], BinaryIO]:
    """Return how to open a file that is there.

    Raises:
        InputError: it is not, or is a folder.
    """
    if os.path.isdir(path):
        raise InputError(f"{path} is a folder. Name the log file in it.")
    if not os.path.exists(path):
        raise InputError(f"There is no file {path}. If it is a text to be explained, put --text in front of it.")
    return lambda: Path(path).open("rb", buffering=0)


def _pieces(stream: BinaryIO, name: str | None, *, follow: bool) -> Iterator[bytes]:
    """Yield what a stream holds as UTF-8, as it comes."""
    read = _reader(stream, name, follow=follow)
    first = read(BLOCK)
    if first.startswith(_GZIP):
        unzipped = gzip.GzipFile(fileobj=io.BufferedReader(_Joined(first, stream)))
        read = unzipped.read1
        first = read(BLOCK)
    encoding = _utf16(first)
    decoder = codecs.getincrementaldecoder(encoding)("replace") if encoding else None
    while first:
        yield decoder.decode(first).encode() if decoder else first
        first = read(BLOCK)


def _reader(stream: BinaryIO, name: str | None, *, follow: bool) -> Callable[[int], bytes]:
    read = getattr(stream, "read1", stream.read)  # what is there now: a pipe may stay open for days
    if not follow or name is None:
        return read

    def wait(size: int) -> bytes:
        while not (data := read(size)):
            if os.stat(name).st_size < stream.tell():  # emptied by log rotation
                stream.seek(0)
            else:
                time.sleep(_ASK_AGAIN)
        return data

    return wait


class _Joined(io.RawIOBase):
    """What was read already, then the rest of the stream."""

    def __init__(self, first: bytes, rest: BinaryIO) -> None:
        self._first = io.BytesIO(first)
        self._rest = rest

    def readable(self) -> bool:
        """Tell io that this is for reading."""
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        """Fill a buffer."""
        data = self._first.read(len(buffer)) or getattr(self._rest, "read1", self._rest.read)(len(buffer)) or b""
        buffer[: len(data)] = data
        return len(data)


def _utf16(first: bytes) -> str | None:
    """Return the encoding of a text in which every other byte is zero, or that says so by its mark."""
    if first.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "utf-16"
    start = first[:2000]
    if len(start) >= 4 and start[1::2].count(0) > len(start) * 0.4:
        return "utf-16-le"
    return "utf-16-be" if len(start) >= 4 and start[::2].count(0) > len(start) * 0.4 else None


def _blocks(pieces: Iterator[bytes], *, live: bool) -> Iterator[Block]:
    """Yield whole lines; of a line longer than a block, its pieces, each with the end of the one before.

    What was read before an interruption or an error is yielded before that goes on its way.
    """
    rest, number, whole = b"", 1, True
    try:
        for piece in pieces:
            rest += piece
            if len(rest) < BLOCK and not live:
                continue
            end = rest.rfind(b"\n") + 1
            if end or len(rest) >= BLOCK:
                whole = False
                yield Block(rest[:end] if end else rest, number, whole)
                number += rest.count(b"\n", 0, end)
                rest = rest[end:] if end else rest[-OVERLAP:]
    except (KeyboardInterrupt, OSError, EOFError, zlib.error):
        yield Block(rest, number, whole and len(rest) <= SHORT)
        raise
    yield Block(rest, number, whole and len(rest) <= SHORT)
