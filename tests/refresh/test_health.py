"""The health of releases: what a resolver answers becomes the table; here a script stands in for uv."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from sgldoctor.refresh import health
from sgldoctor.refresh.index import IndexFile, PackageIndex, PackageIndexError
from sgldoctor.rules.knowledge import PYTHONS
from sgldoctor.system import RealSystem

NOW = "2026-01-02T03:04:05Z"
GONE = "sgl-kernel==0.0.8"
SGLANG: dict[str, Any] = {"releases": {release: {} for release in ("0.3.9", "0.4.5", "0.5.3", "0.5.5", "0.5.6")}}
ABI = {
    "torch": ["2.8.0", "2.99.0"],
    "kernels": {"sgl-kernel": {"9.9.0": {"torch": ["2.99.0"]}}},
}
PINS = {
    "works": "torch==2.8.0\nsgl-kernel==0.3.15\njinja2==3\n",
    "newer": "torch==2.99.0\nsgl-kernel==9.9.0\n",
    "misfit": "torch==2.8.0+cu128\nsgl-kernel==0.3.21\n",
    "mended": "torch==2.8.0\nsgl-kernel==0.3.17.post1\n",
}
BECAUSE = "  x No solution found when resolving dependencies:\n  ╰─▶ Because {} and sglang[all]=={}\n      depends on it, we can conclude that sglang[all]=={} cannot be used.\n"  # fmt: skip
UV = """\
import json, os, sys
from pathlib import Path
here = Path(__file__).parent
if sys.argv[1] == "--version":
    print("uv 0.0.0 (test)"); sys.exit()
release = Path(sys.argv[3]).read_text().strip().rpartition("==")[2]
overrides = Path(sys.argv[sys.argv.index("--override") + 1]).read_text() if "--override" in sys.argv else ""
arguments = [sys.argv[sys.argv.index(name) + 1] for name in ("--python-version", "--python-platform")]
with (here / "asked").open("a") as log:
    print(release, *arguments, os.environ["UV_PYTHON_DOWNLOADS"], *overrides.split(), file=log)
answers = json.loads((here / "answers.json").read_text())
code, out, err = answers[f"{release} {overrides.strip()}".strip()]
print(out); print(err, file=sys.stderr); sys.exit(code)
"""


class Index(PackageIndex):
    """Lists the releases of one package."""

    def __init__(self) -> None:
        super().__init__("http://127.0.0.1/simple", 1)

    def files(self, project: str) -> list[IndexFile]:
        names = [
            f"{project.replace('-', '_')}-{v}-cp39-abi3-manylinux2014_x86_64.whl" for v in ("0.0.7", "0.1.0", "0.1.1")
        ]
        return [
            IndexFile(name, f"http://127.0.0.1/{name}", None, None, yanked=False, has_metadata=False) for name in names
        ]


@pytest.fixture
def uv(tmp_path: Path) -> Path:
    script = tmp_path / "uv"
    script.write_text(f"#!{sys.executable}\n{UV}")
    script.chmod(0o755)
    answer(script, **ANSWERS)
    return script


def because(reason: str, release: str) -> tuple[int, str, str]:
    return 1, "", BECAUSE.format(reason, release, release)


ANSWERS = {
    "0.4.5": because(f"there is no version of {GONE}", "0.4.5"),
    "0.4.5 sgl-kernel==0.1.0": (0, "torch==2.6.0\nsgl-kernel==0.1.0\n", ""),
    "0.5.3": (0, PINS["misfit"], ""),
    "0.5.3 sgl-kernel==0.3.17.post1": (0, PINS["mended"], ""),
    "0.5.5": (0, PINS["works"], ""),
    "0.5.6": (0, PINS["newer"], ""),
}


def answer(uv: Path, **answers: tuple[int, str, str]) -> None:
    uv.with_name("answers.json").write_text(json.dumps(answers))


def asked(uv: Path) -> list[str]:
    log = uv.with_name("asked")
    lines = log.read_text().splitlines() if log.exists() else []
    log.unlink(missing_ok=True)
    return lines


def refresh(uv: Path, folder: Path) -> dict[str, Any]:
    resolver = health.Resolver(RealSystem(), str(uv), folder / "cache")
    known = health.Known(SGLANG, {**ABI, "torch": [*ABI["torch"], "2.6.0"]})
    path = health.refresh(resolver, Index(), folder, NOW, known, lambda done, total: None)
    return dict(json.loads(path.read_text()))


def test_what_the_resolver_says_is_the_health(uv: Path, tmp_path: Path) -> None:
    found = refresh(uv, tmp_path)
    assert {key: found[key] for key in ("generated_at", "resolver", "counts")} == {
        "generated_at": NOW,
        "resolver": "uv 0.0.0",
        "counts": {"resolutions": 4 * 2 * len(PYTHONS), "resolve": 3 * 2 * len(PYTHONS)},
    }
    rows = {release: archs["x86_64"] for release, archs in found["releases"].items()}
    everywhere = {"pythons": list(PYTHONS)}
    assert rows == {
        "0.4.5": [{
            **everywhere, "resolves": False, "works": False, "override": ["sgl-kernel==0.1.0"],
            "versions": {"torch": "2.6.0", "sgl-kernel": "0.1.0"},
            "reason": f"Because there is no version of {GONE} and sglang[all]==0.4.5 depends on it, we can conclude that sglang[all]==0.4.5 cannot be used.",
        }],
        "0.5.3": [{
            **everywhere, "resolves": True, "works": False, "override": ["sgl-kernel==0.3.17.post1"], "reason": None,
            "versions": {"torch": "2.8.0", "sgl-kernel": "0.3.17.post1"},
        }],
        "0.5.5": [{
            **everywhere, "resolves": True, "works": True, "override": None, "reason": None,
            "versions": {"torch": "2.8.0", "sgl-kernel": "0.3.15"},
        }],
        "0.5.6": [{
            **everywhere, "resolves": True, "works": True, "override": None, "reason": None,
            "versions": {"torch": "2.99.0", "sgl-kernel": "9.9.0"},
        }],
    }  # fmt: skip
    assert found["releases"]["0.5.5"]["aarch64"] == rows["0.5.5"]


def test_each_question_is_asked_once(uv: Path, tmp_path: Path) -> None:
    refresh(uv, tmp_path)
    lines = asked(uv)
    assert len(lines) == len(set(lines)) == 6 * 2 * len(PYTHONS)
    assert "0.4.5 3.12 aarch64-manylinux_2_34 never sgl-kernel==0.1.0" in lines
    refresh(uv, tmp_path)
    assert asked(uv) == []


@pytest.mark.parametrize(
    ("trouble", "message"),
    [
        ((2, "", "error: Failed to fetch: `http://127.0.0.1/simple/torch/`"),
         "uv does not say why sglang 0.5.5 does not resolve: error: Failed to fetch: `http://127.0.0.1/simple/torch/`"),
        ((2, "", "error: No space left on device (os error 28)"),
         "uv does not say why sglang 0.5.5 does not resolve: error: No space left on device (os error 28)"),
    ],
)  # fmt: skip
def test_trouble_leaves_the_old_table_and_the_next_run_goes_on(
    trouble: tuple[int, str, str], message: str, uv: Path, tmp_path: Path
) -> None:
    (tmp_path / health.TABLE).write_text("old")
    answer(uv, **{**ANSWERS, "0.5.5": trouble})
    with pytest.raises(PackageIndexError) as caught:
        refresh(uv, tmp_path)
    assert str(caught.value) == message
    assert [path.read_text() for path in tmp_path.glob("health*")] == ["old"]
    before = asked(uv)
    answer(uv, **ANSWERS)
    refresh(uv, tmp_path)
    again = asked(uv)
    assert again
    assert not set(again) & {line for line in before if not line.startswith("0.5.5 ")}


def test_no_uv(uv: Path, tmp_path: Path) -> None:
    uv.unlink()
    with pytest.raises(PackageIndexError) as caught:
        refresh(uv, tmp_path)
    assert str(caught.value).startswith("uv does not resolve sglang 0.4.5: ")
    assert not list(tmp_path.glob("health*"))
