"""What an ELF shared library says of itself, read in place and never loaded.

pyelftools reads headers, segments and sections. The tables that the loader uses (dynamic section, symbols, hashes,
versions) are looked up where they lie: torch's 70,000 symbols read one by one would take ten seconds.
Layouts: System V ABI, chapters 4 and 5; the GNU hash table: https://sourceware.org/ml/binutils/2006-10/msg00377.html
"""

from __future__ import annotations

import struct
from functools import cached_property
from typing import TYPE_CHECKING

from elftools.common.utils import struct_parse
from elftools.elf.elffile import ELFFile
from elftools.elf.enums import ENUM_D_TAG

from sgldoctor.binary import fatbin
from sgldoctor.binary.stream import BoundedStream

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from sgldoctor.binary.stream import Buffer, Bytes

_MACHINES = {"EM_X86_64": "x86_64", "EM_AARCH64": "aarch64", "EM_386": "i386", "EM_PPC64": "ppc64le"}
_LONGEST_NAME = 1 << 16  # bytes; the longest symbol of torch 2.15 has 5,100
_MOST_UNDEFINED = 1 << 18  # symbols; libtorch_cuda.so of 2.15 asks for 14,000
_LONGEST_CHAIN = 1 << 12  # entries of one hash bucket; torch's longest has 9
_MOST_VERSIONS = 1 << 10
_MOST_TAGS = 1 << 12  # entries of the dynamic section; libtorch_cuda.so has 50
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
_WORD, _PAIR, _FOUR, _LONG = struct.Struct("<I"), struct.Struct("<II"), struct.Struct("<IIII"), struct.Struct("<Q")
_VERSION_NEEDED, _VERSION_NEEDED_NAME = struct.Struct("<HHIII"), struct.Struct("<IHHII")
_VERSION_DEFINED = struct.Struct("<HHHHIII")
_WEAK, _GNU_UNIQUE_OR_LESS = 2, {0, 1, 2, 10}


class ElfError(ValueError):
    """The file cannot be read as a shared library; the text says why."""


class NotElfError(ElfError):
    """The file is none, or of another class: the loader refuses it too."""


class Elf:
    """A 64-bit little-endian ELF file in a buffer, which must outlive it.

    Raises:
        ElfError: it is no ELF file, of another class or byte order, or damaged.
    """

    def __init__(self, data: Buffer) -> None:
        self._data = data
        if bytes(data[:4]) != b"\x7fELF":
            raise NotElfError("it is no ELF file" if len(data) >= 4 else "it is too short for an ELF file")
        if bytes(data[4:6]) != b"\x02\x01":
            raise NotElfError("it is no 64-bit little-endian ELF file")
        if len(data) < 64:
            raise NotElfError("it is cut off within its header")
        try:
            self._read(ELFFile(BoundedStream(data)))
        except ElfError:
            raise
        except Exception as error:  # noqa: BLE001 - on damaged files pyelftools raises whatever comes
            raise ElfError(f"its headers are damaged ({type(error).__name__}: {error})") from error

    def _read(self, file: ELFFile) -> None:
        self._file = file
        header = file.header
        self.machine = _MACHINES.get(header.e_machine, str(header.e_machine))
        self._loads: list[tuple[int, int, int]] = []
        dynamic = 0
        for index in range(header.e_phnum):
            segment = struct_parse(file.structs.Elf_Phdr, file.stream, header.e_phoff + index * header.e_phentsize)
            if segment.p_type == "PT_LOAD":
                self._loads.append((segment.p_vaddr, segment.p_offset, segment.p_filesz))
            elif segment.p_type == "PT_DYNAMIC":
                dynamic = segment.p_offset
        tags = list(self._dynamic(dynamic)) if dynamic else []
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
        try:
            found = self._file.get_section_by_name(name)
        except Exception as error:  # noqa: BLE001 - as above
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
        for index in range(1, self._first_defined()):
            name, info, _other, section, _value, _size = self._symbol(index)
            if section == 0 and name and info >> 4 != _WEAK:
                yield index, self._text(name)

    def bound(self, names: Iterable[str]) -> list[str]:
        """Return those of the undefined symbols that a relocation asks for, in the order in which the loader binds them.

        Raises:
            ElfError: the tables are damaged.
        """
        wanted, found = set(names), {}
        indices = {index: name for index, name in self._undefined() if name in wanted}
        for table, size in ((_RELA, _RELASZ), (_JMPREL, _PLTRELSZ)):
            if table not in self._values:
                continue
            start = self._offset(self._values[table])
            data = self._data[start : start + self._values.get(size, 0) // _RELOCATION.size * _RELOCATION.size]
            for _where, info, _addend in _RELOCATION.iter_unpack(data):
                if info >> 32 in indices:
                    found.setdefault(indices[info >> 32])
        return list(found)

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

        Raises:
            ElfError: the table is damaged.
        """
        found: dict[str, list[str]] = {}
        for at in self._chain(_VERNEED, _VERNEEDNUM, _VERSION_NEEDED, 4):
            _version, count, library, auxiliary, _next = self._unpack(_VERSION_NEEDED, at)
            names, here = found.setdefault(self._text(library), []), at + auxiliary
            for _ in range(min(count, _MOST_VERSIONS)):
                _hash, flags, _other, name, step = self._unpack(_VERSION_NEEDED_NAME, here)
                if not flags & 2:  # VER_FLG_WEAK
                    names.append(self._text(name))
                here += step
        return {library: sorted(names) for library, names in found.items()}

    @cached_property
    def versions_defined(self) -> list[str]:
        """Return the symbol versions that the library defines.

        Raises:
            ElfError: the table is damaged.
        """
        names = set()
        for at in self._chain(_VERDEF, _VERDEFNUM, _VERSION_DEFINED, 6):
            auxiliary = self._unpack(_VERSION_DEFINED, at)[5]
            names.add(self._text(self._unpack(_PAIR, at + auxiliary)[0]))
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
