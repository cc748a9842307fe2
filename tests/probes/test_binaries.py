"""What loading torch and the kernels comes to, on packages that are built here."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from sgldoctor.probes import binaries
from sgldoctor.snapshot import Facts, Known
from sgldoctor.system import RealSystem
from tests.binary.libraries import build, needs_compiler

pytestmark = needs_compiler
PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"


class Site:
    """A folder of packages: a torch that loads, and kernels."""

    def __init__(self, folder: Path, *, chooses: bool) -> None:
        self.folder = folder
        self.c10 = build(folder / "torch/lib/libc10.so", "void c10_there(void) {}", "-soname,libc10.so")
        build(folder / "torch/lib/libtorch_global_deps.so", "")
        binding = folder / f"torch/_C.cpython-{PYTHON.replace('.', '')}-x86_64-linux-gnu.so"
        build(
            binding,
            "void c10_there(void); void f(void) { c10_there(); }",
            f"-rpath,{self.c10.parent}",
            needs=(self.c10,),
        )
        (folder / "torch/__init__.py").write_text("")
        (folder / "sgl_kernel").mkdir()
        (folder / "sgl_kernel/__init__.py").write_text('ops_subdir = "sm100"\n' if chooses else "import common_ops\n")

    def kernel(self, place: str, asks: str = "c10_there") -> Path:
        path = self.folder / "sgl_kernel" / place / "common_ops.abi3.so"
        return build(path, f"void {asks}(void); void f(void) {{ {asks}(); }}", needs=(self.c10,))

    def record(self) -> None:
        """Write torch's RECORD with the sizes of now."""
        (self.folder / "torch-2.8.0.dist-info").mkdir()
        lines = [f"torch/lib/{path.name},,{path.stat().st_size}\n" for path in (self.folder / "torch/lib").iterdir()]
        (self.folder / "torch-2.8.0.dist-info/RECORD").write_text("".join(lines))

    def probe(self) -> Facts:
        return binaries.probe(RealSystem(), sys.executable, [str(self.folder)], PYTHON)


def records(facts: Facts, name: str) -> list[dict[str, object]]:
    fact = facts[name]
    assert isinstance(fact, Known)
    return fact.value  # type: ignore[return-value]


def loads(facts: Facts) -> list[tuple[object, object]]:
    return [(item["variant"], item["loads"]) for item in records(facts, "kernel.files")]


def missing(facts: Facts) -> list[object]:
    return [item["name"] for item in records(facts, "kernel.failures_by_file")]


def test_kernels_that_choose_have_a_library_for_hopper_and_one_for_the_others(tmp_path: Path) -> None:
    site = Site(tmp_path, chooses=True)
    site.kernel("sm90")
    site.kernel("sm100", "nobody_has_this")
    facts = site.probe()
    assert (loads(facts), missing(facts)) == ([("sm90", True), ("sm100", False)], ["nobody_has_this"])


def test_a_library_that_other_kernels_left_behind_is_not_looked_at(tmp_path: Path) -> None:
    site = Site(tmp_path, chooses=False)
    site.kernel("sm100")
    site.kernel(".", "nobody_has_this")
    facts = site.probe()
    assert (loads(facts), missing(facts)) == ([("flat", False)], ["nobody_has_this"])


def test_a_link_to_nothing_is_refused(tmp_path: Path) -> None:
    site = Site(tmp_path, chooses=False)
    (tmp_path / "sgl_kernel/common_ops.abi3.so").symlink_to("/nowhere")
    facts = site.probe()
    assert (loads(facts), missing(facts)) == ([("flat", False)], ["it is a link to nothing"])


def test_a_library_of_ld_preload_is_in_the_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    site = Site(tmp_path, chooses=False)
    site.kernel(".", "only_preloaded")
    extra = build(tmp_path / "extra/libextra.so", "void only_preloaded(void) {}")
    assert missing(site.probe()) == ["only_preloaded"]
    monkeypatch.setenv("LD_PRELOAD", f"libnowhere.so {extra}")
    assert loads(site.probe()) == [("flat", True)]


def test_all_symbols_of_a_torch_that_was_altered_are_looked_up(tmp_path: Path) -> None:
    site = Site(tmp_path, chooses=False)
    helper = build(tmp_path / "torch/lib/libtorch_cpu.so", "void c10_there(void); void g(void) { c10_there(); }",
                   "-soname,libtorch_cpu.so", f"-rpath,{site.c10.parent}", needs=(site.c10,))  # fmt: skip
    binding = next((tmp_path / "torch").glob("_C.*"))
    build(binding, "void g(void); void f(void) { g(); }", f"-rpath,{site.c10.parent}", needs=(helper,))
    site.record()
    assert records(site.probe(), "torch.failures") == []
    site.c10.unlink()
    build(site.c10, "void of_another_release(void) {}" + "int filler[9000] = {1};", "-soname,libc10.so")
    assert [(item["name"], item["needed_by"]) for item in records(site.probe(), "torch.failures")] == [
        ("c10_there", "libtorch_cpu.so")
    ]


def test_no_folder_for_cuda_is_asked_of_kernels_that_do_not_search_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = Site(tmp_path, chooses=False)
    site.kernel(".")
    assert site.probe()["kernel.cuda_folder_found"] == Known(None, "these kernels do not search for it")
    (tmp_path / "sgl_kernel/load_utils.py").write_text('raise RuntimeError("Could not find CUDA lib directory.")\n')
    monkeypatch.setenv("CUDA_HOME", str(tmp_path / "cuda"))
    assert site.probe()["kernel.cuda_folder_found"] == Known(False, str(tmp_path / "cuda"))
    os.makedirs(tmp_path / "cuda/cuda_runtime/lib")
    (tmp_path / "cuda/cuda_runtime/lib/libcudart.so.12").touch()
    assert site.probe()["kernel.cuda_folder_found"] == Known(True, str(tmp_path / "cuda"))


def test_an_interpreter_that_is_none_leaves_all_open(tmp_path: Path) -> None:
    Site(tmp_path, chooses=False)
    script = tmp_path / "python"
    script.write_text("#!/bin/sh\n")
    facts = binaries.probe(RealSystem(), str(script), [str(tmp_path)], PYTHON)
    assert {type(fact).__name__ for fact in facts.values()} == {"Unknown"}
