"""Writing the generated tables anew, each only if nothing that it held was lost or changed unseen."""

from __future__ import annotations

import json
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sgldoctor.errors import ExitCode, OutputError, SgldoctorError
from sgldoctor.refresh import abi, health, packages, sglang, sources
from sgldoctor.refresh.writing import lined
from sgldoctor.rules.knowledge import table

if TYPE_CHECKING:
    from collections.abc import Callable

    from sgldoctor.refresh.index import PackageIndex

PARTS = ("sglang", "packages", "sources", "kernels", "health")
"""In the order in which they build on each other: packages and health ask for the releases that sglang lists."""

_MOST_SHOWN = 20
_DATED = ("generated_at", "counts", "resolver")


class ChangedRowsError(SgldoctorError):
    """A table would lose rows or change old ones."""

    exit_code = ExitCode.FINDINGS


@dataclass(frozen=True, slots=True)
class Run:
    """What to write, from where, and where to."""

    index: PackageIndex
    folder: Path
    cache: Path
    generated_at: str
    accept: bool
    resolver: Callable[[], health.Resolver]

    def write(self, part: str, progress: Callable[[int, int], None]) -> list[Path]:
        """Write the tables of one part and return their paths; the old ones stay where that fails.

        Args:
            part: one of PARTS.
            progress: is told how many of how many resolutions are done.

        Raises:
            PackageIndexError: the index does not answer, or with what cannot be used.
            OutputError: the folder cannot be written.
            ChangedRowsError: rows would be lost or changed, and that was not accepted.
        """
        try:
            with tempfile.TemporaryDirectory(dir=self.folder, prefix=".refresh-") as beside:
                new = self._make(part, Path(beside), progress)
                for path in new:
                    self._compare(path)
                return [path.replace(self.folder / path.name) for path in new]
        except OSError as error:
            problem = error.strerror or error
            raise OutputError(f"The tables of {part} cannot be written to {self.folder}: {problem}.") from error

    def _compare(self, new: Path) -> None:
        _refuse_losses(self.folder / new.name, _read(new), accept=self.accept)

    def _make(self, part: str, folder: Path, progress: Callable[[int, int], None]) -> list[Path]:
        if part == "sglang":
            return [sglang.refresh(self.index, folder, self.generated_at, self.cache / "metadata")]
        if part == "packages":
            releases = self._table(sglang.TABLE)["releases"]
            return [packages.refresh(self.index, folder, self.generated_at, self.cache / "metadata", releases)]
        if part == "sources":
            return sources.refresh(self.index, folder, self.generated_at, self.cache / "sources")
        if part == "kernels":
            return [abi.refresh(self.index, folder, self.generated_at, self.cache / "wheels")]
        known = health.Known(self._table(sglang.TABLE), self._table(abi.TABLE))
        return [health.refresh(self.resolver(), self.index, folder, self.generated_at, known, progress)]

    def _table(self, name: str) -> dict[str, Any]:
        """Return a table from the folder that is written to, else the one in use."""
        path = self.folder / name
        return _read(path) if path.exists() else table(name)


def take(folder: Path, held: dict[str, Any], *, accept: bool) -> list[Path]:
    """Put tables in the place of older ones and return the paths of those; either all or none is written.

    Args:
        folder: of the tables.
        held: file names to tables.
        accept: take them even if old rows are lost or changed.

    Raises:
        OutputError: the folder cannot be written.
        ChangedRowsError: rows would be lost or changed, and that was not accepted.
    """
    newer = {}
    for name, document in sorted(held.items()):
        old = folder / name
        if not old.exists() or str(document["generated_at"]) > str(_read(old).get("generated_at", "")):
            _refuse_losses(old, document, accept=accept)
            newer[name] = document
    try:
        with tempfile.TemporaryDirectory(dir=folder, prefix=".update-") as beside:
            for name, document in newer.items():
                (Path(beside) / name).write_text(lined(document), "utf-8")
            return [(Path(beside) / name).replace(folder / name) for name in newer]
    except OSError as error:
        raise OutputError(f"The tables cannot be written to {folder}: {error.strerror or error}.") from error


def _refuse_losses(old: Path, new: dict[str, Any], *, accept: bool) -> None:
    differences = compare(_read(old), new) if old.exists() else []
    if differences and not accept:
        raise ChangedRowsError(_told(old.name, differences))


def _read(path: Path) -> dict[str, Any]:
    """Return a table; one that is damaged holds nothing that could be lost."""
    try:
        return dict(json.loads(path.read_text("utf-8")))
    except ValueError:
        return {}


def _told(name: str, differences: list[str]) -> str:
    shown = "\n".join(f"  {line}" for line in differences[:_MOST_SHOWN])
    more = len(differences) - _MOST_SHOWN
    rest = f"\n  and {more} more" if more > 0 else ""
    return (
        f"{name} was not written: {len(differences)} of its rows would be lost or changed.\n{shown}{rest}\n"
        "If that is right, run again with --accept-changes."
    )


def compare(old: Any, new: Any, where: str = "") -> list[str]:  # noqa: ANN401 - any JSON value
    """Return what the old table holds and the new one does not, or otherwise; what is new is no difference."""
    if isinstance(old, dict) and isinstance(new, dict):
        found = []
        for key, value in old.items():
            place = f"{where}.{key}" if where else key
            if not where and key in _DATED:
                continue
            found += compare(value, new[key], place) if key in new else [f"{place} is lost"]
        return found
    if isinstance(old, list) and isinstance(new, list):
        lost = [item for item in old if item not in new]
        return [f"{where}: {_short(item)} is lost or changed" for item in lost]
    return [] if old == new else [f"{where}: {_short(old)} became {_short(new)}"]


def _short(value: Any) -> str:  # noqa: ANN401 - any JSON value
    text = json.dumps(value)
    return text if len(text) <= 80 else f"{text[:77]}..."
