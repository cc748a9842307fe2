"""Which GPUs a CUDA program would see, what is left of them, and on how many the installed code runs."""

from __future__ import annotations

import re
from typing import Any

from sgldoctor.gpu_code import any_runs
from sgldoctor.rules.knowledge import find_gpu
from sgldoctor.snapshot import Fact, Facts, Known, Snapshot, Unknown

_VARIABLE = "CUDA_VISIBLE_DEVICES"
# "0", " 1", "+0" and "0gpu" are numbers to CUDA; "abc", "all" and "" are not (measured, driver 580, H200)
_NUMBER = re.compile(r"^\s*([+-]?\d+)")
_IDENTIFIER = re.compile(r"^\s*(?:GPU|MIG)-")
_REFUSED = "Insufficient Permissions"  # NVML_ERROR_NO_PERMISSION in pynvml's words
_SELECTED = ("gpu.visible_count", "gpu.visible_cut", "gpus.visible", "gpu.memory_held")


def derive(snapshot: Snapshot) -> Facts:
    """Return the GPUs that CUDA_VISIBLE_DEVICES leaves, and who holds their memory."""
    text = _text(snapshot)
    gpus = snapshot.get("gpus")
    if isinstance(gpus, Unknown):
        return {"gpu.visible": text, **dict.fromkeys((*_SELECTED, "gpu.kinds", "gpu.visible_capabilities"), gpus)}
    records = _usable(snapshot)
    facts: Facts = {"gpu.visible": text, "gpu.kinds": _kinds(records)}
    if records and all(record.get("visible") is not None for record in records):
        seen = [record for record in records if record["visible"]]
        facts |= {
            "gpu.visible_count": Known(len(seen), gpus.source),
            "gpu.visible_cut": Known(None, gpus.source),
            "gpus.visible": Known(seen, gpus.source),
            "gpu.memory_held": _held(snapshot, seen, gpus.source),
        }
    elif isinstance(text, Unknown):
        facts |= dict.fromkeys(_SELECTED, text)
    else:
        facts |= _selected(snapshot, records, text, gpus.source)
    return facts | {"gpu.visible_capabilities": _capabilities(facts["gpus.visible"])}


def coverage(snapshot: Snapshot) -> Facts:
    """Return on how many visible GPUs torch and the kernels run at all."""
    facts = {
        f"{part}.gpus_with_code": _rest(snapshot.get("gpus.visible"), snapshot.get(f"{part}.gpus_without_code"))
        for part in ("torch", "kernel")
    }
    return facts | {"extensions.without_code": _extensions(snapshot)}


def _extensions(snapshot: Snapshot) -> Fact:
    """Return the extension modules that should serve every GPU and hold no code for one that is visible."""
    visible, modules = snapshot.get("gpus.visible"), snapshot.get("extensions")
    for fact in (modules, visible):
        if isinstance(fact, Unknown) or fact.value is None:
            return fact
    found = []
    for item in snapshot.records("extensions"):
        targets = str(item.get("targets") or "").split()
        for gpu in snapshot.records("gpus.visible") if item.get("gpus") == "all" and targets else ():
            if any_runs(targets, str(gpu.get("capability"))) is False:
                about = {key: item.get(key) for key in ("package", "path", "file", "use", "targets")}
                found.append(about | {"name": gpu.get("name"), "capability": gpu.get("capability")})
                break
    return Known(found, "extensions.yaml")


def _rest(visible: Fact, without: Fact) -> Fact:
    for fact in (without, visible):
        if isinstance(fact, Unknown) or fact.value is None:
            return fact
    if not isinstance(visible, Known) or not isinstance(without, Known):
        return visible
    total, bad = visible.value, without.value
    if not isinstance(total, list) or not isinstance(bad, list):
        return Unknown("no list of GPUs")
    return Known(len(total) - len(bad), without.source)


def _text(snapshot: Snapshot) -> Fact:
    """Return the variable; None where it is not set, or where nobody speaks of variables at all."""
    if fact := snapshot.facts.get("gpu.visible"):
        return fact
    if fact := snapshot.facts.get(f"variable.{_VARIABLE}"):
        return fact
    listed = snapshot.facts.get("variables")
    return listed if isinstance(listed, Unknown) else Known(None, f"{_VARIABLE} is not set")


def _usable(snapshot: Snapshot) -> list[dict[str, Any]]:
    """Return the GPUs without those that this user may not open: NVML counts these too, CUDA does not."""
    refused = {
        error.get("index")
        for error in snapshot.records("gpu.errors")
        if error.get("question") == "handle" and error.get("text") == _REFUSED
    }
    return [record for record in snapshot.records("gpus") if record.get("index") not in refused]


def _selected(snapshot: Snapshot, records: list[dict[str, Any]], text: Known, source: str) -> Facts:
    """Return what CUDA makes of the variable.

    It reads from the left and stops at the first entry that is no GPU; an entry that comes twice makes it refuse
    all (measured, driver 580, H200: ``0,5`` shows one GPU, ``5,0`` and ``-1`` none, ``0,0`` is error 101).
    """
    if text.value is None:
        facts: Facts = {"gpu.visible_count": Known(len(records), text.source), "gpu.visible_cut": text}
        return facts | {
            "gpus.visible": Known(records, source),
            "gpu.memory_held": _held(snapshot, records, source),
        }
    entries = str(text.value).split(",")
    if any(_IDENTIFIER.match(entry) for entry in entries) or any(record.get("mig") for record in records):
        reason = Unknown(f"{_VARIABLE} is {text.value!r}; which GPUs that leaves cannot be told without their UUIDs")
        alike = Known(records, source) if _alike(records) else reason
        return {
            "gpu.visible_count": reason, "gpu.visible_cut": reason, "gpus.visible": alike, "gpu.memory_held": reason,
        }  # fmt: skip
    kept, cut = _read(entries, len(records))
    facts = {
        "gpu.visible_count": Known(len(kept), text.source),
        "gpu.visible_cut": Known(cut, text.source),
    }
    order = snapshot.value("variable.CUDA_DEVICE_ORDER")
    if set(kept) not in (set(), set(range(len(records)))) and not _alike(records) and order != "PCI_BUS_ID":
        reason = Unknown(f"{_VARIABLE} counts the fastest GPU first unless CUDA_DEVICE_ORDER is PCI_BUS_ID")
        return facts | {"gpus.visible": reason, "gpu.memory_held": reason}
    seen = [records[index] for index in kept]
    return facts | {"gpus.visible": Known(seen, text.source), "gpu.memory_held": _held(snapshot, seen, source)}


def _read(entries: list[str], count: int) -> tuple[list[int], str | None]:
    """Return the indexes that CUDA accepts and the entry at which it stops, None where it reads all."""
    kept: list[int] = []
    for position, entry in enumerate(entries):
        match = _NUMBER.match(entry)
        index = int(match[1]) if match else -1
        if not 0 <= index < count:
            last = position > 0 and position == len(entries) - 1 and not entry.strip()
            return kept, None if last else entry.strip()
        if index in kept:
            return [], entry.strip()
        kept.append(index)
    return kept, None


def _capabilities(visible: Fact) -> Fact:
    if isinstance(visible, Unknown) or not isinstance(visible.value, list):
        return visible
    found = [record.get("capability") if isinstance(record, dict) else None for record in visible.value]
    if None in found:
        return Unknown("the driver does not tell the compute capability of a GPU")
    return Known(sorted({str(item) for item in found}), visible.source)


def _alike(records: list[dict[str, Any]]) -> bool:
    return len({(record.get("name"), record.get("capability")) for record in records}) == 1


def _held(snapshot: Snapshot, seen: list[dict[str, Any]], source: str) -> Fact:
    """Return one record per GPU: how much of its memory is taken, and by whom."""
    processes = snapshot.records("gpu.processes")
    held: list[dict[str, Any]] = [
        {
            "index": gpu.get("index"),
            "name": gpu.get("name"),
            "used_mib": gpu.get("memory_used_mib"),
            "percent": gpu.get("memory_used_percent"),
            "held_by": ", ".join(_who(item) for item in processes if item.get("gpu") == gpu.get("index"))
            or "no process that is visible from here",
        }
        for gpu in seen
    ]
    return Known(held, source)


def _who(process: dict[str, Any]) -> str:
    user = f", user {process['user']}" if process.get("user") else ""
    return f"{process.get('name') or 'a process'} (pid {process.get('pid')}{user})"


def _kinds(records: list[dict[str, Any]]) -> Fact:
    models = [find_gpu(str(record.get("name"))) for record in records]
    if not models or not all(models):
        return Unknown("a GPU of unknown model")
    return Known(sorted({model.kind for model in models if model}), "gpus.yaml")
