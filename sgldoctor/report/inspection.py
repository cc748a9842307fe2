"""What was found in libraries, as text or as JSON."""

from __future__ import annotations

import json
from functools import partial
from typing import TYPE_CHECKING, Any

from sgldoctor.gpu_code import running
from sgldoctor.report.entry import entry
from sgldoctor.rules.knowledge import package_of_library, serves_some_gpus, torch_span

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sgldoctor.inspection.describe import Library
    from sgldoctor.rules.knowledge import GpuModel

SCHEMA_VERSION = 1
_entry = partial(entry, indent=14)
_MOST_NAMES = 6


def as_json(source: str, libraries: list[Library], gpus: list[GpuModel], version: str) -> str:
    """Return the JSON document that ``schemas/inspect.schema.json`` describes."""
    document = {
        "schema_version": SCHEMA_VERSION,
        "tool": {"version": version},
        "source": source,
        "libraries": [_record(library, gpus) for library in libraries],
    }
    return json.dumps(document, indent=1, ensure_ascii=False) + "\n"


def _record(library: Library, gpus: list[GpuModel]) -> dict[str, Any]:
    return {
        "file": library.file, "problem": library.problem, "machine": library.machine, "soname": library.soname,
        "needed": list(library.needed), "missing": None if library.missing is None else list(library.missing),
        "resolved": None if library.resolved is None else dict(library.resolved),
        "torch": None if library.torch is None else list(library.torch), "cuda": library.cuda,
        "cxx_abi": library.cxx_abi, "glibc": library.glibc, "glibcxx": library.glibcxx, "python": library.python,
        "gpu_code": list(library.gpu_code),
        "gpus": [
            {"name": gpu.name, "capability": gpu.capability, "code": running(list(library.gpu_code), gpu.capability)}
            for gpu in gpus
        ],
    }  # fmt: skip


def lines(library: Library, gpus: list[GpuModel], width: int) -> Iterator[tuple[str, str]]:
    """Yield the lines about one library, each with its style; what it says nothing of has no line."""
    yield library.file, "bold"
    if library.problem:
        yield from _entry("unreadable", library.problem, width, "red")
        return
    for gpu in gpus:
        yield from _on(library, gpu, width)
    if library.missing:
        yield from _entry("missing", _listed(library.missing), width, "red")
    elif library.missing is not None:
        yield from _entry("missing", "nothing", width, "green")
    if library.gpu_code:
        yield from _entry("GPU code", " ".join(library.gpu_code), width, "")
    if library.torch is not None:
        none = "no release from 2.5 on exports all that it asks for"
        yield from _entry("torch", f"fits {torch_span(library.torch)}" if library.torch else none, width, "")
    for label, value in (
        ("CUDA", library.cuda),
        ("C++ ABI", library.cxx_abi),
        ("needs", ", ".join(library.needed)),
        ("glibc", f"{library.glibc} or newer" if library.glibc else None),
        ("libstdc++", f"GLIBCXX_{library.glibcxx} or newer" if library.glibcxx else None),
        ("CPU", library.machine),
        ("Python", f"CPython {library.python} alone" if library.python else None),
    ):
        if value:
            yield from _entry(label, value, width, "")


def _on(library: Library, gpu: GpuModel, width: int) -> Iterator[tuple[str, str]]:
    """Yield whether a library runs on a GPU."""
    code = running(list(library.gpu_code), gpu.capability)
    if not library.gpu_code:
        yield from _entry(gpu.name, "this file holds no GPU code", width, "")
    elif code:
        yield from _entry(gpu.name, f"yes, runs {code} (compute capability {gpu.capability})", width, "green")
    elif serves_some_gpus(library.file):
        yield from _entry(gpu.name, f"no code for {gpu.capability}; SGLang does not use this file there", width, "")
    else:
        yield from _entry(gpu.name, f"no, it holds no code for compute capability {gpu.capability}", width, "red")


def _listed(missing: tuple[str, ...]) -> str:
    """Return the first of what is missing; libraries go first, since the symbols follow from them."""
    libraries = [_with_package(name) for name in missing if ".so" in name]
    names = libraries or list(missing)
    more = len(names) - _MOST_NAMES
    return ", ".join(names[:_MOST_NAMES]) + (f" and {more} more" if more > 0 else "")


def _with_package(name: str) -> str:
    package = package_of_library(name, None)
    bringing = next((f"{kind} {package[kind]}" for kind in ("apt", "index") if package[kind]), None)
    return f"{name} ({bringing})" if bringing else name
