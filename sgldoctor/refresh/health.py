"""The health of each sglang release today: does it still resolve, on which Python and CPU, and if not, why.

Asked of uv itself, which users would run: ``uv pip compile`` of ``sglang[all]==V``.
"""

from __future__ import annotations

import json
import re
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from packaging.version import Version

from sgldoctor.refresh.index import PackageIndexError
from sgldoctor.refresh.writing import lined, replace
from sgldoctor.rules.knowledge import PYTHONS, kernel_fits, kernel_for_torch

if TYPE_CHECKING:
    from collections.abc import Callable

    from sgldoctor.refresh.index import PackageIndex
    from sgldoctor.system import System

TABLE = "health.json"
OLDEST = Version("0.4.0")
"""The oldest release whose health is looked into; those before it take their torch from vllm."""

PLATFORMS = {"x86_64": "x86_64-manylinux_2_34", "aarch64": "aarch64-manylinux_2_34"}
SOURCE = "uv pip compile of sglang[all]==V, default pre-release mode, builds allowed, manylinux_2_34"
WORKERS = 2
"""Resolutions at once; each keeps a core busy."""

_TIMEOUT = 600  # seconds
_MOST_OVERRIDES = 3
_KEPT = (
    "torch", "torchvision", "torchaudio", "triton", "flashinfer-python", "flashinfer-cubin", "sgl-kernel",
    "sglang-kernel", "transformers", "xgrammar", "torchao", "vllm", "outlines",
)  # fmt: skip
_PINNED = re.compile(r"^([A-Za-z0-9][\w.-]*)==([^\s;]+)", re.MULTILINE)
_REASON = re.compile(r"Because .*?(?:cannot be used|are unsatisfiable|are incompatible)", re.DOTALL)
_NO_VERSION = re.compile(r"there is no version of ([\w.-]+)(?:\[[^\]]*\])?==([\w.!+]+)")
_YANKED = re.compile(r"([\w.-]+)==([\w.!+]+) was yanked")


@dataclass(frozen=True, slots=True)
class Known:
    """The tables that health is judged by: the releases, and which torch their kernels fit."""

    sglang: dict[str, Any]
    abi: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Question:
    """One release on one Python and CPU, with overrides that replace requirements."""

    release: str
    python: str
    arch: str
    overrides: tuple[str, ...] = ()

    def name(self) -> str:
        """Return the name of its answer in the cache."""
        return "_".join((self.release, self.python, self.arch, *(o.replace("==", "-") for o in self.overrides)))


@dataclass(frozen=True, slots=True)
class Resolver:
    """uv, its cache of answers, and where it finds packages."""

    system: System
    uv: str
    cache: Path
    index_url: str | None = None
    counts: dict[str, int] = field(default_factory=lambda: {"asked": 0, "kept": 0})

    def ask(self, question: Question) -> dict[str, Any]:
        """Return ``{resolves, versions, reason}``, from the cache where it stands there.

        Raises:
            PackageIndexError: uv does not run, or does not answer in time, or says nothing that can be used.
        """
        path = self.cache / f"{question.name()}.json"
        if path.exists():
            self.counts["kept"] += 1
            kept: dict[str, Any] = json.loads(path.read_text("utf-8"))
            return kept
        answer = self._resolve(question)
        self.counts["asked"] += 1
        beside = path.with_suffix(".new")
        beside.write_text(json.dumps(answer), "utf-8")
        beside.replace(path)
        return answer

    def _resolve(self, question: Question) -> dict[str, Any]:
        with tempfile.TemporaryDirectory() as folder:
            wanted, overrides = Path(folder, "wanted.txt"), Path(folder, "overrides.txt")
            wanted.write_text(f"sglang[all]=={question.release}\n", "utf-8")
            overrides.write_text("".join(f"{line}\n" for line in question.overrides), "utf-8")
            command = [
                self.uv, "pip", "compile", str(wanted), "--python-version", question.python, "--python-platform",
                PLATFORMS[question.arch], "--no-header", "--no-annotate", "--no-progress", "--color", "never",
                *(["--override", str(overrides)] if question.overrides else []),
            ]  # fmt: skip
            # A Python for building source packages is taken from what is here: downloads wait for each other.
            settings = {"UV_PYTHON_DOWNLOADS": "never"} | (
                {"UV_DEFAULT_INDEX": self.index_url} if self.index_url else {}
            )
            try:
                done = self.system.run(command, timeout=_TIMEOUT, env=settings)
            except OSError as error:
                problem = error.strerror or error
                raise PackageIndexError(f"uv does not resolve sglang {question.release}: {problem}") from error
        if done.code == 0:
            versions = {name: version.partition("+")[0] for name, version in _PINNED.findall(done.out)}
            return {"resolves": True, "versions": {k: versions[k] for k in _KEPT if k in versions}, "reason": None}
        reason = _REASON.search(done.err)
        if not reason:
            last = " ".join(done.err.split())[-300:]
            raise PackageIndexError(f"uv does not say why sglang {question.release} does not resolve: {last}")
        return {"resolves": False, "versions": {}, "reason": f"{' '.join(reason[0].split())}."}


def refresh(
    resolver: Resolver,
    index: PackageIndex,
    folder: Path,
    generated_at: str,
    known: Known,
    progress: Callable[[int, int], None],
) -> Path:
    """Write the table anew and return its path; an interrupted run leaves the old table as it was.

    Args:
        resolver: who is asked.
        index: where versions are listed, for the overrides that mend a release.
        folder: where the table goes.
        generated_at: the time to write into it.
        known: the tables that the other parts of the same run wrote, or the ones in use.
        progress: is told how many of how many resolutions are done.

    Raises:
        PackageIndexError: the index or uv does not answer.
    """
    resolver.cache.mkdir(parents=True, exist_ok=True)
    releases = [release for release in known.sglang["releases"] if Version(release) >= OLDEST]
    questions = [Question(r, python, arch) for r in releases for arch in PLATFORMS for python in PYTHONS]
    versions: dict[str, list[Version]] = {}
    done = 0

    def row(question: Question) -> dict[str, Any]:
        nonlocal done
        answer = _health(resolver, index, known, versions, question)
        done += 1
        progress(done, len(questions))
        return answer

    with ThreadPoolExecutor(WORKERS) as pool:
        rows = dict(zip(questions, pool.map(row, questions), strict=True))
    document = {
        "schema_version": 1,
        "generated_at": generated_at,
        "source": SOURCE,
        "resolver": resolver.system.run([resolver.uv, "--version"]).out.split("(")[0].strip(),
        "counts": {"resolutions": len(rows), "resolve": sum(answer["resolves"] for answer in rows.values())},
        "releases": {
            release: {arch: _grouped({p: rows[Question(release, p, arch)] for p in PYTHONS}) for arch in PLATFORMS}
            for release in sorted(releases, key=Version)
        },
    }
    return replace(folder / TABLE, lined(document))


def _grouped(rows: dict[str, dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the answers, each with the Pythons that it is for."""
    found: list[dict[str, Any]] = []
    for python, answer in rows.items():
        same = next((row for row in found if {k: v for k, v in row.items() if k != "pythons"} == answer), None)
        if same:
            same["pythons"].append(python)
        else:
            found.append({"pythons": [python], **answer})
    return found


def _health(
    resolver: Resolver, index: PackageIndex, known: Known, versions: dict[str, list[Version]], question: Question
) -> dict[str, Any]:
    """Return the answer with whether it works, and the override that mends it where there is one."""
    answer = resolver.ask(question)
    works = answer["resolves"] and kernel_fits(answer["versions"], known.abi)
    if works is not False:
        return {**answer, "works": works, "override": None}
    overrides: tuple[str, ...] = ()
    mended = answer
    while mended["resolves"] is False or kernel_fits(mended["versions"], known.abi) is False:
        override = _other_kernel(mended["versions"]) or _override(index, versions, str(mended["reason"]))
        if override is None or override in overrides or len(overrides) == _MOST_OVERRIDES:
            return {**answer, "works": False, "override": None}
        overrides = (*overrides, override)
        mended = resolver.ask(Question(question.release, question.python, question.arch, overrides))
    return {**answer, "works": False, "override": list(overrides), "versions": mended["versions"]}


def _other_kernel(versions: dict[str, str]) -> str | None:
    """Return the newest kernels that fit the torch of a resolution, where their distribution has the same name."""
    wanted = kernel_for_torch(versions["torch"]) if "torch" in versions else None
    return wanted if wanted and wanted.partition("==")[0] in versions else None


def _override(index: PackageIndex, versions: dict[str, list[Version]], reason: str) -> str | None:
    """Return the next later release of the pin that cannot be met; None where no pin is named, or nothing is later."""
    match = _NO_VERSION.search(reason) or _YANKED.search(reason)
    if not match:
        return None
    name, version = match[1], Version(match[2])
    if name not in versions:
        versions[name] = _released(index, name)
    later = [known for known in versions[name] if known > version and (not known.is_prerelease or known.is_postrelease)]
    return f"{name}=={later[0]}" if later else None


def _released(index: PackageIndex, name: str) -> list[Version]:
    found = set()
    for file in index.files(name):
        match = re.match(r"^[\w.]+?-([0-9][^-]*?)(?:-.*\.whl|\.tar\.gz|\.zip)$", file.name)
        if match and not file.yanked:
            found.add(Version(match[1]))
    return sorted(found)
