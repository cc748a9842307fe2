"""The extension modules beside the kernels: do they load after torch, and which GPU code do they hold."""

from __future__ import annotations

from fnmatch import fnmatchcase
from posixpath import join
from typing import TYPE_CHECKING, Any

from sgldoctor.binary.names import demangled
from sgldoctor.probes.torch_import import for_this_python
from sgldoctor.rules.knowledge import table
from sgldoctor.snapshot import Fact, Known

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sgldoctor.probes.loader import Process
    from sgldoctor.system import System


def probe(system: System, process: Process, folders: list[str], python: str | None) -> Fact:
    """Return a record for each extension module that extensions.yaml names and that is installed.

    Args:
        system: the machine.
        process: with torch loaded.
        folders: the folders that packages are imported from.
        python: the examined interpreter's minor version, such as ``3.12``.
    """
    found: list[dict[str, Any]] = []
    for row in table("extensions.yaml")["extensions"]:
        for path in _files(system, folders, row["folder"], row["files"]):
            if not for_this_python(path, python):
                continue
            about = {key: row[key] for key in ("package", "use", "gpus")}
            record: dict[str, Any] = {**about, "path": path, "file": join(row["folder"], path.rpartition("/")[2])}
            try:
                failures = process.load(path)
                missing = demangled(failures[0].name) if failures else None
                found.append(record | {"loads": not failures, "missing": missing, "targets": _code(system, path)})
            except OSError as error:
                reason = error.strerror or str(error)
                found.append(record | {"loads": None, "missing": reason, "targets": None})
    return Known(found, "extensions.yaml")


def _files(system: System, folders: list[str], folder: str, pattern: str) -> Iterator[str]:
    """Yield the modules in the first folder on the path that has the package."""
    for base in folders:
        place = join(base, folder) if folder else base
        if system.kind(place) == "dir":
            names = [name for name in system.list_dir(place) if fnmatchcase(name, pattern)]
            yield from (join(place, name) for name in names)
            if folder or names:
                return


def _code(system: System, path: str) -> str | None:
    try:
        return " ".join(system.gpu_code(path))
    except OSError:
        return None
