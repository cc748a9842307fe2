"""An index in a folder, an empty cache, and plans about packages that exist only there."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from sgldoctor.install.execute import engine as engine_module
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


SERVER = """
import http.server, pathlib, sys
gone, asked = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2])
class Handler(http.server.SimpleHTTPRequestHandler):
    def do_GET(self):
        with asked.open("a") as file:
            file.write(self.path.rpartition("/")[2] + "\\n")
        if gone.exists() and self.path.endswith(".whl"):
            self.send_error(503)
        else:
            super().do_GET()
    def end_headers(self):
        self.send_header("Cache-Control", "max-age=0")
        super().end_headers()
    def log_message(self, *_):
        pass
server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
print(server.server_address[1], flush=True)
server.serve_forever()
"""


class Served:
    """The folder of an index, served."""

    def __init__(self, index: LocalIndex, gone: Path) -> None:
        self.asked = gone.with_name("asked")
        command = [sys.executable, "-c", SERVER, str(gone), str(self.asked)]
        self.process = subprocess.Popen(command, cwd=index.root, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout
        self.url = f"http://127.0.0.1:{self.process.stdout.readline().strip()}/"
        self.gone = gone

    def downloads(self) -> dict[str, int]:
        """Return how often each wheel was asked for."""
        names = self.asked.read_text().split() if self.asked.exists() else []
        return {name: names.count(name) for name in sorted(set(names)) if name.endswith(".whl")}

    def stop(self) -> None:
        self.process.kill()
        self.process.wait()
        if self.process.stdout:
            self.process.stdout.close()


@pytest.fixture
def served(index: LocalIndex, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Served]:
    found = Served(index, tmp_path / "gone")
    monkeypatch.setenv("UV_DEFAULT_INDEX", found.url)
    monkeypatch.setenv("UV_HTTP_RETRIES", "0")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr(engine_module, "_PAUSE", 0.0)
    try:
        yield found
    finally:
        found.stop()


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
