"""What follows from the variables that change where libraries are found."""

from __future__ import annotations

import re
from typing import Any

from sgldoctor.snapshot import Fact, Facts, Known, Snapshot, Unknown

_NAMES = ("LD_LIBRARY_PATH", "LD_PRELOAD")
# /usr/local/cuda-12.1/lib64, /opt/cuda-11.8, /usr/local/cuda-11/lib64/libcudart.so
_CUDA = re.compile(r"/cuda-(\d+)(?:\.(\d+))?(?=[./]|$)")


def derive(snapshot: Snapshot) -> Facts:
    """Return the folders in the loader's variables that belong to another CUDA than torch's."""
    return {"variables.library_paths": _library_paths(snapshot)}


def _library_paths(snapshot: Snapshot) -> Fact:
    names = snapshot.get("variables")
    if isinstance(names, Unknown) or names.value is None:
        return names
    records: list[dict[str, Any]] = []
    for name in _NAMES:
        if name not in snapshot.texts("variables"):
            continue
        value = snapshot.get(f"variable.{name}")
        if isinstance(value, Unknown):
            return value
        for path in re.split(r"[:\s]+", str(value.value or "")):
            if match := _CUDA.search(path):
                cuda = f"{match[1]}.{match[2]}" if match[2] else match[1]
                records.append({"name": name, "path": path, "cuda": cuda, "relation": _relation(snapshot, cuda)})
    return Known(records, "environment")


def _relation(snapshot: Snapshot, cuda: str) -> str | None:
    """Return other-major, older, same-or-newer; None where torch's CUDA is not known."""
    torch = snapshot.text("torch.cuda")
    if torch is None:
        return None
    mine, its = (tuple(map(int, text.split("."))) for text in (cuda, torch))
    if mine[0] != its[0]:
        return "other-major"
    return "older" if len(mine) > 1 and mine[1] < its[1] else "same-or-newer"
