"""What the release table says about the sglang that is installed or asked for."""

from __future__ import annotations

import re
from typing import Any

from sgldoctor.rules.conditions import specifier_of, version_of
from sgldoctor.rules.knowledge import newest_sglang, sglang_release
from sgldoctor.snapshot import Fact, Facts, Known, Snapshot, Unknown

_TABLE = "sglang.json"
_NAMES = ("sglang.requires_python", "sglang.wheel_pythons", "sglang.wheel_glibc", "requirements.conflicts")
_GLIBC = re.compile(r"manylinux_(\d+)_(\d+)")


def derive(snapshot: Snapshot) -> Facts:
    """Return what this release's wheels need, and where a requirements file contradicts its pins."""
    asked = isinstance(snapshot.get("requirements.open"), Known)
    facts = {} if asked else {"requirements.impossible": Known(None, "no requirements file was given")}
    return facts | _release(snapshot)


def _release(snapshot: Snapshot) -> Facts:
    sglang = snapshot.get("package.sglang")
    if isinstance(sglang, Unknown):
        return dict.fromkeys((*_NAMES, "sglang.age"), sglang)
    if sglang.value is None:
        return dict.fromkeys((*_NAMES, "sglang.age"), Known(None, sglang.source))
    version = str(sglang.value)
    row = sglang_release(version)
    if row is None:
        parsed, newest = version_of(version), version_of(newest_sglang())
        newer = bool(parsed and newest and parsed > newest)
        reason = Unknown(f"sglang {version} is not in the release table, whose newest is {newest}; update sgldoctor")
        return {**dict.fromkeys(_NAMES, reason), "sglang.age": Known("newer" if newer else "unknown", _TABLE)}
    return {
        "sglang.age": Known("known", _TABLE),
        "sglang.requires_python": Known(row.get("requires_python"), _TABLE),
        "sglang.wheel_pythons": Known(_pythons(row), _TABLE),
        "sglang.wheel_glibc": Known(_glibc(row), _TABLE),
        "requirements.conflicts": _conflicts(snapshot, row, version),
    }


def _pythons(row: dict[str, Any]) -> list[str] | None:
    """Return ``["3.10", ...]`` from tags like cp310; None where one wheel serves every Python 3."""
    tags = {wheel["python"] for wheel in row.get("wheels", ())}
    if not tags or "py3" in tags:
        return None
    minors = sorted(int(match[1]) for tag in tags if (match := re.match(r"cp3(\d+)$", tag)))
    return [f"3.{minor}" for minor in minors]


def _glibc(row: dict[str, Any]) -> str | None:
    """Return the smallest glibc of any wheel (PEP 600: manylinux_2_34 is glibc 2.34), None for pure wheels."""
    found = [
        (int(match[1]), int(match[2]))
        for wheel in row.get("wheels", ())
        for match in _GLIBC.finditer(wheel["platform"])
    ]
    return "{}.{}".format(*min(found)) if found and not row.get("sdist") else None


def _conflicts(snapshot: Snapshot, row: dict[str, Any], version: str) -> Fact:
    """Return exact versions asked for in a requirements file that the release's own pins exclude."""
    if not isinstance(snapshot.get("requirements.open"), Known):
        return Known(None, "no requirements file was given")
    pins: dict[str, str] = {**row.get("pins", {}), **row.get("extra_pins", {})}
    bad: list[dict[str, Any]] = []
    for name, specifier in sorted(pins.items()):
        fact = snapshot.get(f"package.{name}")
        asked = version_of(str(fact.value)) if isinstance(fact, Known) and fact.value is not None else None
        if asked and isinstance(fact, Known) and specifier and not specifier_of(specifier).contains(asked):
            bad.append(
                {"package": name, "asked": f"{name}=={asked}", "needed": f"{name}{specifier}",
                 "by": f"sglang {version}", "where": fact.source}
            )  # fmt: skip
    return Known(bad, _TABLE)
