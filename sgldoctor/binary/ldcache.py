"""Reading /etc/ld.so.cache, by which the loader finds libraries that no path names.

Layout: glibc, sysdeps/generic/dl-cache.h (``cache_file_new``); an older table may stand before it.
"""

from __future__ import annotations

import struct

_OLD, _NEW = b"ld.so-1.7.0\0", b"glibc-ld.so.cache1.1"
_OLD_ENTRY, _HEADER, _ENTRY = 12, 48, struct.Struct("<iIIIQ")
# FLAG_ELF_LIBC6 with the word size and processor: FLAG_X8664_LIB64 0x0300, FLAG_AARCH64_LIB64 0x0a00
_FLAGS = {"x86_64": 0x0303, "aarch64": 0x0A03}
_LONGEST_PATH = 4096
_MOST_TEXT = 4  # times the size of the file: a name is often the end of its path


def parse(data: bytes, machine: str) -> dict[str, list[str]]:
    """Return soname -> paths, the loader's order; entries for special processors (glibc-hwcaps) are left out.

    Args:
        data: the file.
        machine: ``x86_64`` or ``aarch64``.

    Raises:
        ValueError: it is no cache of glibc, or it is damaged.
    """
    start = 0
    if data.startswith(_OLD):
        count = int.from_bytes(data[len(_OLD) : len(_OLD) + 4], "little")
        start = -(-(len(_OLD) + 4 + count * _OLD_ENTRY) // 8) * 8
    if data[start : start + len(_NEW)] != _NEW:
        raise ValueError("it is no library cache of glibc")
    count = int.from_bytes(data[start + len(_NEW) : start + len(_NEW) + 4], "little")
    if start + _HEADER + count * _ENTRY.size > len(data):
        raise ValueError("it ends within its table")
    left = _MOST_TEXT * len(data)
    found: dict[str, list[str]] = {}
    for number in range(count):
        flags, key, value, _version, capabilities = _ENTRY.unpack_from(data, start + _HEADER + number * _ENTRY.size)
        if flags == _FLAGS.get(machine) and not capabilities:
            name, path = _text(data, start + key), _text(data, start + value)
            found.setdefault(name, []).append(path)
            left -= len(name) + len(path)
            if left < 0:
                raise ValueError("its strings are longer than itself")
    return found


def _text(data: bytes, start: int) -> str:
    end = data.find(b"\0", start, start + _LONGEST_PATH)
    if end < 0:
        raise ValueError("its strings have no end")
    return data[start:end].decode("utf-8", "replace")
