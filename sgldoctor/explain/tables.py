"""What the tables know of the things that a text names: symbols, libraries, flags, variables, GPUs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sgldoctor.explain import names
from sgldoctor.rules import knowledge

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from sgldoctor.snapshot import Snapshot


def added(captures: Mapping[str, str], snapshot: Snapshot) -> dict[str, str]:
    """Return further captures that follow from those of a text.

    Args:
        captures: what the patterns took out of the text.
        snapshot: what is known of the machine and its versions.
    """
    found: dict[str, str] = {}
    for name, look in _LOOKS.items():
        if value := captures.get(name):
            found |= {f"{name}_{what}": text for what, text in look(value, snapshot) if text}
    return found


def _symbol(symbol: str, _snapshot: Snapshot) -> Iterator[tuple[str, str | None]]:
    from sgldoctor.binary.names import demangled  # noqa: PLC0415 - only a symbol needs it

    yield "shown", demangled(symbol)
    exporting = knowledge.torch_exporting([symbol], None)
    if not exporting:
        return
    yield "torch", knowledge.torch_span(exporting)
    known = knowledge.table("kernel_abi.json")["torch"]
    if exporting[-1] == known[-1] and exporting[0] != known[0]:
        yield "direction", f"older than {exporting[0]}"
    elif exporting[0] == known[0] and exporting[-1] != known[-1]:
        yield "direction", f"newer than {exporting[-1]}"
    yield "kernels", knowledge.kernels_built_for(exporting)


def _library(soname: str, snapshot: Snapshot) -> Iterator[tuple[str, str | None]]:
    row = knowledge.package_of_library(soname, snapshot.text("torch.cuda_major"))
    yield from (("apt", row["apt"]), ("dnf", row["dnf"]), ("package", row["index"]))


def _gpu(name: str, _snapshot: Snapshot) -> Iterator[tuple[str, str | None]]:
    if model := knowledge.find_gpu(name):
        yield from (("capability", model.capability), ("architecture", model.architecture))


def _flag(flag: str, snapshot: Snapshot) -> Iterator[tuple[str, str | None]]:
    flag, release = flag.partition("=")[0], snapshot.text("package.sglang")
    yield "history", names.flag_history(flag, release)
    yield "nearest", names.nearest_flag(flag, release)


def _variable(name: str, snapshot: Snapshot) -> Iterator[tuple[str, str | None]]:
    known = names.variables()
    spans = known.spans(name)
    yield "history", f"{name} is read by sglang {spans}" if spans else f"no release of sglang reads {name}"
    yield "nearest", known.nearest(name, snapshot.text("package.sglang"))


_LOOKS: dict[str, Callable[[str, Snapshot], Iterator[tuple[str, str | None]]]] = {
    "symbol": _symbol,
    "library": _library,
    "gpu": _gpu,
    "flag": _flag,
    "variable": _variable,
}
