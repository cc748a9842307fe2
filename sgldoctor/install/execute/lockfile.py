"""The resolved set as a lock file (PEP 751): which file of which package, with its hash, and the plan it belongs to."""

from __future__ import annotations

import json
import os
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from packaging.tags import compatible_tags, cpython_tags
from packaging.utils import InvalidWheelFilename, canonicalize_name, parse_wheel_filename

from sgldoctor.install.execute.errors import InstallFailedError, InstallRefusedError
from sgldoctor.install.plan import Plan, as_record, from_record

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

TOOL = "sgldoctor"


@dataclass(frozen=True)
class Lock:
    """A lock file.

    Attributes:
        packages: the tables of the file, by canonical name.
        steps: the names of the packages that each step brings, in the order of the steps.
        plan: the plan that it was resolved for, with all its environments, or None.
        environment: which of them this is.
        header: what else the file says.
    """

    packages: dict[str, dict[str, Any]]
    steps: dict[str, tuple[str, ...]]
    plan: Plan | None = None
    environment: str = ""
    header: dict[str, Any] | None = None

    def part(self, names: tuple[str, ...] | set[str]) -> Lock:
        """Return the lock of some packages alone."""
        return replace(self, packages={name: row for name, row in self.packages.items() if name in names})

    def size(self) -> int | None:
        """Return the bytes of all files together, or None where one is not known."""
        sizes = [file_of(row).get("size") for row in self.packages.values()]
        return sum(int(size) for size in sizes if size) if all(sizes) else None

    def mapped(self, packages: dict[str, dict[str, Any]]) -> Lock:
        """Return the lock with other tables for some packages."""
        return replace(self, packages={**self.packages, **packages})

    def text(self) -> str:
        """Return the file's text."""
        import tomli_w  # noqa: PLC0415 - only an installation writes one

        record = json.dumps(as_record(self.plan), sort_keys=True) if self.plan else ""
        document: dict[str, Any] = {
            "lock-version": "1.0",
            "created-by": TOOL,
            **(self.header or {}),
            "packages": [self.packages[name] for name in sorted(self.packages)],
            "tool": {
                TOOL: {
                    "environment": self.environment,
                    "plan": record,
                    "steps": [{"name": name, "packages": list(names)} for name, names in self.steps.items()],
                }
            },
        }
        return tomli_w.dumps(document)


def read(path: Path) -> Lock:
    """Return a lock file, of this tool or of uv; relative paths in it are made absolute.

    Raises:
        InstallRefusedError: it is missing, or is no lock file.
    """
    path = Path(os.path.abspath(path))
    try:
        document = tomllib.loads(path.read_text("utf-8"))
        packages: dict[str, dict[str, Any]] = {canonicalize_name(row["name"]): row for row in document["packages"]}
        own = document.get("tool", {}).get(TOOL, {})
        plan = from_record(json.loads(own["plan"])) if own.get("plan") else None
        steps = {row["name"]: tuple(row["packages"]) for row in own.get("steps", ())}
    except OSError as error:
        raise InstallRefusedError(f"Cannot read {path}: {error.strerror}. Name a lock file of sgldoctor.") from None
    except KeyError as error:
        raise InstallRefusedError(f"{path} is no lock file: it has no {error}.") from None
    except (ValueError, TypeError) as error:
        raise InstallRefusedError(f"{path} is no lock file of sgldoctor ({error}).") from None
    for row in packages.values():
        for file in (*row.get("wheels", ()), *([row["sdist"]] if "sdist" in row else ())):
            if "path" in file:
                file["path"] = str(path.parent / file["path"])
    header: dict[str, Any] = {key: document[key] for key in ("requires-python", "environments") if key in document}
    return Lock(packages, steps, plan, own.get("environment", ""), header)


def write(lock: Lock, path: Path) -> Path:
    """Write a lock file and return its path.

    Raises:
        InstallFailedError: it cannot be written.
    """
    from sgldoctor.errors import OutputError  # noqa: PLC0415
    from sgldoctor.system.files import write_text  # noqa: PLC0415

    try:
        write_text(path, lock.text())
    except OutputError as error:
        raise InstallFailedError(str(error)) from None
    return path


def file_of(row: dict[str, Any]) -> dict[str, Any]:
    """Return the table of the file that is installed: the wheel, else the source package, else an empty one."""
    wheels = row.get("wheels") or []
    return dict(wheels[0]) if wheels else dict(row.get("sdist") or row.get("archive") or {})


def place_of(row: dict[str, Any]) -> str:
    """Return where the file that is installed lies: an address, or a path."""
    file = file_of(row)
    return str(file.get("url") or file.get("path"))


def name_of(file: dict[str, Any]) -> str:
    """Return a file's name."""
    place = str(file.get("name") or file.get("path") or unquote(urlsplit(str(file.get("url", ""))).path))
    return place.rpartition("/")[2]


def narrowed(lock: Lock, python: tuple[int, int]) -> Lock:
    """Return the lock with the one wheel that an installer here takes for that CPython; the plan needs no other."""
    order = {
        tag: rank
        for rank, tag in enumerate((*cpython_tags(python), *compatible_tags(python, f"cp{python[0]}{python[1]}")))
    }

    def rank(wheel: dict[str, Any]) -> int:
        try:
            return min(order.get(tag, len(order)) for tag in parse_wheel_filename(name_of(wheel))[3])
        except InvalidWheelFilename:
            return len(order)

    packages = {}
    for name, row in lock.packages.items():
        fitting = sorted((wheel for wheel in row.get("wheels", ()) if rank(wheel) < len(order)), key=rank)
        if fitting:
            packages[name] = {key: value for key, value in row.items() if key != "sdist"} | {"wheels": fitting[:1]}
    header = {**(lock.header or {}), "requires-python": f"=={python[0]}.{python[1]}.*"}
    return replace(lock.mapped(packages), header=header)
