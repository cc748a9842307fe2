from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from sgldoctor.install.verify import script, scripts

VERSIONS = {"torch": "2.9.1", "sglang": "0.5.9", "flashinfer-python": "0.6.3", "sgl-kernel": "0.3.21"}


class Site:
    """Modules and metadata in a folder, as an environment would hold them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def add(self, name: str, version: str, module: str, source: str) -> None:
        package = self.folder / module
        package.mkdir()
        (package / "__init__.py").write_text(source)
        info = self.folder / f"{name.replace('-', '_')}-{version}.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")

    def run(self, program: str) -> tuple[int, str, str]:
        done = subprocess.run(
            [sys.executable, "-B", "-c", program], check=False, capture_output=True, text=True,
            env={**os.environ, "PYTHONPATH": str(self.folder), "LD_LIBRARY_PATH": ""},
        )  # fmt: skip
        return done.returncode, done.stdout.strip(), done.stderr.strip()


TORCH = """
__version__ = "2.9.1+cu128"
class version:
    cuda = "12.8"
class cuda:
    @staticmethod
    def is_available():
        return False
"""


@pytest.fixture
def site(tmp_path: Path) -> Site:
    made = Site(tmp_path)
    made.add("torch", "2.9.1", "torch", TORCH)
    made.add("sglang", "0.5.9", "sglang", "")
    return made


def test_torch_with_its_cuda(site: Site) -> None:
    assert site.run(script("torch", VERSIONS)) == (0, "ok: torch 2.9.1+cu128 CUDA 12.8 no GPU here", "")


def test_another_torch(site: Site) -> None:
    assert site.run(script("torch", {"torch": "2.8.0"})) == (1, "", "torch is 2.9.1, the plan says 2.8.0")
    assert site.run(script("torch-unchanged", {"torch": "2.8.0"})) == (
        1, "", "torch was replaced: it is 2.9.1, the plan says 2.8.0",
    )  # fmt: skip
    assert site.run(script("torch-unchanged", VERSIONS)) == (0, "", "")


def test_a_torch_without_cuda(tmp_path: Path) -> None:
    made = Site(tmp_path)
    made.add("torch", "2.9.1", "torch", TORCH.replace('"12.8"', "None"))
    assert made.run(script("torch", VERSIONS)) == (1, "", "torch is a build without CUDA")


def test_versions(site: Site) -> None:
    assert site.run(script("sglang", VERSIONS)) == (0, "ok: sglang 0.5.9", "")
    assert site.run(script("sglang", {"sglang": "0.5.8"})) == (1, "", "sglang is 0.5.9, the plan says 0.5.8")
    assert site.run(script("versions", {"torch": "2.9.1", "sglang": "0.5.9"})) == (0, "ok: 2 versions as planned", "")
    assert site.run(script("versions", {"torch": "2.9.0", "sglang": "0.5.9"})) == (
        1, "", "torch is 2.9.1, the plan says 2.9.0",
    )  # fmt: skip
    assert site.run(script("sgl-kernel", VERSIONS)) == (1, "", "sgl-kernel is not installed")


def test_an_import_that_fails_is_one_line(site: Site) -> None:
    source = "raise ImportError('libnuma.so.1: cannot open shared object file:\\n\\nNo such file')"
    site.add("flashinfer-python", "0.6.3", "flashinfer", source)
    assert site.run(script("flashinfer", VERSIONS)) == (
        1, "", "import flashinfer fails: ImportError: libnuma.so.1: cannot open shared object file: No such file",
    )  # fmt: skip


def test_kernels_without_a_driver_are_not_imported(site: Site) -> None:
    site.add("sgl-kernel", "0.3.21", "sgl_kernel", "raise SystemExit('imported')")
    code, out, err = site.run(script("kernel", VERSIONS).replace("libcuda.so.1", "libnowhere.so.1"))
    assert (code, out, err) == (0, "ok: sgl_kernel is there; not imported, there is no driver here", "")


def test_kernels_with_a_driver_are_imported(site: Site) -> None:
    site.add("sgl-kernel", "0.3.21", "sgl_kernel", "raise ImportError('undefined symbol')")
    code, out, err = site.run(script("kernel", VERSIONS).replace("libcuda.so.1", "libc.so.6"))
    assert (code, out, err) == (1, "", "import sgl_kernel fails: ImportError: undefined symbol")


def test_several_checks_are_one_program_and_the_first_that_fails_ends_it(site: Site) -> None:
    program = scripts(("torch", "sgl-kernel", "sglang"), VERSIONS)
    assert site.run(program) == (1, "ok: torch 2.9.1+cu128 CUDA 12.8 no GPU here", "sgl-kernel is not installed")
