"""An index in a folder, an empty cache, and plans about packages that exist only there."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from sgldoctor.install.execute.reporter import Reporter
from sgldoctor.install.plan import READY, Environment, Plan, Step
from tests.install.execute.local_index import LocalIndex


class Told(Reporter):
    """Keeps what is told."""

    def __init__(self) -> None:
        self.texts: list[str] = []

    def begin(self, title: str, size: int | None = None) -> None:
        self.texts.append(f"begin {title}")

    def end(self, text: str) -> None:
        self.texts.append(f"end {text}")

    def note(self, text: str) -> None:
        self.texts.append(f"note {text}")


@pytest.fixture
def told() -> Told:
    return Told()


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> LocalIndex:
    """Three packages: base; middle, which requires it; top, which requires both."""
    made = LocalIndex(tmp_path / "index")
    made.add("base", "1.0", requires=("helper",))
    made.add("base", "2.0", requires=("helper",))
    made.add("helper", "1.5")
    made.add("middle", "1.0", requires=("base",))
    made.add("top", "1.0", requires=("base>=1", "middle"))
    for name in ("UV_INDEX_URL", "UV_EXTRA_INDEX_URL", "PIP_FIND_LINKS", "UV_FIND_LINKS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("UV_DEFAULT_INDEX", made.url)
    monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("UV_PYTHON_DOWNLOADS", "never")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    (tmp_path / "home").mkdir()
    return made


STEPS = (
    Step("base", ("base==1.0",), ("base",)),
    Step("middle", ("middle",), ("base", "middle")),
    Step("top", ("top",), ("versions",)),
)
VERSIONS = (("base", "1.0"), ("middle", "1.0"), ("top", "1.0"))


def plan_for(
    venv: Path | str, *, steps: tuple[Step, ...] = STEPS, versions: tuple[tuple[str, str], ...] = VERSIONS,
    python: str = sys.executable, name: str = "sglang",
) -> Plan:  # fmt: skip
    """Return a ready plan of one environment."""
    return Plan(READY, False, None, (("gpus", []),), (Environment(name, str(venv), python, versions, steps),))


def installed(venv: Path) -> dict[str, str]:
    """Return every file below an environment but those of its state and its time stamps, with its contents."""
    return {
        str(path.relative_to(venv)): path.read_bytes().hex()
        for path in sorted(venv.rglob("*"))
        if path.is_file() and ".sgldoctor" not in path.parts and path.name != ".lock"
    }
