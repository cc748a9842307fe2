"""One sglang release: what it pins, what that is built for, and whether it still resolves."""

from __future__ import annotations

import json
from functools import partial
from typing import TYPE_CHECKING, Any

from sgldoctor.matrix import Status, Target, in_short, judge, nearest_that_works
from sgldoctor.report.entry import entry
from sgldoctor.rules.knowledge import CPU_ARCHITECTURES, PYTHONS, age, health, kernel_gpu_code, table

if TYPE_CHECKING:
    from collections.abc import Iterator

SCHEMA_VERSION = 1
_entry = partial(entry, indent=22)


def document(release: str) -> dict[str, Any]:
    """Return all that is known of a release."""
    row = table("sglang.json")["releases"][release]
    pins = {**row.get("pins", {}), **row.get("extra_pins", {})}
    package = next((name for name in ("sglang-kernel", "sgl-kernel") if pins.get(name, "").startswith("==")), None)
    kernel = pins[package].removeprefix("==") if package else None
    torch = pins.get("torch", "").removeprefix("==")
    return {
        "schema_version": SCHEMA_VERSION,
        "knowledge": age("health.json"),
        "release": release,
        "date": row["date"],
        "yanked": row["yanked"],
        "requires_python": row.get("requires_python"),
        "wheels": row["wheels"],
        "sdist": row["sdist"],
        "extras": row.get("extras", []),
        "pins": pins,
        "cuda": table("packages.json")["torch"].get(torch, {}).get("cuda", {}).get("x86_64"),
        "gpu_code": {
            arch: kernel_gpu_code(package, kernel, arch) for arch in CPU_ARCHITECTURES if package and kernel
        },
        "flags": _flags(release),
        "health": {python: _health(release, "x86_64", python) for python in PYTHONS},
        "health_aarch64": {python: _health(release, "aarch64", python) for python in PYTHONS},
    }  # fmt: skip


def _flags(release: str) -> dict[str, Any] | None:
    """Return the server flags that came, went or were deprecated with a release, None where its source was not read."""
    known = table("flags.json")
    listed: list[str] = known["releases"]
    if release not in listed or release == listed[0]:
        return None
    before = listed[listed.index(release) - 1]
    flags = known["flags"].items()
    return {
        "since": before,
        "added": sorted(name for name, row in flags if any(first == release for first, _ in row["ranges"])),
        "removed": sorted(name for name, row in flags if any(last == before for _, last in row["ranges"])),
        "deprecated": sorted(
            name for name, row in flags if any(first == release for first, _ in row.get("deprecated", ()))
        ),
    }


def _health(release: str, arch: str, python: str) -> dict[str, Any] | None:
    """Return the health on one Python, with the nearest release that works where this one does not."""
    row = health(release, arch, python)
    if row is None:
        return None
    target = Target(python, arch)
    cell = judge(release, target)
    found = {key: value for key, value in row.items() if key != "pythons"}
    if row["works"] and cell.status is Status.BROKEN:
        found |= {"works": False, "reason": cell.reason}
    nearest = None
    if not found["works"]:
        nearest = nearest_that_works(release, lambda other: judge(other, target).status is Status.WORKS)
    return {**found, "nearest": nearest}


def as_json(release: str) -> str:
    """Return the release as a JSON document."""
    return json.dumps(document(release), indent=1, ensure_ascii=False) + "\n"


def lines(release: str, width: int) -> Iterator[tuple[str, str]]:
    """Yield the lines about a release, each with its style."""
    about = document(release)
    yield f"sglang {release}, {about['date']}{', yanked' if about['yanked'] else ''}", "bold"
    states: dict[tuple[str, bool], list[str]] = {}
    for python in PYTHONS:
        if row := about["health"][python]:
            states.setdefault((_state(row), bool(row["works"])), []).append(python)
    for (text, works), pythons in states.items():
        label = f"Python {pythons[0]}" + (f" to {pythons[-1]}" if len(pythons) > 1 else "")
        yield from _entry(label, text, width, "green" if works else "red")
    pins = ", ".join(f"{name}{pin}" for name, pin in sorted(about["pins"].items()) if pin)
    wheels = sorted({f"{wheel['python']} {wheel['platform']}" for wheel in about["wheels"]})
    for label, value in (
        ("asks for", f"Python {about['requires_python']}" if about["requires_python"] else None),
        ("CUDA", about["cuda"]),
        ("pins", pins),
        *((f"GPU, {arch}", " ".join(code)) for arch, code in about["gpu_code"].items() if code),
        ("wheels", ", ".join(wheels) + ("" if about["sdist"] else "; no source package")),
        ("extras", ", ".join(about["extras"])),
    ):
        if value:
            yield from _entry(label, str(value), width, "")
    if flags := about["flags"]:
        for word in ("added", "removed", "deprecated"):
            if flags[word]:
                yield from _entry(f"flags {word}", f"{' '.join(flags[word])} (since {flags['since']})", width, "")
    yield f"Resolved on {about['knowledge']['generated_at'][:10]}.", "dim"


def _state(row: dict[str, Any]) -> str:
    if row["works"]:
        return "resolves, and its kernels fit its torch"
    reason = in_short(row["reason"]) if row["reason"] else "resolves, but brings kernels that do not fit its torch"
    text = f"{reason}."
    if row["works"] is None:
        text = "resolves; whether its kernels fit its torch is not known"
    if row["override"]:
        text += f" It works with the override {', '.join(row['override'])}."
    return text + (f" Nearest release that works: {row['nearest']}." if row["nearest"] else "")
