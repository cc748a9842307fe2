"""The METADATA of many wheels: fetched several at once, read one after another."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from packaging.metadata import parse_email
from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name, parse_wheel_filename
from packaging.version import InvalidVersion, Version

from sgldoctor.refresh import cache
from sgldoctor.refresh.index import PackageIndexError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from packaging.metadata import RawMetadata

    from sgldoctor.refresh.index import IndexFile, PackageIndex

CONNECTIONS = 8


def read(index: PackageIndex, wheels: Sequence[IndexFile | None], kept: Path) -> Iterator[RawMetadata]:
    """Yield each wheel's METADATA, from the cache where it stands there; nothing is told of no wheel.

    It is not parsed in the threads that fetch it: packaging reads markers with ast, which Python 3.11 does not allow in
    two threads at once (SystemError: AST constructor recursion depth mismatch, met with 3.11.7).

    Args:
        index: where the wheels are.
        wheels: in the order in which they are wanted.
        kept: the folder of the cache.

    Raises:
        PackageIndexError: no answer, or METADATA of another release: any text can be read as some METADATA.
    """
    kept.mkdir(parents=True, exist_ok=True)

    def fetch(wheel: IndexFile | None) -> str:
        text = cache.load(cache.place(kept, wheel, "metadata-1")) if wheel else ""
        return text if text is not None or wheel is None else index.metadata(wheel).decode("utf-8", "replace")

    with ThreadPoolExecutor(CONNECTIONS) as pool:
        for wheel, text in zip(wheels, pool.map(fetch, wheels), strict=True):
            if wheel is None:
                yield {}
                continue
            yield _parsed(wheel, text)
            cache.store(cache.place(kept, wheel, "metadata-1"), text)


def _parsed(wheel: IndexFile, text: str) -> RawMetadata:
    metadata, _ = parse_email(text)
    name, version, _build, _tags = parse_wheel_filename(wheel.name)
    try:
        told = Version(metadata.get("version", ""))
    except InvalidVersion:
        told = None
    if canonicalize_name(metadata.get("name", "")) != name or told != version:
        raise PackageIndexError(f"the METADATA of {wheel.name} is not that of this release")
    for line in metadata.get("requires_dist", []):
        try:
            Requirement(line)
        except InvalidRequirement as error:
            raise PackageIndexError(f"the METADATA of {wheel.name} holds a bad requirement: {line}") from error
    return metadata
