"""The verdict from the files is what `import sgl_kernel` does: real wheels, then spoilt one by one. Slow: 4 GB."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.libcuda import stub_driver

pytestmark = [
    pytest.mark.slow,
    pytest.mark.enable_socket,
    pytest.mark.skipif(shutil.which("cc") is None, reason="no C compiler to build a libcuda.so.1 with"),
]
OPS = "sgl_kernel/sm100/common_ops.abi3.so"
Spoil = Callable[[Path], None]


class Environment:
    """torch 2.8.0 and sgl-kernel 0.3.15 with a libcuda.so.1 of empty functions; what is spoilt is put back."""

    def __init__(self, folder: Path) -> None:
        subprocess.run([sys.executable, "-m", "venv", str(folder / "env")], check=True)
        self.venv = folder / "env"
        pip = [str(self.venv / "bin/pip"), "install", "--quiet"]
        subprocess.run([*pip, "torch==2.8.0", "sgl-kernel==0.3.15"], check=True)
        self.site = next(self.venv.glob("lib/python3*/site-packages"))
        self.variables = stub_driver(folder / "stub", self.site)

    def imports(self) -> bool:
        """Return whether the kernels really import."""
        command = [str(self.venv / "bin/python"), "-c", "import sgl_kernel"]
        return subprocess.run(command, check=False, capture_output=True, env=self._environ()).returncode == 0

    def verdict(self) -> list[dict[str, Any]]:
        """Return the errors that check finds in the kernels."""
        command = [sys.executable, "-m", "sgldoctor", "check", "--venv", str(self.venv), "--json"]
        done = subprocess.run(command, check=False, capture_output=True, text=True, env=self._environ())
        return [
            finding
            for finding in json.loads(done.stdout)["findings"]
            if (finding["subject"], finding["severity"], finding["status"]) == ("sgl-kernel", "error", "found")
        ]

    def _environ(self) -> dict[str, str]:
        return {**os.environ, **self.variables, "PYTHONDONTWRITEBYTECODE": "1"}


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Environment:
    return Environment(tmp_path_factory.mktemp("truth"))


def gone(name: str) -> Spoil:
    return lambda site: shutil.move(site / name, site.parent / "gone")  # type: ignore[return-value]


def changed(name: str, old: bytes, new: bytes) -> Spoil:
    def spoil(site: Path) -> None:
        (path,) = site.glob(name)
        data = path.read_bytes()
        assert old in data
        path.unlink()  # the file is a link to the one that stays whole
        path.write_bytes(data.replace(old, new))

    return spoil


def cut(name: str, size: int) -> Spoil:
    def spoil(site: Path) -> None:
        with (site / name).open("rb") as file:
            data = file.read(size)
        (site / name).unlink()
        (site / name).write_bytes(data)

    return spoil


def flat(site: Path) -> None:
    shutil.move(site / OPS, site / "sgl_kernel" / "common_ops.abi3.so")


CASES: dict[str, tuple[Spoil, str | None]] = {
    "nothing": (lambda _site: None, None),
    "metadata-says-another-torch": (changed("torch-2*/METADATA", b"Version: 2.8.0", b"Version: 2.5.0"), None),
    "metadata-says-other-kernels": (changed("sgl_kernel-*/METADATA", b"Version: 0.3.15", b"Version: 0.1.0"), None),
    "only-the-library-for-hopper": (gone("sgl_kernel/sm100"), "kernel-library-absent"),
    "without-the-one-for-hopper": (gone("sgl_kernel/sm90"), None),
    "library-in-the-folder-itself": (flat, None),
    "nvrtc-gone": (gone("nvidia/cuda_nvrtc"), "kernel-library-missing"),
    "cublas-gone": (gone("nvidia/cublas"), "kernel-without-torch"),
    "nvtx-gone": (gone("nvidia/nvtx"), None),
    "library-cut": (cut(OPS, 1 << 20), "kernel-file-refused"),
    "library-empty": (cut(OPS, 0), "kernel-file-refused"),
    "kernels-ask-for-another-symbol": (
        changed(OPS, b"_ZN3c104cuda9SetDeviceEab", b"_ZN3c104cuda9SetDeviceEaX"), "kernel-does-not-fit-torch",
    ),
    "torch-exports-another-symbol": (
        changed("torch/lib/libc10_cuda.so", b"_ZN3c104cuda9SetDeviceEab", b"_ZN3c104cuda9SetDeviceEaX"),
        "kernel-does-not-fit-torch",
    ),
    "kernels-ask-python-for-another-symbol": (
        changed(OPS, b"\0PyModule_Create2\0", b"\0PyModule_Create9\0"), "kernel-symbol-missing",
    ),
}  # fmt: skip


@pytest.fixture
def spoilt(environment: Environment, request: pytest.FixtureRequest) -> Iterator[Environment]:
    """Spoil a copy of the environment's packages, made of hard links."""
    spoil, _ = CASES[request.param]
    whole = environment.site
    kept = whole.with_name("kept")
    whole.rename(kept)
    subprocess.run(["cp", "-al", str(kept), str(whole)], check=True)
    try:
        spoil(whole)
        yield environment
    finally:
        shutil.rmtree(whole)
        shutil.rmtree(whole.parent / "gone", ignore_errors=True)
        kept.rename(whole)


@pytest.mark.parametrize(("spoilt", "case"), [(name, name) for name in CASES], indirect=["spoilt"], ids=list(CASES))
def test_the_verdict_is_what_the_import_does(spoilt: Environment, case: str) -> None:
    expected = CASES[case][1]
    assert (spoilt.imports(), [finding["id"] for finding in spoilt.verdict()]) == (
        expected is None,
        [expected] if expected else [],
    )


def test_the_first_symbol_that_is_missing_is_named(environment: Environment) -> None:
    pip = [str(environment.venv / "bin/pip"), "install", "--quiet", "--no-deps"]
    subprocess.run([*pip, "sgl-kernel==0.2.8"], check=True)
    try:
        command = [str(environment.venv / "bin/python"), "-c", "import sgl_kernel"]
        done = subprocess.run(
            command, check=False, capture_output=True, text=True, env={**os.environ, **environment.variables}
        )
        symbol = re.search(r"undefined symbol: (\w+)", done.stderr)
        (finding,) = environment.verdict()
        assert symbol
        assert symbol[1] in finding["message"]
        assert "which fits torch 2.7" in finding["message"]
        assert "Torch 2.8.0 takes sgl-kernel 0.3.0 to 0.3.18." in finding["message"]
    finally:
        subprocess.run([*pip, "sgl-kernel==0.3.15"], check=True)
