"""What an ELF shared library says of itself, read in place and never loaded.

Every table is looked up where it lies, and as the loader does: by segments and the dynamic section. Sections, which the
loader never looks at, only tell where the GPU code is. Making an object of each symbol is what costs: pyelftools
took 0.61 s for the 4,742 of common_ops 0.3.15, and libtorch_cpu.so of torch 2.15.0 has 75,939.
The figures beside the limits below were measured in the libraries of torch 2.15.0.
Layouts: System V ABI, chapters 4 and 5; the GNU hash table: https://sourceware.org/ml/binutils/2006-10/msg00377.html
"""

from __future__ import annotations

import struct
from functools import cached_property
from typing import TYPE_CHECKING

from sgldoctor.binary import fatbin

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from sgldoctor.binary.stream import Buffer, Bytes

_MACHINES = {3: "i386", 21: "ppc64le", 22: "s390x", 62: "x86_64", 183: "aarch64", 243: "riscv64", 258: "loongarch64"}
_LONGEST_NAME = 1 << 16  # bytes; the longest symbol has 1,995 (libtorch_cuda.so)
_MOST_TEXT = 1 << 25  # bytes of names of one table; libtorch_python.so has 361,388 of undefined names
_MOST_UNDEFINED = 1 << 18  # symbols; libtorch_python.so asks for 6,007
_MOST_RELOCATIONS = 1 << 22  # libcublasLt.so.13 has 348,163
_LONGEST_CHAIN = 1 << 12  # entries of one hash bucket; the longest has 9 (libtorch_cpu.so)
_MOST_STEPS = 1 << 22  # entries looked at in all
_MOST_VERSIONS = 1 << 10
_MOST_TAGS = 1 << 12  # entries of the dynamic section; libtorch_cuda.so has 47
_HEADER, _SEGMENT = struct.Struct("<16sHHIQQQIHHHHHH"), struct.Struct("<IIQQQQQQ")
_SECTIONS, _SECTION = struct.Struct("<Q10xHHH"), struct.Struct("<IIQQQQIIQQ")
_NO_BITS, _ELSEWHERE, _MOST_SECTIONS = 8, 0xFFFF, 1 << 16  # SHT_NOBITS, SHN_XINDEX
_PROGRAM, _LIBRARY = 2, 3  # ET_EXEC and ET_DYN
_LOAD, _DYNAMIC = 1, 2  # PT_LOAD and PT_DYNAMIC
_TAG = struct.Struct("<QQ")
_NEEDED, _PLTRELSZ, _HASH, _STRTAB, _SYMTAB, _RELA, _RELASZ, _SONAME, _RPATH, _JMPREL, _RUNPATH = (
    1, 2, 4, 5, 6, 7, 8, 14, 15, 23, 29,
)  # fmt: skip
_GNU_HASH, _VERDEF, _VERNEED = 0x6FFFFEF5, 0x6FFFFFFC, 0x6FFFFFFE
_SYMBOL = struct.Struct("<IBBHQQ")
_RELOCATION = struct.Struct("<QQq")
_PIECE = 4096 * _RELOCATION.size
_WORD, _PAIR, _FOUR, _LONG = struct.Struct("<I"), struct.Struct("<II"), struct.Struct("<IIII"), struct.Struct("<Q")
_VERSION_NEEDED, _VERSION_NEEDED_NAME = struct.Struct("<HHIII"), struct.Struct("<IHHII")
_VERSION_DEFINED = struct.Struct("<HHHHIII")
# what the loader takes from a symbol table: glibc's elf/dl-lookup.c, check_match and do_lookup_x
_WEAK, _GLOBAL_WEAK_UNIQUE, _DEFAULT_PROTECTED = 2, {1, 2, 10}, {0, 3}
_TAKEN = {0, 1, 2, 5, 6, 10}  # STT_NOTYPE, OBJECT, FUNC, COMMON, TLS and GNU_IFUNC
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
        self._steps, self._left = _MOST_STEPS, _MOST_TEXT
        if len(data) < _HEADER.size:
            raise NotElfError("it is cut off within its header" if data[:4] == b"\x7fELF" else "it is no ELF file")
        ident, kind, machine, _, _, start, _, _, _, size, count, *_sections = _HEADER.unpack_from(data)
        if ident[:4] != b"\x7fELF":
            raise NotElfError("it is no ELF file")
        if ident[4] != 2:
            raise OtherClassError("it is no 64-bit file")
        if ident[5:7] != b"\x01\x01" or ident[7] not in {0, 3}:  # little-endian, version 1, for System V or Linux
            raise NotElfError("it is no little-endian ELF file for Linux")
        if kind not in {_PROGRAM, _LIBRARY} or size != _SEGMENT.size:
            raise NotElfError("it is an ELF file, but no shared library")
        self.machine = _MACHINES.get(machine, f"machine {machine}")
        self._loads: list[tuple[int, int, int]] = []
        dynamic = self._segments(start, count)
        if dynamic is None or not self._loads:
            raise NotElfError("it has nothing for the loader to load")
        self._read(dynamic)

    def _segments(self, start: int, count: int) -> int | None:
        """Note what is loaded, and return the address of the dynamic section."""
        dynamic = None
        for index in range(count):
            kind, _, offset, address, _, size, *_ = self._unpack(_SEGMENT, start + index * _SEGMENT.size)
            if kind == _LOAD:
                if offset + size > len(self._data):
                    raise NotElfError(f"it is cut off: {len(self._data)} bytes are left of a larger file")
                self._loads.append((address, offset, size))
            elif kind == _DYNAMIC:
                dynamic = address
        return dynamic

    def _read(self, dynamic: int) -> None:
        tags = list(self._dynamic(self._offset(dynamic)))
        self._values = dict(tags)
        self.needed = [self._text(value) for tag, value in tags if tag == _NEEDED]
        self.soname, self.rpath, self.runpath = (
            self._text(self._values[tag]) if tag in self._values else None for tag in (_SONAME, _RPATH, _RUNPATH)
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
        start, size, count, texts = _SECTIONS.unpack_from(self._data, 40)
        if not start or not texts:
            return None
        if size != _SECTION.size:
            raise ElfError("its section headers are damaged")
        first = self._unpack(_SECTION, start)  # it holds what the header is too small for
        count, texts = count or first[5], first[6] if texts == _ELSEWHERE else texts
        if count > _MOST_SECTIONS:
            raise ElfError(f"it says that it has {count} sections, more than any library")
        names = self._unpack(_SECTION, start + texts * size)[4]
        wanted = name.encode() + b"\0"
        for at in range(start, start + count * size, size):
            where, kind, _, _, offset, length, *_ = self._unpack(_SECTION, at)
            if kind != _NO_BITS and self._data[names + where : names + where + len(wanted)] == wanted:
                if offset + length > len(self._data):
                    raise ElfError(f"its section {name} lies past the end of the file")
                return offset, offset + length
        return None

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
        self._left = _MOST_TEXT
        for index in range(1, self._first_defined()):
            name, info, _other, section, _value, _size = self._symbol(index)
            if section == 0 and name and info >> 4 != _WEAK:
                yield index, self._text(name)

    def bound(self, names: Iterable[str]) -> list[str]:
        """Return those of the undefined symbols that a relocation asks for, in the order of their binding.

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
            start = self._table(table) if count else None
            if start is None:
                continue
            if count > _MOST_RELOCATIONS:
                raise ElfError(f"it says that it has {count} relocations, more than any library")
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
        """Return library -> symbol versions that it must define: ``libc.so.6 -> [GLIBC_2.14]``; weak ones not.

        The order is the file's, in which the loader looks for them.

        Raises:
            ElfError: the table is damaged.
        """
        found: dict[str, list[str]] = {}
        self._left = _MOST_TEXT
        for at in self._chain(self._table(_VERNEED), _VERSION_NEEDED):
            _version, _count, library, auxiliary, _next = self._unpack(_VERSION_NEEDED, at)
            names = found.setdefault(self._text(library), [])
            for here in self._chain(at + auxiliary, _VERSION_NEEDED_NAME):
                _hash, flags, _other, name, _next = self._unpack(_VERSION_NEEDED_NAME, here)
                if not flags & 2:  # VER_FLG_WEAK
                    names.append(self._text(name))
        return found

    @cached_property
    def versions_defined(self) -> list[str]:
        """Return the symbol versions that the library defines.

        Raises:
            ElfError: the table is damaged.
        """
        self._left, names = _MOST_TEXT, set()
        for at in self._chain(self._table(_VERDEF), _VERSION_DEFINED):
            auxiliary = self._unpack(_VERSION_DEFINED, at)[5]
            names.add(self._text(self._unpack(_PAIR, at + auxiliary)[0]))
        return sorted(names)

    def _chain(self, at: int | None, layout: struct.Struct) -> Iterator[int]:
        """Yield the offsets of entries whose last number is the distance to the next one; 0 ends them."""
        if at is None:
            return
        for _ in range(_MOST_VERSIONS):
            yield at
            step = self._unpack(layout, at)[-1]
            if not step:
                return
            at += step
        raise ElfError("its table of versions has no end")

    def _table(self, tag: int) -> int | None:
        """Return where in the file a table lies that the dynamic section names, or None."""
        return self._offset(self._values[tag]) if tag in self._values else None

    def _system_v_candidates(self, name: bytes) -> Iterator[int]:
        """Yield the indices of symbols in the same bucket of the older hash table."""
        at = self._table(_HASH)
        if at is None:
            return
        value = 0
        for byte in name:
            value = (value << 4) + byte
            value = (value ^ ((value & 0xF0000000) >> 24)) & 0x0FFFFFFF
        buckets, symbols = self._unpack(_PAIR, at)
        index = self._word(at + 8 + 4 * (value % buckets)) if buckets else 0
        for _ in range(_LONGEST_CHAIN):
            if not 0 < index < symbols:
                return
            self._step()
            yield index
            index = self._word(at + 8 + 4 * (buckets + index))
        raise ElfError("its hash table is damaged")

    def _step(self) -> None:
        self._steps -= 1
        if self._steps < 0:
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
            self._step()
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
        at = self._table(_GNU_HASH)
        if at is None:
            return None
        buckets, first, words, shift = self._unpack(_FOUR, at)
        if not buckets or not words:
            raise ElfError("its hash table is damaged")
        return at, buckets, first, words, shift

    def _first_defined(self) -> int:
        """Return an index below which all undefined symbols stand: the hash table of the GNU kind holds none."""
        at = self._table(_HASH)
        table, buckets, first, words, _shift = self._gnu or (0, 0, 0, 0, 0)
        # GNU ld writes an empty table with one empty bucket and a first symbol that means nothing.
        if buckets > 1 or (buckets and self._word(table + 16 + 8 * words)):
            last = first
        elif at is not None:
            last = self._word(at + 4)
        else:  # no table tells how many symbols there are
            last = max(self._relocated(), default=-1) + 1
        if last > _MOST_UNDEFINED:
            raise ElfError(f"it asks for {last} symbols, more than any library does")
        return last

    def _is_exported(self, index: int, name: bytes) -> bool:
        where, info, other, section, value, _size = self._symbol(index)
        binding, kind = info >> 4, info & 15
        if section == 0 or (value == 0 and section != _ABSOLUTE and kind != _TLS):
            return False
        if binding not in _GLOBAL_WEAK_UNIQUE or kind not in _TAKEN or other & 3 not in _DEFAULT_PROTECTED:
            return False
        start = self._strings + where
        return bytes(self._data[start : start + len(name) + 1]) == name + b"\0"

    def _symbol(self, index: int) -> tuple[int, ...]:
        return self._unpack(_SYMBOL, self._symbols + _SYMBOL.size * index)

    @cached_property
    def _symbols(self) -> int:
        return self._required(_SYMTAB)

    @cached_property
    def _strings(self) -> int:
        return self._required(_STRTAB)

    def _required(self, tag: int) -> int:
        if (at := self._table(tag)) is None:
            raise ElfError("its dynamic section names no symbols")
        return at

    def _text(self, where: int) -> str:
        start = self._strings + where
        end = self._data.find(b"\0", start, start + _LONGEST_NAME) if start < len(self._data) else -1
        if end < 0:
            raise ElfError("its string table has no end")
        self._left -= end - start  # names may overlap, and be far more than the file
        if self._left < 0:
            raise ElfError("its names are longer than any library's")
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
        except (struct.error, OverflowError):
            raise ElfError("its tables lie past the end of the file") from None


def gnu_hash(name: bytes) -> int:
    """Return a symbol name's hash in the GNU hash table (Bernstein's, times 33)."""
    value = 5381
    for byte in name:
        value = (value * 33 + byte) & 0xFFFFFFFF
    return value
