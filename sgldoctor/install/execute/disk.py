"""How large the files of a lock are, and whether there is room for what they unpack to."""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sgldoctor.install.execute.errors import InstallRefusedError
from sgldoctor.install.execute.lockfile import Lock, file_of

if TYPE_CHECKING:
    import requests

    from sgldoctor.install.execute.engine import Engine

UNPACKED = 1.9
"""Installed bytes for each byte of wheel: 9.9 GB of 5.14 GB for sglang 0.5.9."""

_CONNECTIONS = 16
_TIMEOUT = (10, 20)  # seconds to connect, and between two bytes


def shown(size: int) -> str:
    """Return a number of bytes for a reader, such as ``9.9 GB``."""
    return f"{size / 1e9:.1f} GB" if size >= 1e9 else f"{size / 1e6:.1f} MB"


def session() -> requests.Session:
    """Return a session that trusts the certificates that pip and uv are given."""
    import os  # noqa: PLC0415

    import requests  # noqa: PLC0415 - heavy
    from requests.adapters import HTTPAdapter  # noqa: PLC0415
    from urllib3.util import Retry  # noqa: PLC0415

    found = requests.Session()
    certificates = os.environ.get("SSL_CERT_FILE") or os.environ.get("PIP_CERT")
    if certificates and not os.environ.get("REQUESTS_CA_BUNDLE"):
        found.verify = certificates
    retry = Retry(total=3, backoff_factor=0.5, status_forcelist=(429, 500, 502, 503, 504))
    for scheme in ("http://", "https://"):
        found.mount(scheme, HTTPAdapter(pool_maxsize=_CONNECTIONS, max_retries=retry))
    return found


def with_sizes(lock: Lock) -> Lock:
    """Return the lock with the size of each file; what nobody tells stays unknown."""
    client = session()

    def size(file: dict[str, Any]) -> int | None:
        if "path" in file:
            return Path(file["path"]).stat().st_size if Path(file["path"]).is_file() else None
        if str(file["url"]).startswith("file:"):
            place = Path(str(file["url"]).removeprefix("file://"))
            return place.stat().st_size if place.is_file() else None
        try:
            answer = client.head(file["url"], timeout=_TIMEOUT, allow_redirects=True)
            return int(answer.headers["Content-Length"]) if answer.ok else None
        except (OSError, KeyError, ValueError):
            return None

    files = {name: file_of(row) for name, row in lock.packages.items()}
    rows = {
        name: lock.packages[name] for name, file in files.items() if "size" not in file and {"url", "path"} & set(file)
    }
    with ThreadPoolExecutor(_CONNECTIONS) as pool:
        sizes = list(pool.map(lambda row: size(file_of(row)), rows.values()))
    return lock.mapped(
        {name: _sized(row, found) for (name, row), found in zip(rows.items(), sizes, strict=True) if found}
    )


def _sized(row: dict[str, Any], size: int) -> dict[str, Any]:
    file = file_of(row) | {"size": size}
    return row | ({"wheels": [file]} if row.get("wheels") else {"sdist": file})


def refuse_too_little(lock: Lock, folder: Path, engine: Engine, arguments: list[str]) -> None:
    """Raise where the disk cannot hold the environment and what uv keeps in its cache.

    Args:
        lock: what will be installed.
        folder: the environment's folder, which exists.
        engine: knows where its cache is, and what is in it.
        arguments: of a dry run, which tells how many packages are not in the cache.

    Raises:
        InstallRefusedError: naming the need and what is free.
    """
    need = int(sum(int(file_of(row).get("size") or 0) for row in lock.packages.values()) * UNPACKED)
    device = engine.cache.stat().st_dev
    for place in {device: engine.cache, folder.stat().st_dev: folder}.values():
        free = engine.system.disk(str(place))["free"]
        if free >= need or (place.stat().st_dev == device and _all_cached(engine, arguments)):
            continue
        raise InstallRefusedError(
            f"{place} has {shown(free)} free; this needs about {shown(need)} there. "
            "Make room, name another folder with --venv, or another cache with UV_CACHE_DIR."
        )


def _all_cached(engine: Engine, arguments: list[str]) -> bool:
    """Return whether nothing must be downloaded: links into the cache take no room."""
    done = engine.ask(arguments)
    return done.code == 0 and not re.search(r"Would download \d", done.err)
