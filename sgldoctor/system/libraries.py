"""Shared libraries as this machine's loader would meet them; each file is opened once and read in place."""

from __future__ import annotations

import os
import re
from mmap import ACCESS_READ, mmap
from typing import TYPE_CHECKING, Any

from sgldoctor.binary import ldcache
from sgldoctor.binary.elf import Elf, ElfError, NotElfError, OtherClassError, gnu_hash
from sgldoctor.binary.stream import FileWindow

if TYPE_CHECKING:
    from collections.abc import Callable

_LARGEST_CACHE = 16 << 20  # bytes; a desktop's with 3,000 libraries has 200,000


class Libraries:
    """The libraries that were asked for, by their paths.

    Args:
        open_file: returns a descriptor of a regular file, or raises OSError.
    """

    def __init__(self, open_file: Callable[[str], int]) -> None:
        self._open_file = open_file
        self._read: dict[str, Elf] = {}
        self._caches: dict[tuple[str, str], dict[str, list[str]]] = {}

    def library(self, path: str) -> dict[str, Any]:
        """Return what a library says of itself; of a file that the loader refuses too, ``{problem}`` alone.

        Of a file of another word size, which the loader passes over, ``machine`` is ``other``.
        """
        try:
            elf = self._elf(path)
            needed, defined = elf.versions_needed, elf.versions_defined
        except OtherClassError as error:
            return {"problem": str(error), "machine": "other"}
        except NotElfError as error:
            return {"problem": str(error)}
        except ElfError as error:
            raise _unreadable(path, error) from error
        return {
            "machine": elf.machine, "soname": elf.soname, "needed": elf.needed, "rpath": elf.rpath,
            "runpath": elf.runpath, "versions_needed": needed, "versions_defined": defined,
        }  # fmt: skip

    def undefined(self, path: str, pattern: str) -> list[str]:
        """Return the symbols that a library asks for and whose names match a pattern."""
        wanted = re.compile(pattern)
        try:
            return [name for name in self._elf(path).undefined() if wanted.search(name)]
        except ElfError as error:
            raise _unreadable(path, error) from error

    def unresolved(self, path: str, libraries: list[str], pattern: str) -> list[str]:
        """Return the symbols that a library asks for, that match a pattern, and that none of the others exports.

        The order is the one in which the loader would find out.
        """
        missing = {name: (encoded := name.encode(), gnu_hash(encoded)) for name in self.undefined(path, pattern)}
        for other in libraries:
            if not missing:
                return []
            try:
                elf = self._elf(other)
                missing = {name: wanted for name, wanted in missing.items() if not elf.exports(*wanted)}
            except ElfError as error:
                raise _unreadable(other, error) from error
        try:
            return self._elf(path).bound(missing) if missing else []
        except ElfError as error:
            raise _unreadable(path, error) from error

    def gpu_code(self, path: str) -> list[str]:
        """Return the targets of the GPU code in a library, such as ``[sm_90a, compute_90]``."""
        try:
            elf = self._elf(path)
            with os.fdopen(self._open_file(path), "rb") as file:
                return elf.gpu_code(FileWindow(file.fileno()))
        except ElfError as error:
            raise _unreadable(path, error) from error

    def cached(self, path: str, name: str, machine: str) -> list[str]:
        """Return where the loader's cache says that a library lies."""
        key = (path, machine)
        if key not in self._caches:
            with os.fdopen(self._open_file(path), "rb") as file:
                data = file.read(_LARGEST_CACHE)
            try:
                self._caches[key] = ldcache.parse(data, machine)
            except ValueError as error:
                raise OSError(f"{path}: {error}") from error
        return self._caches[key].get(name, [])

    def _elf(self, path: str) -> Elf:
        if path not in self._read:
            with os.fdopen(self._open_file(path), "rb") as file:
                if not os.fstat(file.fileno()).st_size:
                    raise NotElfError("it is empty")
                data = mmap(file.fileno(), 0, access=ACCESS_READ)
            self._read[path] = Elf(data)
        return self._read[path]


def _unreadable(path: str, error: ElfError) -> OSError:
    return OSError(f"{os.path.basename(path)}: {error}")
