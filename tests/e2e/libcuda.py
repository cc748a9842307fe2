"""A libcuda.so.1 of empty functions, with which kernels import where there is no driver."""

from __future__ import annotations

import subprocess
from pathlib import Path

from sgldoctor.system import RealSystem


def stub_driver(folder: Path, site: Path) -> dict[str, str]:
    """Build it for the libraries in a site-packages folder; return the variables with which they find it."""
    folder.mkdir()
    libraries = [path for path in site.rglob("*.so*") if path.is_file() and "nvidia" not in path.parts]
    names = {name for path in libraries for name in _driver_functions(path)}
    source = folder / "stub.c"
    source.write_text("\n".join(f"int {name}(void) {{ return 100; }}" for name in sorted(names)))
    library = str(folder / "libcuda.so.1")
    subprocess.run(["cc", "-shared", "-fPIC", "-Wl,-soname,libcuda.so.1", "-o", library, str(source)], check=True)
    (folder / "cuda" / "lib").mkdir(parents=True)
    return {"LD_LIBRARY_PATH": str(folder), "CUDA_HOME": str(folder / "cuda")}


def _driver_functions(path: Path) -> list[str]:
    try:
        return RealSystem().undefined(str(path), r"^cu[A-Z]")
    except OSError:
        return []
