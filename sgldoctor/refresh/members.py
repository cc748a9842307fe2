"""Chosen members of a wheel on the package index, read with Range requests and never written to disk."""

from __future__ import annotations

import io
import mmap
import struct
import zipfile
import zlib
from contextlib import closing
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import requests

from sgldoctor.refresh.index import _UNREADABLE, TIMEOUT, PackageIndexError, _RemoteFile

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sgldoctor.refresh.index import PackageIndex

_TAIL = 1 << 21  # bytes; the longest table of contents, of torch 2.7.0, has 1.4 MB
_LARGEST = 4 << 30  # bytes; the largest library, libtorch_cuda.so of torch 2.7.0, has 1.06 GB
_PIECE = 1 << 20
_LOCAL = struct.Struct("<26xHH")  # of what stands before a member: the lengths of its name and of its extra field
_HEADERS = 1 << 12  # bytes of a library within which its program headers are looked for
_SEGMENT = struct.Struct("<IIQ16xQ16x")  # type, flags, offset, size in the file
_LOAD, _EXECUTABLE = 1, 1
_FATBIN, _ENTRY = struct.Struct("<IHHQ"), struct.Struct("<4xIQ")  # as in sgldoctor.binary.fatbin
_MAGIC = struct.pack("<I", 0xBA55ED50)
_SHORTEST_ENTRY, _LONGEST_HEADER = 64, 1 << 16


def open_wheel(index: PackageIndex, url: str) -> Wheel:
    """Open a wheel by reading its end, in one request.

    Raises:
        PackageIndexError: no answer, no parts of files, or no wheel.
    """
    return Wheel(index, url)


class Wheel:
    """The members of a remote wheel."""

    def __init__(self, index: PackageIndex, url: str) -> None:
        self.name = urlsplit(url).path.rpartition("/")[2]
        self._index, self._url = index, url
        try:
            self._archive = zipfile.ZipFile(io.BufferedReader(_Tailed(index, url), 1 << 16))
        except _UNREADABLE as error:
            raise PackageIndexError(f"{self.name} is no readable wheel: {error}") from error

    def names(self) -> list[str]:
        """Return the names of all members, in the wheel's order."""
        return self._archive.namelist()

    def size(self, name: str) -> int:
        """Return how large a member says it is, unpacked.

        Raises:
            PackageIndexError: there is no such member.
        """
        return self._info(name).file_size

    def read(self, name: str) -> bytes:
        """Return a small member.

        Raises:
            PackageIndexError: there is no such member, or it is damaged, or the index does not answer.
        """
        try:
            return self._archive.read(self._info(name))
        except _UNREADABLE as error:
            raise PackageIndexError(f"{name} in {self.name} is damaged: {error}") from error

    def library(self, name: str) -> mmap.mmap:
        """Return a shared library in memory, with zeros for machine code and for what fat binaries pack.

        All of it comes in one streamed request, and its checksum is verified. Reading the 374 MB of sgl-kernel 0.3.20
        takes 49 MB at most (ru_maxrss, with the interpreter and requests).

        Raises:
            PackageIndexError: there is no such member, or it is too large or damaged, or the index does not answer.
        """
        info = self._info(name)
        return unpacked(f"{name} in {self.name}", info, self._inflated(info))

    def _info(self, name: str) -> zipfile.ZipInfo:
        try:
            return self._archive.getinfo(name)
        except KeyError:
            raise PackageIndexError(f"{self.name} holds no {name}") from None

    def _inflated(self, info: zipfile.ZipInfo) -> Iterator[bytes]:
        """Yield a member in pieces of bounded size."""
        if info.compress_type not in {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED}:
            raise zlib.error(f"unknown method {info.compress_type}")
        start, url = info.header_offset, self._url
        head = b"".join(_stream(self._index, url, f"{start}-{start + _LOCAL.size - 1}"))
        if len(head) != _LOCAL.size or head[:4] != b"PK\3\4":
            raise zlib.error("it does not begin where the table of contents says")
        start += _LOCAL.size + sum(_LOCAL.unpack(head))
        stream = _stream(self._index, url, f"{start}-{start + info.compress_size - 1}")
        if info.compress_type == zipfile.ZIP_STORED:
            yield from stream
            return
        inflater = zlib.decompressobj(-15)
        for packed in stream:
            rest = packed
            while rest and not inflater.eof:
                yield inflater.decompress(rest, _PIECE)
                rest = inflater.unconsumed_tail
        yield inflater.flush()


def unpacked(what: str, info: zipfile.ZipInfo, pieces: Iterator[bytes]) -> mmap.mmap:
    """Return a shared library that comes in pieces, as `Wheel.library` does.

    Raises:
        PackageIndexError: it is too large, or not what the table of contents says.
    """
    if not 0 < info.file_size <= _LARGEST:
        raise PackageIndexError(f"{what} says it is {info.file_size} bytes large")
    buffer = mmap.mmap(-1, info.file_size)
    sieve, checksum, size = _Sieve(buffer), 0, 0
    try:
        for piece in pieces:
            size += len(piece)
            if size > info.file_size:
                raise PackageIndexError(f"{what} is larger than it says")
            checksum = zlib.crc32(piece, checksum)
            sieve.feed(piece, last=size == info.file_size)
    except _UNREADABLE as error:
        raise PackageIndexError(f"{what} is damaged: {error}") from error
    if size < info.file_size:
        raise PackageIndexError(f"{what} is cut off")
    if checksum != info.CRC:
        raise PackageIndexError(f"{what} is damaged: its checksum is wrong")
    return buffer


class _Tailed(_RemoteFile):
    """A remote file whose end is held."""

    def __init__(self, index: PackageIndex, url: str) -> None:
        self._end = b"".join(_stream(index, url, f"-{_TAIL}"))  # first, since it does not take a whole file for a part
        super().__init__(index, url)
        self._start = self._size - len(self._end)

    def readinto(self, buffer: Any) -> int:  # noqa: ANN401 - any writable buffer
        if self._at < self._start:
            return super().readinto(memoryview(buffer)[: self._start - self._at])
        piece = self._end[self._at - self._start :][: len(buffer)]
        buffer[: len(piece)] = piece
        self._at += len(piece)
        return len(piece)


class _Sieve:
    """Writes a library that comes in pieces into a buffer of zeros, without what no reader of this program looks at.

    Left out are executable segments and the payloads of fat binaries. A segment at the start of the file stays: older
    linkers put the symbols into the same one as the machine code.
    """

    def __init__(self, buffer: mmap.mmap) -> None:
        self._buffer, self._held, self._at = buffer, b"", 0  # the bytes not yet dealt with, and where they stand
        self._code: list[tuple[int, int]] = []
        self._skip = self._fat_end = 0

    def feed(self, piece: bytes, *, last: bool) -> None:
        """Take the next bytes of the file; the last ones must be called so."""
        held, done = self._held + piece, 0
        if len(held) >= _HEADERS or last:
            self._code = self._code if self._at else _code(held[:_HEADERS])
            while done < len(held) and (step := self._step(held, done, self._at + done, last=last)):
                done += step
        self._held, self._at = held[done:], self._at + done

    def _step(self, held: bytes, start: int, at: int, *, last: bool) -> int:
        """Deal with some bytes, and return how many; none when the next piece is needed first."""
        left = len(held) - start
        if self._skip:
            step = min(self._skip, left)
            self._skip -= step
            return step
        if at < self._fat_end:
            if left < _LONGEST_HEADER and not last:
                return 0
            if header := self._entry(held, start, at):
                return self._keep(held, start, at, header)
            self._fat_end = 0
        found = held.find(_MAGIC, start)
        while found >= 0 and (at + found - start) % 8:
            found = held.find(_MAGIC, found + 1)
        if found != start:
            rest = left if last else max(left - _FATBIN.size + 1, 0)  # a header may have begun
            return self._keep(held, start, at, found - start if found > 0 else rest)
        if left < _FATBIN.size:
            return self._keep(held, start, at, left) if last else 0
        _magic, version, header, size = _FATBIN.unpack_from(held, start)
        if version == 1 and header == _FATBIN.size and 0 < size <= len(self._buffer) - at - header:
            self._fat_end = at + header + size
        return self._keep(held, start, at, _FATBIN.size)

    def _entry(self, held: bytes, start: int, at: int) -> int:
        """Begin to skip the payload of an entry and return the length of its header; zero when it is no entry."""
        if len(held) - start < _SHORTEST_ENTRY:
            return 0
        header, size = _ENTRY.unpack_from(held, start)
        if not _SHORTEST_ENTRY <= header <= _LONGEST_HEADER or not 0 < size <= self._fat_end - at - header:
            return 0
        self._skip = size
        return int(header)

    def _keep(self, held: bytes, start: int, at: int, size: int) -> int:
        """Write bytes into the buffer, but for those of executable segments, and return how many were meant."""
        first, end = at - start, at + size
        for code, after in [*self._code, (end, end)]:
            if at < min(code, end):
                self._buffer[at : min(code, end)] = held[at - first : min(code, end) - first]
            at = max(at, min(after, end))
        return size


def _code(head: bytes) -> list[tuple[int, int]]:
    """Return where executable segments begin and end in a file, by its first bytes."""
    if len(head) < 64 or head[:6] != b"\x7fELF\x02\x01":
        return []
    (start,), (step, count) = struct.unpack_from("<Q", head, 32), struct.unpack_from("<HH", head, 54)
    if step != _SEGMENT.size or start + step * count > len(head):
        return []
    segments = (_SEGMENT.unpack_from(head, start + step * number) for number in range(count))
    code = (where for kind, flags, *where in segments if kind == _LOAD and flags & _EXECUTABLE and where[0])
    return sorted((offset, offset + size) for offset, size in code)


def _stream(index: PackageIndex, url: str, span: str) -> Iterator[bytes]:
    """Yield a part of a file in pieces as they come.

    Raises:
        PackageIndexError: no answer, or another one than a part, or the connection ends before that does.
    """
    name, headers = urlsplit(url).path.rpartition("/")[2], {"Range": f"bytes={span}", "Accept-Encoding": "identity"}
    try:
        answer = index._session.get(url, headers=headers, timeout=TIMEOUT, stream=True)  # noqa: SLF001 - a friend
        with closing(answer):
            if answer.status_code != requests.codes.partial:
                raise PackageIndexError(f"the package index answers {answer.status_code} for a part of {name}")
            try:
                yield from answer.iter_content(_PIECE)
            finally:
                index.count(answer)
    except requests.RequestException as error:
        problem = type(error).__name__
        raise PackageIndexError(f"the package index does not answer for {name}: {problem}") from None
