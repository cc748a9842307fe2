"""The distributions in an environment, read from their metadata folders, from outside."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from posixpath import join
from typing import TYPE_CHECKING, Any

from sgldoctor.rules.conditions import version_of
from sgldoctor.snapshot import Facts, Known, Unknown

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sgldoctor.system import System

# Distributions whose origin matters: a report shows who installed them and from where.
_MATTERS = re.compile(
    r"^(?:torch|torchvision|torchaudio|triton|sglang|sglang-router|sgl-kernel|sglang-kernel|flashinfer(?:-.*)?"
    r"|sgl-deep-gemm|deep-gemm|flash-attn(?:-.*)?|xgrammar|outlines|transformers|tokenizers|huggingface-hub|torchao"
    r"|vllm|numpy|ninja|setuptools|xformers|nvidia-.*|cuda-.*|pip|uv)$"
)
_HEADERS = ["Name", "Version", "Requires-Dist", "Provides-Extra"]
_FACTS = ("packages", "packages.duplicates", "packages.broken", "packages.damaged", "packages.shadowed")
# Distributions whose files are held against their RECORD.
_HELD = re.compile(r"^(?:torch|triton|sglang|sgl-kernel|sglang-kernel|flashinfer-python|transformers|nvidia-.*)$")
_CANONICAL = re.compile(r"[-_.]+")


@dataclass(frozen=True, slots=True)
class Distribution:
    """One metadata folder."""

    name: str
    version: str | None
    path: str
    location: str
    problem: str | None = None
    requires: tuple[str, ...] = field(default=())
    extras: tuple[str, ...] = field(default=())


def canonical(name: str) -> str:
    """Return the canonical name of a distribution (PEP 503)."""
    return _CANONICAL.sub("-", name).lower()


class Environment:
    """All distributions of an environment; the first folder on the path wins, as it does for an import."""

    def __init__(self, system: System, folders: list[str]) -> None:
        self._system = system
        self._read: dict[str, Distribution] = {}
        self.unreadable: list[tuple[str, str]] = []
        self.found: dict[str, list[tuple[str, str]]] = {}
        self.leftovers: list[str] = []
        for folder in folders:
            self._list(folder)

    def _list(self, folder: str) -> None:
        try:
            names = self._system.list_dir(folder)
        except OSError as error:
            self.unreadable.append((folder, error.strerror or str(error)))
            return
        for entry in names:
            stem, dot, ending = entry.rpartition(".")
            if not dot or ending not in {"dist-info", "egg-info"}:
                continue
            if entry.startswith("~"):
                self.leftovers.append(join(folder, entry))
                continue
            name = canonical(stem.split("-")[0]).strip("-")
            if not name:
                continue
            self.found.setdefault(name, []).append((folder, entry))

    def names(self) -> list[str]:
        """Return the canonical names, sorted."""
        return sorted(self.found)

    def get(self, name: str) -> Distribution | None:
        """Return the distribution that an import would use, or None."""
        name = canonical(name)
        if name not in self.found:
            return None
        if name not in self._read:
            self._read[name] = read_distribution(self._system, name, *self.found[name][0])
        return self._read[name]


def read_distribution(system: System, name: str, folder: str, entry: str) -> Distribution:
    """Return what one metadata folder says; what is wrong with it stands in ``problem``.

    A METADATA file begins like this::

        Metadata-Version: 2.1
        Name: sgl-kernel
        Version: 0.3.15
    """
    path = join(folder, entry)
    listed = entry.rpartition(".")[0].partition("-")[2].split("-py3")[0] or None
    parts = ("METADATA",) if entry.endswith(".dist-info") else ("PKG-INFO", "")
    error: OSError | None = None
    for part in parts:
        try:
            head = system.headers(join(path, part) if part else path, _HEADERS)
        except OSError as problem:
            error = error or problem
            continue
        version = next(iter(head.get("Version", ())), None)
        problem_text = None
        if not head.get("Name") or not version:
            problem_text = f"{part} names no {'version' if head.get('Name') else 'name'}"
        elif version_of(version) is None:
            problem_text = f"its version {version[:40]!r} is not PEP 440"
        return Distribution(
            name, version or listed, path, folder, problem_text,
            tuple(head.get("Requires-Dist", ())), tuple(head.get("Provides-Extra", ())),
        )  # fmt: skip
    reason = (error.strerror or str(error)) if error else "no metadata"
    return Distribution(name, listed, path, folder, f"{parts[0]} cannot be read: {reason}")


def probe(system: System, environment: Environment, source: str) -> Facts:
    """Return every distribution with its version, and what is broken about the metadata."""
    if environment.unreadable and not environment.found:
        folder, reason = environment.unreadable[0]
        unknown = Unknown(f"{folder} cannot be read: {reason}")
        return dict.fromkeys(_FACTS, unknown)
    facts: Facts = {}
    records: list[dict[str, Any]] = []
    broken = [
        {"name": join_name(path), "problem": "left behind by an interrupted uninstall", "where": path}
        for path in environment.leftovers
    ]
    for name in environment.names():
        distribution = _described(environment, name)
        record = {"name": name, "version": distribution.version, "location": distribution.location}
        if _MATTERS.match(name):
            record |= _origin(system, distribution)
            if distribution.problem:
                broken.append({"name": name, "problem": distribution.problem, "where": distribution.path})
        records.append(record)
        version = distribution.version
        facts[f"package.{name}"] = (
            Known(version, f"{distribution.path}/METADATA")
            if version and version_of(version)
            else Unknown(f"{name} has no readable version: {distribution.problem or distribution.path}")
        )
    facts["packages"] = Known(records, source)
    facts["packages.duplicates"] = Known(list(_duplicates(environment)), source)
    facts["packages.broken"] = Known(broken, source)
    facts["packages.damaged"] = Known(list(_damaged(system, environment, records)), source)
    facts["packages.shadowed"] = Known(list(_shadowed(environment)), source)
    return facts


def _described(environment: Environment, name: str) -> Distribution:
    """Return the distribution; the folder's name is enough for those that nothing depends on."""
    folder, entry = environment.found[name][0]
    stem = entry.rpartition(".")[0].partition("-")[2]
    if _MATTERS.match(name) or not stem or not entry.endswith(".dist-info"):
        found = environment.get(name)
        if found is not None:
            return found
    return Distribution(name, stem, join(folder, entry), folder)


def join_name(path: str) -> str:
    """Return the name that a left-over folder such as ``~orch-2.7.0.dist-info`` stands for."""
    return path.rpartition("/")[2].partition("-")[0]


def _origin(system: System, distribution: Distribution) -> dict[str, Any]:
    """Return local version label, installer, direct URL and whether the install is editable."""
    answer: dict[str, Any] = {}
    if "+" in (distribution.version or ""):
        answer["local"] = (distribution.version or "").partition("+")[2]
    try:
        answer["installer"] = system.read_text(join(distribution.path, "INSTALLER")).strip() or None
        direct = json.loads(system.read_text(join(distribution.path, "direct_url.json")))
    except (OSError, ValueError):
        return answer
    if isinstance(direct, dict):
        answer["url"] = str(direct.get("url"))
        folder = direct.get("dir_info")
        answer["editable"] = bool(isinstance(folder, dict) and folder.get("editable"))
    return answer


def _duplicates(environment: Environment) -> Iterator[dict[str, Any]]:
    """Yield distributions that have two metadata folders in one place, as an overwritten install leaves."""
    for name in environment.names():
        places = environment.found[name]
        for folder in dict.fromkeys(folder for folder, _ in places):
            entries = [entry for where, entry in places if where == folder and "-" in entry.rpartition(".")[0]]
            if len(entries) > 1:
                versions = " and ".join(entry.rpartition(".")[0].partition("-")[2] for entry in entries)
                yield {"name": name, "versions": versions, "where": folder}


def _damaged(system: System, environment: Environment, records: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Yield damage, one record per distribution and kind, for what pip or uv installed from a wheel."""
    for item in records:
        found = environment.get(item["name"])
        if not found or not _HELD.match(found.name) or item.get("installer") not in {"pip", "uv"}:
            continue
        try:
            files = system.damage(join(found.path, "RECORD"))
        except OSError:
            continue
        for problem in sorted({file["problem"] for file in files} - {"resized"}):
            paths = sorted(file["path"] for file in files if file["problem"] == problem)
            yield {
                "name": found.name, "version": found.version, "path": paths[0], "problem": problem,
                "count": len(paths), "where": found.path,
            }  # fmt: skip


def _shadowed(environment: Environment) -> Iterator[dict[str, Any]]:
    """Yield modules that several installed distributions write: each overwrites the other's files."""
    for module, names in (
        ("sgl_kernel", ("sgl-kernel", "sglang-kernel")),
        ("flashinfer", ("flashinfer", "flashinfer-python")),
    ):
        present = [name for name in names if name in environment.found]
        if len(present) > 1:
            yield {
                "module": module,
                "names": " and ".join(present),
                "where": environment.found[present[0]][0][0],
            }
