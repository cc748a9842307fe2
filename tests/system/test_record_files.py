from __future__ import annotations

import shutil
import sys
import sysconfig
from pathlib import Path

from sgldoctor.system import RealSystem

LIBRARY = next(Path(sysconfig.get_path("platstdlib")).glob("lib-dynload/*.so"), Path(sys.executable))


def installed(site: Path) -> Path:
    """Install one library and two modules, and return their RECORD."""
    (site / "torch/lib").mkdir(parents=True)
    shutil.copy(LIBRARY, site / "torch/lib/libc10.so")
    (site / "torch/__init__.py").write_text("x = 1\n")
    (site / "torch/sub").mkdir()
    (site / "torch/sub/other.py").write_text("x = 1\n")
    record = site / "torch-2.8.0.dist-info/RECORD"
    record.parent.mkdir()
    names = ("torch/lib/libc10.so", "torch/__init__.py", "torch/sub/other.py")
    lines = [f"{name},sha256=x,{(site / name).stat().st_size}" for name in names]
    record.write_text("\n".join([*lines, "torch-2.8.0.dist-info/RECORD,,"]) + "\n")
    return record


def test_an_installation_as_it_was_recorded_is_whole(tmp_path: Path) -> None:
    assert RealSystem().damage(str(installed(tmp_path))) == []


def test_missing_and_changed_decisive_files_are_told_and_others_are_not(tmp_path: Path) -> None:
    record = installed(tmp_path)
    (tmp_path / "torch/lib/libc10.so").unlink()
    (tmp_path / "torch/__init__.py").write_text("raise RuntimeError\n")
    (tmp_path / "torch/sub/other.py").unlink()
    assert RealSystem().damage(str(record)) == [
        {"path": "torch/lib/libc10.so", "problem": "missing"},
        {"path": "torch/__init__.py", "problem": "changed"},
    ]


def test_a_library_cut_short_is_told_from_one_that_only_differs(tmp_path: Path) -> None:
    record = installed(tmp_path)
    library = tmp_path / "torch/lib/libc10.so"
    whole = library.read_bytes()
    library.write_bytes(whole + b"\0" * 64)
    assert RealSystem().damage(str(record)) == [{"path": "torch/lib/libc10.so", "problem": "resized"}]
    library.write_bytes(whole[: len(whole) // 2])
    assert RealSystem().damage(str(record)) == [{"path": "torch/lib/libc10.so", "problem": "truncated"}]
    library.write_bytes(b"")
    assert RealSystem().damage(str(record)) == [{"path": "torch/lib/libc10.so", "problem": "truncated"}]


def test_a_module_that_the_import_needs_is_gone_when_it_is_empty_too(tmp_path: Path) -> None:
    record = tmp_path / "sgl_kernel-0.3.15.dist-info/RECORD"
    for name in ("sgl_kernel/gemm.py", "sgl_kernel/moe.py", "sgl_kernel/testing/rope.py"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("x = 1\n")
    record.parent.mkdir()
    record.write_text("".join(f"sgl_kernel/{name},,6\n" for name in ("gemm.py", "moe.py", "testing/rope.py")))
    assert RealSystem().damage(str(record)) == []
    (tmp_path / "sgl_kernel/gemm.py").unlink()
    (tmp_path / "sgl_kernel/moe.py").write_text("")
    (tmp_path / "sgl_kernel/testing/rope.py").unlink()
    assert RealSystem().damage(str(record)) == [
        {"path": "sgl_kernel/gemm.py", "problem": "module missing"},
        {"path": "sgl_kernel/moe.py", "problem": "module missing"},
    ]
