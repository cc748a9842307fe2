"""Which GPU code a section of fat binaries holds: a walk over their headers, which neither loads nor unpacks anything.

The layout, all numbers little-endian, is what nvcc 13.0 writes for sm_75 to sm_121f, compute_75 to compute_120f and
every ``--compress-mode``, and what the libraries of ``fixtures/gpu_code`` hold (CUDA 12.4 to 13.2), each checked
against cuobjdump:

* a fat binary, 16 bytes: magic u32, version u16, size of this header u16, size of everything after it u64;
* then entries until its end: kind u16, version u16, size of this header u32 (64 and more: a name and options follow),
  size of the payload after it u64, ..., at 28 the architecture u32 (90 is 9.0), at 40 the flags u64;
* fat binaries follow each other at the alignment of the section, with zeros between: 8 bytes on x86_64, where no gap
  was seen, and 256 on aarch64, where ``.align 8`` means two to the power of eight.

The code that runs is in ``.nv_fatbin``. ``__nv_relfatbin`` is input of a later link, and cuobjdump reads it only where
there is no ``.nv_fatbin``.
"""

from __future__ import annotations

from struct import Struct
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sgldoctor.binary.stream import Bytes

_FATBIN = Struct("<IHHQ")
_ENTRY = Struct("<H2xIQ12xI8xQ")
_MAGIC = 0xBA55ED50
_VERSION = 1
_SHORTEST_ENTRY = 64

# The kinds that a driver loads. Others, as 8 (LTO-IR, for nvlink), stay out, as they do in cuobjdump's lists.
_PTX, _CUBIN = 1, 2

# The letter of the target stands in the flags of the entry, for cubins and PTX, packed (0x2000 is LZ4, 0x8000 zstd) or
# not. A cubin's own e_flags cannot tell: nvcc 13.0 writes 0x06006402 for sm_100, sm_100a and sm_100f.
_LETTER_BITS = 0x300000
_LETTERS = {0x000000: "", 0x100000: "a", 0x200000: "f"}

# The widest gap seen is 248 bytes; the most entries seen are 6,275 (libcudnn_engines_precompiled.so.9 of cuDNN 9.1).
_MOST_PADDING = 255
_MOST_ENTRIES = 100_000


def targets(data: Bytes, start: int, end: int) -> list[str]:
    """Return the distinct targets in a section, by capability, cubins first: ``sm_90``, ``sm_90a``, ``compute_80``.

    Args:
        data: the file, of which only headers are read.
        start: the offset where the section begins.
        end: the offset where it ends.

    Raises:
        ValueError: no row of fat binaries stands there; the message says where and why.
    """
    if not 0 <= start <= end <= len(data):
        raise ValueError(f"a section from 0x{start:x} to 0x{end:x} does not lie in a file of {len(data)} bytes")
    found: set[tuple[bool, int, str]] = set()
    entries = 0
    position = _skip_padding(data, start, end)
    while position < end:
        position, after = _open(data, position, end)
        while position < after:
            entries += 1
            if entries > _MOST_ENTRIES:
                raise ValueError(f"more than {_MOST_ENTRIES} entries stand before offset 0x{position:x}")
            position, target = _entry(data, position, after)
            if target:
                found.add(target)
        position = _skip_padding(data, after, end)
    return [f"{'compute' if ptx else 'sm'}_{architecture}{letter}" for ptx, architecture, letter in sorted(found)]


def _skip_padding(data: Bytes, position: int, end: int) -> int:
    """Return where the next byte that is not zero stands, or the end; no fat binary begins with a zero."""
    piece = bytes(data[position : min(position + _MOST_PADDING + 1, end)])
    zeros = len(piece) - len(piece.lstrip(b"\0"))
    if zeros > _MOST_PADDING:
        raise ValueError(f"more than {_MOST_PADDING} zero bytes stand at offset 0x{position:x}")
    return position + zeros


def _open(data: Bytes, position: int, end: int) -> tuple[int, int]:
    """Return where the first entry of a fat binary begins and where its last one ends."""
    where = f"a fat binary at offset 0x{position:x}"
    if end - position < _FATBIN.size:
        raise ValueError(f"the header of {where} runs past the end of its section")
    magic, version, header, size = _FATBIN.unpack(data[position : position + _FATBIN.size])
    if magic != _MAGIC:
        raise ValueError(f"no fat binary begins at offset 0x{position:x}: 0x{magic:08x} is not 0x{_MAGIC:08x}")
    if version != _VERSION:
        raise ValueError(f"{where} says it has version {version}; only {_VERSION} is known")
    if header < _FATBIN.size:
        raise ValueError(f"{where} says its header is {header} bytes long")
    if size == 0:
        raise ValueError(f"{where} says it is 0 bytes long")
    if header + size > end - position:
        raise ValueError(f"{where} says it is {size} bytes long, past the end of its section")
    return position + header, position + header + size


def _entry(data: Bytes, position: int, end: int) -> tuple[int, tuple[bool, int, str] | None]:
    """Return where an entry ends, and its target: whether it is PTX, the architecture, the letter."""
    where = f"an entry at offset 0x{position:x}"
    if end - position < _SHORTEST_ENTRY:
        raise ValueError(f"the header of {where} runs past the end of its fat binary")
    kind, header, size, architecture, flags = _ENTRY.unpack(data[position : position + _ENTRY.size])
    if header < _SHORTEST_ENTRY:
        raise ValueError(f"{where} says its header is {header} bytes long")
    if size == 0:
        raise ValueError(f"{where} says it is 0 bytes long")
    if header + size > end - position:
        raise ValueError(f"{where} says it is {size} bytes long, past the end of its fat binary")
    if kind not in {_PTX, _CUBIN}:
        return position + header + size, None
    letter = _LETTERS.get(flags & _LETTER_BITS)
    if letter is None:
        raise ValueError(f"{where} says it is both architecture-specific and family-specific: flags 0x{flags:x}")
    if not 10 <= architecture <= 999:  # two digits, as 75 for 7.5, or three, as 120 for 12.0
        raise ValueError(f"{where} says it is for architecture {architecture}")
    return position + header + size, (kind == _PTX, architecture, letter)
