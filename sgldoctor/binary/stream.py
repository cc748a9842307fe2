"""Ways to the bytes of a file."""

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


class FileWindow:
    """An open file that is cut like bytes.

    A memory map keeps whole pages for every byte that is looked at: walking the GPU code of 0.3.5's common_ops made a
    process of 137 MB that way, and makes one of 39 MB through this.
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
