"""Which released kernels hold code for which GPUs, as a table."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sgldoctor.gpu_code import running
from sgldoctor.rules.knowledge import kernel_gpu_code, kernel_releases, kernel_window

if TYPE_CHECKING:
    from sgldoctor.rules.knowledge import GpuModel


@dataclass(frozen=True, slots=True)
class Row:
    """One release, or several in a row that are alike, for one CPU architecture."""

    package: str
    first: str
    last: str
    arch: str
    torch: str | None
    code: tuple[str | None, ...]
    wheel: bool = True


def rows(gpus: list[GpuModel], versions: list[str], archs: list[str]) -> list[Row]:
    """Return the table: per row the code that each GPU would run, None where the wheel holds none for it.

    Args:
        gpus: the columns.
        versions: the releases, each a row of its own; empty means all, those that are alike in one row.
        archs: CPU architectures.
    """
    found: list[Row] = []
    for arch in archs:
        for package, version in kernel_releases():
            targets = kernel_gpu_code(package, version, arch)
            if (targets is None and not versions) or (versions and version not in versions):
                continue
            window = kernel_window(package, version)
            code = tuple(running(targets or [], gpu.capability) for gpu in gpus)
            torch = str(window["torch"]) if window else None
            row = Row(package, version, version, arch, torch, code, targets is not None)
            last = found[-1] if found and not versions else None
            if last and (last.package, last.arch, last.torch, last.code) == (package, arch, row.torch, code):
                found[-1] = Row(package, last.first, version, arch, row.torch, code)
            else:
                found.append(row)
    return found


def as_text(table: list[Row], gpus: list[GpuModel]) -> str:
    """Return the table in columns; a cell names the code that runs, ``-`` means none."""
    head = ("kernels", "CPU", "torch", *(f"{gpu.name.removeprefix('NVIDIA ')} ({gpu.capability})" for gpu in gpus))
    body = [(_span(row), row.arch, row.torch or "?", *_cells(row)) for row in table]
    widths = [max(len(line[column]) for line in (head, *body)) for column in range(len(head))]
    lines = ("  ".join(f"{cell:<{width}}" for cell, width in zip(line, widths, strict=True)) for line in (head, *body))
    return "".join(f"{line.rstrip()}\n" for line in lines)


def as_json(table: list[Row], gpus: list[GpuModel]) -> str:
    """Return the table as a JSON list."""
    document = [
        {
            "package": row.package, "since": row.first, "until": row.last, "arch": row.arch, "torch": row.torch,
            "wheel": row.wheel,
            "gpus": [
                {"name": gpu.name, "capability": gpu.capability, "code": code}
                for gpu, code in zip(gpus, row.code, strict=True)
            ],
        }
        for row in table
    ]  # fmt: skip
    return json.dumps(document, indent=1, ensure_ascii=False) + "\n"


def _cells(row: Row) -> list[str]:
    return [(code or "-") if row.wheel else "no wheel" for code in row.code]


def _span(row: Row) -> str:
    return f"{row.package} {row.first}" + (f" to {row.last}" if row.last != row.first else "")
