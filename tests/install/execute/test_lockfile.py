from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from packaging.tags import cpython_tags

from sgldoctor.install.execute import lockfile
from sgldoctor.install.execute.lockfile import Lock

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib


def wheel(name: str) -> dict[str, Any]:
    return {"url": f"https://index.example/{name}", "hashes": {"sha256": "0" * 64}}


def lock_of(**rows: dict[str, Any]) -> Lock:
    return Lock({name: {"name": name, **row} for name, row in rows.items()}, {"all": tuple(rows)}, environment="sglang")


def test_the_wheel_that_fits_best_is_kept_alone() -> None:
    platform = next(iter(cpython_tags((3, 12)))).platform
    best = wheel(f"one-1-cp312-cp312-{platform}.whl")
    wheels = [
        wheel("one-1-py3-none-any.whl"), wheel("one-1-cp310-cp310-manylinux2014_x86_64.whl"),
        wheel(f"one-1-cp39-abi3-{platform}.whl"), best,
    ]  # fmt: skip
    found = lockfile.narrowed(lock_of(one={"version": "1", "wheels": wheels, "sdist": wheel("one-1.tar.gz")}), (3, 12))
    assert found.packages["one"] == {"name": "one", "version": "1", "wheels": [best]}
    assert found.header == {"requires-python": "==3.12.*"}


def test_a_source_package_stays_where_no_wheel_fits() -> None:
    row = {"version": "1", "wheels": [wheel("one-1-cp39-cp39-win32.whl")], "sdist": wheel("one-1.tar.gz")}
    assert lockfile.narrowed(lock_of(one=row), (3, 12)).packages["one"] == {"name": "one", **row}


def test_a_lock_file_is_read_back(tmp_path: Path) -> None:
    lock = lock_of(
        one={"version": "1", "wheels": [wheel("one-1-py3-none-any.whl") | {"size": 10}]},
        two={"version": "2", "wheels": [{"path": "two-2-py3-none-any.whl", "size": 5, "hashes": {"sha256": "1" * 64}}]},
    )
    path = lockfile.write(lock, tmp_path / "pylock.toml")
    document = tomllib.loads(path.read_text())
    assert (document["lock-version"], document["created-by"]) == ("1.0", "sgldoctor")
    found = lockfile.read(path)
    assert found.packages["one"] == lock.packages["one"]
    assert lockfile.file_of(found.packages["two"])["path"] == f"{tmp_path}/two-2-py3-none-any.whl"
    assert (found.steps, found.environment, found.size()) == (lock.steps, "sglang", 15)
    assert lockfile.name_of(lockfile.file_of(found.packages["two"])) == "two-2-py3-none-any.whl"


def test_an_unknown_size_makes_the_sum_unknown() -> None:
    assert lock_of(one={"version": "1", "wheels": [wheel("one-1-py3-none-any.whl")]}).size() is None
    assert lock_of().size() == 0
