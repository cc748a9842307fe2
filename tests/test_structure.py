"""Imports point one way, and the pure rooms touch neither the machine nor a terminal."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import sgldoctor

PACKAGE = Path(sgldoctor.__file__).parent

# room -> rooms of sgldoctor that it may import; the order is the way the data goes.
ARROWS = {
    "errors": set(),
    "redact": set(),
    "schema": {"errors"},
    "gpu_code": set(),
    "binary": set(),
    "facts": {"errors"},
    "snapshot": {"errors", "facts"},
    "rules": {"errors", "facts", "snapshot", "derive", "diagnose", "explain", "report"},
    "explain": {"binary", "derive", "diagnose", "errors", "facts", "report", "rules", "snapshot"},
    "derive": {"binary", "gpu_code", "rules", "snapshot", "facts"},
    "report": {
        "diagnose",
        "explain",
        "gpu_code",
        "inspection",
        "matrix",
        "errors",
        "redact",
        "rules",
        "snapshot",
        "facts",
    },
    "diagnose": {"facts", "report", "rules", "snapshot"},
    "matrix": {"gpu_code", "rules"},
    "simulate": {"errors", "rules", "snapshot"},
    "system": {"binary", "errors", "redact"},
    "probes": {"binary", "errors", "facts", "redact", "rules", "snapshot", "system"},
    "inspection": {"binary", "errors", "probes", "refresh", "rules", "system"},
    "refresh": {"binary", "errors", "rules", "schema", "system"},
    "api": {"derive", "diagnose", "errors", "explain", "probes", "report", "rules", "snapshot", "system"},
    "install": {
        "api",
        "errors",
        "facts",
        "gpu_code",
        "matrix",
        "probes",
        "refresh",
        "report",
        "rules",
        "simulate",
        "snapshot",
        "system",
    },
    "cli": {
        "install",
        "explain",
        "matrix",
        "api",
        "errors",
        "facts",
        "gpu_code",
        "inspection",
        "probes",
        "redact",
        "refresh",
        "report",
        "rules",
        "schema",
        "simulate",
        "snapshot",
        "system",
    },
}
PURE_MODULES = {
    f"install/{name}.py"
    for name in ("advice", "assemble", "builds", "options", "plan", "planner", "stacks", "target", "vllm")
}
PURE = {"diagnose", "derive", "explain", "simulate", "rules", "gpu_code", "snapshot", "facts"}
NEVER_IN_PURE = {"typer", "rich", "subprocess", "socket", "psutil", "pynvml", "requests"}


def modules() -> list[tuple[str, Path]]:
    files = sorted(PACKAGE.rglob("*.py"))
    return [(path.relative_to(PACKAGE).parts[0].removesuffix(".py"), path) for path in files]


def imported(path: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return names


@pytest.mark.parametrize(("room", "path"), modules(), ids=lambda value: str(value).rpartition("sgldoctor/")[2])
def test_imports_point_one_way(room: str, path: Path) -> None:
    if room in {"__init__", "__main__"}:
        return
    rooms = {name.split(".")[1] for name in imported(path) if name.startswith("sgldoctor.")} - {"__version__"}
    assert rooms - ARROWS[room] - {room} == set()
    if room in PURE or str(path.relative_to(PACKAGE)) in PURE_MODULES or path.parent.name == "render":
        assert not {name for name in imported(path) if name.startswith("sgldoctor.system")}
        assert {name.split(".")[0] for name in imported(path)} & NEVER_IN_PURE == set()


def test_no_file_is_longer_than_400_lines() -> None:
    lengths = {path.name: len(path.read_text(encoding="utf-8").splitlines()) for _, path in modules()}
    assert {name: length for name, length in lengths.items() if length > 400} == {}
