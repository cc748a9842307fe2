"""A buffer as a stream that gives up after a while, so that no damaged file can keep its reader busy."""

from __future__ import annotations

import os
from mmap import mmap
from typing import Protocol

Buffer = bytes | mmap


class Bytes(Protocol):
    """What can be cut: bytes, a memory map, a `FileWindow`."""

    def __len__(self) -> int:
        """Return the number of bytes."""

    def __getitem__(self, span: slice, /) -> bytes | memoryview:
        """Return some of them."""


_BUDGET = 4 << 20
"""Bytes; pyelftools reads 9,000 of common_ops.abi3.so 0.3.15 and 260,000 of a file with 4,000 sections."""


class BoundedStream:
    """The part of a binary file object that pyelftools uses: read, seek and tell.

    Raises:
        EOFError: more was read than headers can hold.
    """

    def __init__(self, data: Buffer) -> None:
        self._data = data
        self._at = 0
        self._left = _BUDGET

    def read(self, size: int = -1) -> bytes:
        """Return the next bytes, fewer at the end."""
        end = len(self._data) if size < 0 else min(self._at + size, len(self._data))
        self._left -= max(end - self._at, 1)
        if self._left < 0:
            raise EOFError("its headers are larger than any library's")
        chunk = bytes(self._data[self._at : end])
        self._at = max(end, self._at)
        return chunk

    def seek(self, offset: int, whence: int = 0) -> int:
        """Move to an offset from the start (0), from here (1) or from the end (2), and return it."""
        self._at = max(0, offset + (0, self._at, len(self._data))[whence])
        return self._at

    def tell(self) -> int:
        """Return where the next byte is read."""
        return self._at


class FileWindow:
    """An open file that is cut like bytes.

    A memory map brings 16 pages for every byte that is looked at: a walk over the GPU code of 0.3.5's common_ops
    took 87 MB that way, and takes none through this.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._size = os.fstat(descriptor).st_size

    def __len__(self) -> int:
        """Return the size of the file."""
        return self._size

    def __getitem__(self, span: slice, /) -> bytes:
        """Return the bytes of a span, fewer at the end of the file."""
        start, end, _step = span.indices(self._size)
        return os.pread(self._descriptor, max(0, end - start), start)
