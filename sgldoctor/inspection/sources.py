"""Where libraries come from: a file, a wheel, a folder, or a release on the package index."""

from __future__ import annotations

import mmap
import os
import re
import sys
import zipfile
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import TYPE_CHECKING

from packaging.utils import InvalidWheelFilename, canonicalize_name, parse_wheel_filename
from packaging.version import InvalidVersion, Version

from sgldoctor.errors import TargetError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sgldoctor.binary.stream import Buffer
    from sgldoctor.refresh.index import IndexFile, PackageIndex

_RELEASE = re.compile(r"^([A-Za-z0-9](?:[\w.-]*[A-Za-z0-9])?)==([\w.!+]+)$")
_LIBRARY = re.compile(r"\.so(?:\.\d+)*$")
# Not looked at in a folder: NVIDIA's own libraries, and those that auditwheel copied beside a package.
_SKIPPED = re.compile(r"(?:^|/)(?:nvidia|[^/]+\.libs)/")


@dataclass(frozen=True, slots=True)
class Found:
    """One library: its name within the target, how to get its bytes, and its path if it lies on this machine."""

    name: str
    read: Callable[[], Buffer]
    path: str | None = None


@dataclass(frozen=True, slots=True)
class Request:
    """What was asked for: the target, a pattern that names must match, and for the index the CPU architecture."""

    target: str
    pattern: str | None = None
    arch: str = "x86_64"
    index_url: str | None = None


def find(request: Request) -> tuple[str, Iterator[Found]]:
    """Return what the target is (a file's or a wheel's name), and the libraries in it.

    Raises:
        TargetError: there is no such file, or nothing in it can be inspected.
        UsageError: the index has no such release.
        PackageIndexError: the index does not answer.
    """
    if not request.target:
        raise TargetError("Name a shared library, a wheel, a folder such as site-packages, or NAME==VERSION.")
    path, release = Path(request.target), _RELEASE.match(request.target)
    if path.is_dir():
        return str(path), _filtered(_in_folder(path), request.pattern)
    if path.is_file() and path.suffix == ".whl":
        return path.name, _filtered(_in_wheel(path), request.pattern)
    if path.exists():
        return path.name, iter([Found(path.name, lambda: _mapped(path), str(path))])
    if release:
        wheel, libraries = _on_index(release[1], release[2], request)
        return wheel, _filtered(libraries, request.pattern)
    raise TargetError(
        f"There is no file or folder {request.target}. "
        "Name a shared library, a wheel, a folder such as site-packages, or a release such as sgl-kernel==0.3.21."
    )


def _filtered(libraries: Iterator[Found], pattern: str | None) -> Iterator[Found]:
    return (item for item in libraries if not pattern or fnmatch(f"/{item.name}", f"*/{pattern}"))


def _in_folder(folder: Path) -> Iterator[Found]:
    for path in sorted(folder.rglob("*.so*")):
        name = str(path.relative_to(folder))
        if _LIBRARY.search(name) and not _SKIPPED.search(name) and path.is_file() and not path.is_symlink():
            yield Found(name, lambda path=path: _mapped(path), str(path))  # type: ignore[misc]


def _mapped(path: Path) -> Buffer:
    """Return a file's bytes.

    Raises:
        OSError: it cannot be opened, or is no regular file.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(descriptor, "rb") as file:
        if not path.is_file():
            raise OSError("not a regular file")
        if not os.fstat(file.fileno()).st_size:
            raise OSError("it is empty")
        return mmap.mmap(descriptor, 0, access=mmap.ACCESS_READ)


def _in_wheel(path: Path) -> Iterator[Found]:
    from sgldoctor.refresh.members import unpacked  # noqa: PLC0415 - requests is heavy

    try:
        archive = zipfile.ZipFile(path)
    except (OSError, zipfile.BadZipFile) as error:
        raise TargetError(f"{path} is no readable wheel: {error}") from None

    def read(info: zipfile.ZipInfo) -> Buffer:
        with archive.open(info) as member:
            return unpacked(f"{info.filename} in {path.name}", info, iter(lambda: member.read(1 << 20), b""))

    for info in archive.infolist():
        if _LIBRARY.search(info.filename):
            yield Found(info.filename, lambda info=info: read(info))  # type: ignore[misc]


def _on_index(name: str, version: str, request: Request) -> tuple[str, Iterator[Found]]:
    from sgldoctor.refresh.index import PackageIndex, find_index  # noqa: PLC0415 - requests is heavy
    from sgldoctor.refresh.members import open_wheel  # noqa: PLC0415
    from sgldoctor.system import RealSystem  # noqa: PLC0415

    system = RealSystem()
    index = PackageIndex(request.index_url or find_index(system), 2, system.environ().get("PIP_CERT"))
    file = _wheel(index, name, version, request.arch)
    wheel = open_wheel(index, file.url)
    members = [member for member in wheel.names() if _LIBRARY.search(member)]
    return file.name, (Found(member, lambda member=member: wheel.library(member)) for member in members)  # type: ignore[misc]


def _wheel(index: PackageIndex, name: str, version: str, arch: str) -> IndexFile:
    """Return the wheel that pip would take on Linux, for this doctor's Python where there are several."""
    try:
        wanted = Version(version)
    except InvalidVersion:
        raise UsageError(f"{version!r} is no version. Name a release such as sgl-kernel==0.3.21.") from None
    wheels = [(file, *parsed) for file in index.files(name) if (parsed := _parsed(file.name))]
    found = [(file, tags) for file, have, tags in wheels if have == wanted]
    if not found:
        known = sorted({have for _, have, _ in wheels if not have.is_prerelease})
        near = [str(have) for have in known if have.release[:2] == wanted.release[:2]] or [str(h) for h in known]
        listed = f" Among those that it has are {', '.join(near[-6:])}." if near else ""
        raise UsageError(f"The package index has no wheel of {canonicalize_name(name)} {version}.{listed}")
    fitting = [(file, tags) for file, tags in found if any(t.endswith((f"_{arch}", "-any")) for t in tags)]
    if not fitting:
        others = sorted({tag.rpartition("-")[2] for _, tags in found for tag in tags})
        raise UsageError(f"{canonicalize_name(name)} {version} has no wheel for {arch}, only {', '.join(others)}.")
    mine = f"cp{sys.version_info.major}{sys.version_info.minor}-"
    return next((file for file, tags in fitting if any(tag.startswith(mine) for tag in tags)), fitting[-1][0])


def _parsed(name: str) -> tuple[Version, list[str]] | None:
    try:
        _, version, _, tags = parse_wheel_filename(name)
    except (InvalidWheelFilename, InvalidVersion):
        return None
    return version, [str(tag) for tag in tags]
