"""What the tables know of the things that a text names: symbols, libraries, flags, variables, GPUs."""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING

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
    flag = flag.partition("=")[0]
    known = knowledge.table("flags.json")
    release = snapshot.text("package.sglang")
    release = release if release in known["releases"] else None
    yield "history", _meaning(flag, release) if release else _history(flag)
    yield "nearest", _nearest(flag, known["flags"], known["releases"], release)


def _variable(name: str, snapshot: Snapshot) -> Iterator[tuple[str, str | None]]:
    known = knowledge.table("variables.json")
    release = snapshot.text("package.sglang")
    row = known["variables"].get(name)
    spans = ", ".join(_span(first, last) for first, last in row["ranges"]) if row else None
    yield "history", f"{name} is read by sglang {spans}" if spans else f"no release of sglang reads {name}"
    yield "nearest", _nearest(name, known["variables"], known["releases"], release)


def _nearest(
    word: str, rows: Mapping[str, dict[str, list[list[str]]]], releases: list[str], release: str | None
) -> str | None:
    """Return the nearest name that this release, or the newest one, knows."""
    from difflib import get_close_matches  # noqa: PLC0415 - only a flag or a variable needs it

    at = releases.index(release) if release in releases else len(releases) - 1
    there = [name for name, row in rows.items() if name != word and _has(row, at, releases)]
    return next(iter(get_close_matches(word, there, n=1, cutoff=0.6)), None)


def _has(row: dict[str, list[list[str]]], at: int, releases: list[str]) -> bool:
    return any(releases.index(first) <= at <= releases.index(last) for first, last in row["ranges"])


def _meaning(flag: str, release: str) -> str:
    """Return what a release makes of a flag; argparse takes an unambiguous beginning for the whole."""
    known = knowledge.table("flags.json")
    at = known["releases"].index(release)
    return f"in sglang {release} {_WORDS[(word := _taken_for(flag, at))[0]](flag, word[1])}"


def _history(flag: str) -> str:
    """Return what the releases made of a flag, from the first one that knew it."""
    releases = knowledge.table("flags.json")["releases"]
    runs = [
        (word, [at for _, at in places])
        for word, places in groupby(
            ((_taken_for(flag, at), at) for at in range(len(releases))), key=lambda pair: pair[0]
        )
    ]
    known = [(word, at) for word, at in runs if word[0] == "known"]
    other = [(word, at) for word, at in runs if word[0] in {"short", "ambiguous"}]
    told = [f"{_WORDS[w[0]](flag, w[1])} in {_span(releases[at[0]], releases[at[-1]])}" for w, at in known + other[-2:]]
    return "; ".join(told) if told else f"no release of sglang has {flag}"


def _taken_for(flag: str, at: int) -> tuple[str, str]:
    known = knowledge.table("flags.json")
    releases = known["releases"]
    row = known["flags"].get(flag)
    if row and _has(row, at, releases):
        return "known", flag
    longer = [name for name, row in known["flags"].items() if name.startswith(flag) and _has(row, at, releases)]
    if len(longer) == 1:
        return "short", longer[0]
    return ("ambiguous", "") if longer else ("unknown", "")


_WORDS: dict[str, Callable[[str, str], str]] = {
    "known": lambda flag, _: f"{flag} is a flag",
    "short": lambda flag, whole: f"{flag} is taken for {whole}",
    "ambiguous": lambda flag, _: f"{flag} is ambiguous",
    "unknown": lambda flag, _: f"{flag} is not known",
}


def _span(first: str, last: str) -> str:
    return first if first == last else f"{first} to {last}"


_LOOKS: dict[str, Callable[[str, Snapshot], Iterator[tuple[str, str | None]]]] = {
    "symbol": _symbol,
    "library": _library,
    "gpu": _gpu,
    "flag": _flag,
    "variable": _variable,
}
