"""Collecting all files of a plan in a folder, for machines without a network."""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sgldoctor.install.execute import disk, interpreter, lockfile
from sgldoctor.install.execute.engine import Engine
from sgldoctor.install.execute.errors import InstallFailedError, InstallRefusedError
from sgldoctor.install.execute.folder import Folder
from sgldoctor.install.execute.resolve import resolve
from sgldoctor.system import RealSystem

if TYPE_CHECKING:
    import requests

    from sgldoctor.install.execute.reporter import Reporter
    from sgldoctor.install.plan import Plan

_CONNECTIONS = 8
_TIMEOUT = (10, 60)  # seconds to connect, and between two bytes
_PIECE = 1 << 20
_ATTEMPTS = 3
_BUILD_TIMEOUT = 3600.0


def download(plan: Plan, folder: str, reporter: Reporter) -> list[str]:
    """Collect the wheels of all environments and their lock files; return the names of the lock files.

    What is already there with the right hash is kept, so an interrupted run can be repeated.

    Raises:
        InstallRefusedError: the folder cannot be written to, has no room, or the plan cannot be resolved.
        InstallFailedError: a file cannot be had.
    """
    engine = Engine.find(RealSystem())
    place = Path(folder)
    try:
        place.mkdir(parents=True, exist_ok=True)
        scratch = Path(tempfile.mkdtemp(prefix=".sgldoctor-", dir=place))
    except OSError as error:
        raise InstallRefusedError(f"Cannot write to {folder}: {error.strerror}. Name another folder.") from None
    try:
        return [_collect(plan, number, place, scratch, engine, reporter) for number in range(len(plan.environments))]
    except OSError as error:
        raise InstallFailedError(f"Cannot write to {folder}: {error.strerror}.") from None
    finally:
        engine.stop()
        shutil.rmtree(scratch, ignore_errors=True)


def _collect(plan: Plan, number: int, place: Path, scratch: Path, engine: Engine, reporter: Reporter) -> str:
    environment = plan.environments[number]
    reporter.begin(f"{environment.name}: resolving")
    python = interpreter.find(environment.python, engine)
    work = Folder(str(scratch / environment.name))
    work.claim(resume=False)
    try:
        lock = resolve(plan, environment, python, engine, work)
    finally:
        work.release()
    lock = disk.with_sizes(lockfile.narrowed(lock, interpreter.minor_of(python, engine)))
    free, need = engine.system.disk(str(place))["free"], lock.size() or 0
    if free < need:
        raise InstallRefusedError(
            f"{place} has {disk.shown(free)} free; the wheels are {disk.shown(need)}. Name another folder."
        )
    reporter.end(f"{len(lock.packages)} packages")
    reporter.begin(f"{environment.name}: downloading {len(lock.packages)} packages", lock.size())
    client = disk.session()
    with ThreadPoolExecutor(_CONNECTIONS) as pool:
        fetched = [pool.submit(_fetch, client, row, place, reporter) for row in lock.packages.values()]
        try:
            rows = [one.result() for one in fetched]
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            client.close()  # what is under way ends with an error
            raise
    rows = [_wheel(row, place, python, engine, reporter) for row in rows]
    collected = replace(lock, packages=dict(zip(lock.packages, rows, strict=True)))
    name = f"pylock.{environment.name}.toml"
    lockfile.write(collected, place / name)
    reporter.end(f"all in {place}")
    return name


def _fetch(client: requests.Session, row: dict[str, Any], place: Path, reporter: Reporter) -> dict[str, Any]:
    """Download a package's file and return its table with the path in place of the address."""
    file = lockfile.file_of(row)
    if "url" not in file:
        return row  # from a folder or a repository: not ours to carry
    name, wanted = lockfile.name_of(file), file.get("hashes", {}).get("sha256")
    path = place / name
    if not (path.is_file() and wanted and _sha256(path) == wanted):
        reporter.downloading(row["name"], file.get("size"))
        _download(client, str(file["url"]), path)
        if wanted and (found := _sha256(path)) != wanted:
            path.unlink()
            raise InstallFailedError(f"{name} is not the file that the index names: sha256 {found}, not {wanted}.")
    reporter.arrived(row["name"])
    kind = next(kind for kind in ("wheels", "sdist", "archive") if row.get(kind))
    local = {key: value for key, value in file.items() if key != "url"} | {"path": name}
    return row | {kind: [local] if kind == "wheels" else local}


def _download(client: requests.Session, url: str, path: Path) -> None:
    """Write a file; what comes short is asked for from where it ended.

    Raises:
        InstallFailedError: it cannot be had.
    """
    import requests  # noqa: PLC0415 - heavy

    beside = path.with_name(f".{path.name}.part")
    beside.unlink(missing_ok=True)
    problem = ""
    if url.startswith("file:"):
        shutil.copyfile(url.removeprefix("file://"), path)
        return
    for _ in range(_ATTEMPTS):
        have = beside.stat().st_size if beside.exists() else 0
        try:
            with client.get(
                url, stream=True, timeout=_TIMEOUT, headers={"Range": f"bytes={have}-"} if have else {}
            ) as answer:
                answer.raise_for_status()
                with beside.open("ab" if have and answer.status_code == 206 else "wb") as out:
                    for piece in answer.iter_content(_PIECE):
                        out.write(piece)
            beside.replace(path)
        except requests.RequestException as error:
            problem = str(error)
        else:
            return
    raise InstallFailedError(f"{path.name} cannot be downloaded: {problem}")


def _wheel(row: dict[str, Any], place: Path, python: str, engine: Engine, reporter: Reporter) -> dict[str, Any]:
    """Return the table with a wheel in place of a source package: the other machine builds nothing."""
    if row.get("wheels") or "sdist" not in row:
        return row
    reporter.downloading(row["name"], None)
    with tempfile.TemporaryDirectory(dir=place, prefix=".build-") as folder:
        source = place / row["sdist"]["path"]
        done = engine.ask(
            ["build", "--wheel", "--python", python, "-o", folder, str(source)], timeout=_BUILD_TIMEOUT,
        )  # fmt: skip
        built = sorted(Path(folder).glob("*.whl"))
        if done.code or not built:
            last = "\n".join(done.err.splitlines()[-8:])
            raise InstallFailedError(f"{source.name} cannot be built into a wheel:\n{last}")
        wheel = place / built[0].name
        built[0].replace(wheel)
    source.unlink()
    reporter.arrived(row["name"])
    table = {"path": wheel.name, "size": wheel.stat().st_size, "hashes": {"sha256": _sha256(wheel)}}
    return {key: value for key, value in row.items() if key != "sdist"} | {"wheels": [table]}


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while piece := file.read(_PIECE):
            digest.update(piece)
    return digest.hexdigest()
