"""One shared library in words that a user asks with: which torch, which CUDA, which GPUs, which system."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from sgldoctor.binary.elf import Elf, ElfError
from sgldoctor.binary.symbols import OF_TORCH, OLD_STRING
from sgldoctor.rules.knowledge import torch_exporting

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sgldoctor.binary.stream import Buffer

_OF_TORCH = re.compile(OF_TORCH)
_CUDART = re.compile(r"^libcudart\.so\.(\d+)")
_CUDA_LIBRARY = re.compile(r"^lib(?:cublas|cublasLt|cudart|nvrtc|nvJitLink)\.so\.(\d+)$")
_CXX11 = "NSt7__cxx11"  # std::__cxx11 in a mangled name
_OLD = re.compile(OLD_STRING)
_FOR_PYTHON = re.compile(r"\.cpython-(\d)(\d+)")
_SYSTEM = re.compile(r"^(?:lib(?:c|m|dl|rt|pthread|util)\.so|ld-linux)")


@dataclass(frozen=True, slots=True)
class Library:
    """What one file says of itself; None where it does not say, or could not be read (``problem`` says why)."""

    file: str
    problem: str | None = None
    machine: str | None = None
    soname: str | None = None
    needed: tuple[str, ...] = ()
    cuda: str | None = None
    torch: tuple[str, ...] | None = None
    cxx_abi: str | None = None
    glibc: str | None = None
    glibcxx: str | None = None
    gpu_code: tuple[str, ...] = ()
    python: str | None = None
    missing: tuple[str, ...] | None = None
    resolved: tuple[tuple[str, str], ...] | None = None

    @property
    def is_plain(self) -> bool:
        """Nobody who asks about SGLang needs to read of it: no GPU code, nothing of torch or CUDA, nothing wrong."""
        asks = any(name.startswith(("libtorch", "libc10", "libcu")) for name in self.needed)
        return not (self.problem or self.missing or self.gpu_code or asks)


def describe(file: str, data: Buffer) -> Library:
    """Return what a library says; a file that cannot be read gives its problem.

    Args:
        file: the name to show.
        data: its bytes.
    """
    try:
        elf = Elf(data)
        undefined = elf.undefined()
        versions = elf.versions_needed
        cuda = next((m[1] for name in elf.needed for p in (_CUDART, _CUDA_LIBRARY) if (m := p.match(name))), None)
        fitting = torch_exporting([name for name in undefined if _OF_TORCH.match(name)], cuda)
        match = _FOR_PYTHON.search(file)
        found = Library(
            file,
            machine=elf.machine,
            soname=elf.soname,
            needed=tuple(name for name in elf.needed if not _SYSTEM.match(name)),
            cuda=cuda,
            torch=None if fitting is None else tuple(fitting),
            cxx_abi=_abi(undefined),
            glibc=_highest("GLIBC_", versions),
            glibcxx=_highest("GLIBCXX_", versions),
            python=f"{match[1]}.{match[2]}" if match else None,
        )
        return replace(found, gpu_code=tuple(elf.gpu_code()))
    except ElfError as error:
        return Library(file, problem=str(error))


def _abi(undefined: Iterable[str]) -> str | None:
    """Return ``cxx11`` or ``old``, by how the symbols that are asked for pass strings; None where none does."""
    names = list(undefined)
    if any(_CXX11 in name for name in names):
        return "cxx11"
    return "old" if any(_OLD.search(name) for name in names) else None


def _highest(prefix: str, versions: dict[str, list[str]]) -> str | None:
    numbers = [
        [int(part) for part in name.removeprefix(prefix).split(".")]
        for names in versions.values()
        for name in names
        if re.fullmatch(rf"{prefix}[\d.]+", name)
    ]
    return ".".join(map(str, max(numbers))) if numbers else None
