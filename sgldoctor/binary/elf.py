"""What an ELF shared library says of itself, read in place and never loaded.

pyelftools reads the sections, which the loader never looks at. What the loader uses (header, segments, dynamic
section, symbols, hashes, versions) is looked up where it lies: torch's 70,000 symbols read one by one would take ten
seconds.
Layouts: System V ABI, chapters 4 and 5; the GNU hash table: https://sourceware.org/ml/binutils/2006-10/msg00377.html
"""

from __future__ import annotations

import struct
from functools import cached_property
from typing import TYPE_CHECKING

from elftools.elf.elffile import ELFFile
from elftools.elf.enums import ENUM_D_TAG, ENUM_E_MACHINE

from sgldoctor.binary import fatbin
from sgldoctor.binary.stream import BoundedStream

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from sgldoctor.binary.stream import Buffer, Bytes

_MACHINES = {"EM_X86_64": "x86_64", "EM_AARCH64": "aarch64", "EM_386": "i386", "EM_PPC64": "ppc64le"}
_LONGEST_NAME = 1 << 16  # bytes; the longest symbol of torch 2.15 has 5,100
_MOST_TEXT = 1 << 25  # bytes of names of one table; libtorch_cuda.so of 2.15 has 2 million
_MOST_UNDEFINED = 1 << 18  # symbols; libtorch_cuda.so of 2.15 asks for 14,000
_MOST_RELOCATIONS = 1 << 22  # libcublasLt.so.12 has 440,000
_LONGEST_CHAIN = 1 << 12  # entries of one hash bucket; torch's longest has 9
_MOST_VERSIONS = 1 << 10
_MOST_TAGS = 1 << 12  # entries of the dynamic section; libtorch_cuda.so has 50
_HEADER, _SEGMENT = struct.Struct("<16sHHIQQQIHHHHHH"), struct.Struct("<IIQQQQQQ")
_PROGRAM, _LIBRARY = 2, 3  # ET_EXEC and ET_DYN
_LOAD, _DYNAMIC = 1, 2  # PT_LOAD and PT_DYNAMIC
_TAG = struct.Struct("<QQ")
_NEEDED, _SONAME, _RPATH, _RUNPATH, _HASH, _GNU_HASH, _SYMTAB, _STRTAB, _VERNEED, _VERNEEDNUM, _VERDEF, _VERDEFNUM, _RELA, _RELASZ, _JMPREL, _PLTRELSZ = (
    ENUM_D_TAG[f"DT_{name}"]
    for name in (
        "NEEDED", "SONAME", "RPATH", "RUNPATH", "HASH", "GNU_HASH", "SYMTAB", "STRTAB",
        "VERNEED", "VERNEEDNUM", "VERDEF", "VERDEFNUM", "RELA", "RELASZ", "JMPREL", "PLTRELSZ",
    )
)  # fmt: skip
_SYMBOL = struct.Struct("<IBBHQQ")
_RELOCATION = struct.Struct("<QQq")
_PIECE = 4096 * _RELOCATION.size
_WORD, _PAIR, _FOUR, _LONG = struct.Struct("<I"), struct.Struct("<II"), struct.Struct("<IIII"), struct.Struct("<Q")
_VERSION_NEEDED, _VERSION_NEEDED_NAME = struct.Struct("<HHIII"), struct.Struct("<IHHII")
_VERSION_DEFINED = struct.Struct("<HHHHIII")
_WEAK, _GLOBAL_WEAK_UNIQUE = 2, {1, 2, 10}
_DEFAULT_PROTECTED = {0, 3}
_NOTYPE_TO_FUNC_COMMON_TLS_IFUNC = {0, 1, 2, 5, 6, 10}
_TLS, _ABSOLUTE = 6, 0xFFF1


class ElfError(ValueError):
    """The file cannot be read as a shared library; the text says why."""


class NotElfError(ElfError):
    """The file is no library: the loader refuses it too."""


class OtherClassError(NotElfError):
    """The file is of another word size: the loader's search passes over it."""


class Elf:
    """A 64-bit little-endian ELF file in a buffer, which must outlive it.

    Raises:
        ElfError: it is no ELF file, of another class or byte order, or damaged.
    """

    def __init__(self, data: Buffer) -> None:
        self._data = data
        if len(data) < _HEADER.size:
            raise NotElfError("it is cut off within its header" if data[:4] == b"\x7fELF" else "it is no ELF file")
        ident, kind, machine, _, _, start, _, _, _, size, count, *_ = _HEADER.unpack_from(data)
        if ident[:4] != b"\x7fELF":
            raise NotElfError("it is no ELF file")
        if ident[4] != 2:
            raise OtherClassError("it is no 64-bit file")
        if ident[5:7] != b"\x01\x01" or ident[7] not in {0, 3}:  # little-endian, version 1, for System V or Linux
            raise NotElfError("it is no little-endian ELF file for Linux")
        if kind not in {_PROGRAM, _LIBRARY} or size != _SEGMENT.size:
            raise NotElfError("it is an ELF file, but no shared library")
        names = (name for name, number in ENUM_E_MACHINE.items() if number == machine)
        name = next(names, f"machine {machine}")
        self.machine = _MACHINES.get(name, name)
        self._loads: list[tuple[int, int, int]] = []
        dynamic = None
        for index in range(count):
            kind, _, offset, address, _, size, _, _ = self._unpack(_SEGMENT, start + index * _SEGMENT.size)
            if kind == _LOAD:
                if offset + size > len(data):
                    raise NotElfError(f"it is cut off: {len(data)} bytes are left of a larger file")
                self._loads.append((address, offset, size))
            elif kind == _DYNAMIC:
                dynamic = offset
        if dynamic is None or not self._loads:
            raise NotElfError("it has nothing for the loader to load")
        self._read(dynamic)

    def _read(self, dynamic: int) -> None:
        tags = list(self._dynamic(dynamic))
        self._values = dict(tags)
        budget = _Budget()
        self.needed = [self._text(value, budget) for tag, value in tags if tag == _NEEDED]
        self.soname, self.rpath, self.runpath = (
            self._text(self._values[tag], budget) if tag in self._values else None
            for tag in (_SONAME, _RPATH, _RUNPATH)
        )

    def _dynamic(self, at: int) -> Iterator[tuple[int, int]]:
        """Yield the entries (tag, value) of the dynamic section."""
        for _ in range(_MOST_TAGS):
            tag, value = self._unpack(_TAG, at)
            if tag == 0:
                return
            yield tag, value
            at += _TAG.size
        raise ElfError("its dynamic section has no end")

    def section(self, name: str) -> tuple[int, int] | None:
        """Return where a section begins and ends (file offsets), or None.

        Raises:
            ElfError: the section headers are damaged, or it lies past the end of the file.
        """
        try:
            found = ELFFile(BoundedStream(self._data)).get_section_by_name(name)
        except Exception as error:  # on damaged files pyelftools raises whatever comes
            raise ElfError(f"its section headers are damaged ({type(error).__name__}: {error})") from error
        if found is None:
            return None
        start, size = found["sh_offset"], found["sh_size"]
        if start + size > len(self._data):
            raise ElfError(f"its section {name} lies past the end of the file")
        return start, start + size

    def gpu_code(self, data: Bytes | None = None) -> list[str]:
        """Return the targets of its GPU code: ``sm_90``, ``sm_100a``, ``compute_90`` (PTX).

        Code for a later link counts only where there is no other, as for cuobjdump.

        Args:
            data: another way to the same bytes.

        Raises:
            ElfError: the sections or the fat binaries in them are damaged.
        """
        place = self.section(".nv_fatbin") or self.section("__nv_relfatbin")
        try:
            return fatbin.targets(data or self._data, *place) if place else []
        except ElfError:
            raise
        except ValueError as error:
            raise ElfError(str(error)) from error

    def undefined(self) -> list[str]:
        """Return the symbols that other libraries must supply, in the file's order; weak ones need not be there.

        Raises:
            ElfError: the symbol table is damaged or too large.
        """
        return [name for _, name in self._undefined()]

    def _undefined(self) -> Iterator[tuple[int, str]]:
        budget = _Budget()
        for index in range(1, self._first_defined()):
            name, info, _other, section, _value, _size = self._symbol(index)
            if section == 0 and name and info >> 4 != _WEAK:
                yield index, self._text(name, budget)

    def bound(self, names: Iterable[str]) -> list[str]:
        """Return those of the undefined symbols that a relocation asks for, in the order in which the loader binds them.

        Raises:
            ElfError: the tables are damaged.
        """
        wanted = set(names)
        indices = {index: name for index, name in self._undefined() if name in wanted}
        return [indices[index] for index in dict.fromkeys(self._relocated()) if index in indices]

    def _relocated(self) -> Iterator[int]:
        """Yield the index of the symbol that each relocation asks for, in the loader's order; 0 is none."""
        for table, size in ((_RELA, _RELASZ), (_JMPREL, _PLTRELSZ)):
            count = self._values.get(size, 0) // _RELOCATION.size
            if table not in self._values or not count:
                continue
            if count > _MOST_RELOCATIONS:
                raise ElfError(f"it says that it has {count} relocations, more than any library")
            start = self._offset(self._values[table])
            end = start + count * _RELOCATION.size
            if end > len(self._data):
                raise ElfError("its tables lie past the end of the file")
            for at in range(start, end, _PIECE):
                for _where, info, _addend in _RELOCATION.iter_unpack(self._data[at : min(at + _PIECE, end)]):
                    yield info >> 32

    def exports(self, name: bytes, hashed: int) -> bool:
        """Return whether the library supplies a symbol, found through its hash table as the loader does.

        Args:
            name: the mangled name.
            hashed: its `gnu_hash`, reckoned once for all libraries.

        Raises:
            ElfError: the tables are damaged.
        """
        candidates = self._gnu_candidates(hashed) if self._gnu else self._system_v_candidates(name)
        return any(self._is_exported(index, name) for index in candidates)

    @cached_property
    def versions_needed(self) -> dict[str, list[str]]:
        """Return library -> symbol versions that it must define, such as ``libc.so.6 -> [GLIBC_2.14]``; weak ones not.

        The order is the file's, in which the loader looks for them.

        Raises:
            ElfError: the table is damaged.
        """
        found: dict[str, list[str]] = {}
        budget, left = _Budget(), _MOST_VERSIONS
        for at in self._chain(_VERNEED, _VERNEEDNUM, _VERSION_NEEDED, 4):
            _version, count, library, auxiliary, _next = self._unpack(_VERSION_NEEDED, at)
            names, here = found.setdefault(self._text(library, budget), []), at + auxiliary
            left -= count
            if left < 0:
                raise ElfError("its table of versions has no end")
            for _ in range(count):
                _hash, flags, _other, name, step = self._unpack(_VERSION_NEEDED_NAME, here)
                if not flags & 2:  # VER_FLG_WEAK
                    names.append(self._text(name, budget))
                if not step:
                    break
                here += step
        return found

    @cached_property
    def versions_defined(self) -> list[str]:
        """Return the symbol versions that the library defines.

        Raises:
            ElfError: the table is damaged.
        """
        names, budget = set(), _Budget()
        for at in self._chain(_VERDEF, _VERDEFNUM, _VERSION_DEFINED, 6):
            auxiliary = self._unpack(_VERSION_DEFINED, at)[5]
            names.add(self._text(self._unpack(_PAIR, at + auxiliary)[0], budget))
        return sorted(names)

    def _chain(self, table: int, number: int, layout: struct.Struct, step: int) -> Iterator[int]:
        if table not in self._values:
            return
        at = self._offset(self._values[table])
        for _ in range(min(self._values.get(number, 0), _MOST_VERSIONS)):
            yield at
            at += self._unpack(layout, at)[step]

    def _system_v_candidates(self, name: bytes) -> Iterator[int]:
        """Yield the indices of symbols in the same bucket of the older hash table."""
        if _HASH not in self._values:
            return
        value = 0
        for byte in name:
            value = (value << 4) + byte
            value = (value ^ ((value & 0xF0000000) >> 24)) & 0x0FFFFFFF
        at = self._offset(self._values[_HASH])
        buckets, symbols = self._unpack(_PAIR, at)
        index = self._word(at + 8 + 4 * (value % buckets)) if buckets else 0
        for _ in range(_LONGEST_CHAIN):
            if not 0 < index < symbols:
                return
            yield index
            index = self._word(at + 8 + 4 * (buckets + index))
        raise ElfError("its hash table is damaged")

    def _gnu_candidates(self, value: int) -> Iterator[int]:
        """Yield the indices of symbols with that hash."""
        at, buckets, first, words, shift = self._gnu or (0, 1, 0, 1, 0)
        (bloom,) = self._unpack(_LONG, at + 16 + 8 * ((value // 64) % words))
        if not (bloom >> (value % 64)) & (bloom >> ((value >> shift) % 64)) & 1:
            return
        index = self._word(at + 16 + 8 * words + 4 * (value % buckets))
        if index < first:
            return
        chain = at + 16 + 8 * words + 4 * buckets
        for _ in range(_LONGEST_CHAIN):
            found = self._word(chain + 4 * (index - first))
            if found | 1 == value | 1:
                yield index
            if found & 1:
                return
            index += 1
        raise ElfError("its hash table is damaged")

    @cached_property
    def _gnu(self) -> tuple[int, int, int, int, int] | None:
        """Return offset, buckets, first hashed symbol, bloom words and shift of the GNU hash table, or None."""
        if _GNU_HASH not in self._values:
            return None
        at = self._offset(self._values[_GNU_HASH])
        buckets, first, words, shift = self._unpack(_FOUR, at)
        if not buckets or not words:
            raise ElfError("its hash table is damaged")
        return at, buckets, first, words, shift

    def _first_defined(self) -> int:
        """Return the index from which all symbols are defined: the hash table holds those alone."""
        if self._gnu:
            last = self._gnu[2]
        elif _HASH in self._values:
            last = self._word(self._offset(self._values[_HASH]) + 4)
        else:
            last = 0
        if last > _MOST_UNDEFINED:
            raise ElfError(f"it asks for {last} symbols, more than any library does")
        return last

    def _is_exported(self, index: int, name: bytes) -> bool:
        where, info, other, section, _value, _size = self._symbol(index)
        if section == 0 or info >> 4 not in _GNU_UNIQUE_OR_LESS or info >> 4 == 0 or other & 3 not in {0, 3}:
            return False
        start = self._strings + where
        return bytes(self._data[start : start + len(name) + 1]) == name + b"\0"

    def _symbol(self, index: int) -> tuple[int, ...]:
        return self._unpack(_SYMBOL, self._symbols + _SYMBOL.size * index)

    @cached_property
    def _symbols(self) -> int:
        return self._offset(self._values.get(_SYMTAB, 0))

    @cached_property
    def _strings(self) -> int:
        return self._offset(self._values.get(_STRTAB, 0))

    def _text(self, where: int) -> str:
        start = self._strings + where
        end = self._data.find(b"\0", start, start + _LONGEST_NAME)
        if end < 0:
            raise ElfError("its string table has no end")
        return bytes(self._data[start:end]).decode("utf-8", "replace")

    def _offset(self, address: int) -> int:
        """Return where in the file an address of the loaded library lies."""
        for start, offset, size in self._loads:
            if start <= address < start + size:
                return int(address - start + offset)
        raise ElfError(f"its tables point to the address {address:#x}, which is not in the file")

    def _word(self, at: int) -> int:
        return int(self._unpack(_WORD, at)[0])

    def _unpack(self, layout: struct.Struct, at: int) -> tuple[int, ...]:
        try:
            return layout.unpack_from(self._data, at)
        except (struct.error, ValueError):
            raise ElfError("its tables lie past the end of the file") from None


def gnu_hash(name: bytes) -> int:
    """Return a symbol name's hash in the GNU hash table (Bernstein's, times 33)."""
    value = 5381
    for byte in name:
        value = (value * 33 + byte) & 0xFFFFFFFF
    return value
