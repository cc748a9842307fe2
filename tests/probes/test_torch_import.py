"""What `import torch` loads by itself, by release, and what comes of it for libraries that the compiler makes."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from sgldoctor.probes.loader import Failure, Process
from sgldoctor.probes.torch_import import Preloads, load_torch, preloads
from sgldoctor.system import RealSystem
from tests.binary.libraries import build, needs_compiler

UP_TO_2_5 = """
def _preload_cuda_deps(lib_folder: str, lib_name: str) -> None:
    ...
def _load_global_deps() -> None:
    try:
        ctypes.CDLL(global_deps_lib_path, mode=ctypes.RTLD_GLOBAL)
    except OSError as err:
        cuda_libs: _Dict[str, str] = {
            "cublas": "libcublas.so.*[0-9]",
            "cuda_nvrtc": "libnvrtc.so.*[0-9]",
            "nvtx": "libnvToolsExt.so.*[0-9]",
        }
        for lib_folder, lib_name in cuda_libs.items():
            _preload_cuda_deps(lib_folder, lib_name)
"""
FROM_2_6 = """
    try:
        ctypes.CDLL(global_deps_lib_path, mode=ctypes.RTLD_GLOBAL)
        try:
            with open("/proc/self/maps") as f:
                _maps = f.read()
            if "nvidia/cuda_runtime/lib/libcudart.so" not in _maps:
                return
            _preload_cuda_deps("cuda_nvrtc", "libnvrtc.so.*[0-9]")
            _preload_cuda_deps("nvjitlink", "libnvJitLink.so.*[0-9]")
        except Exception:
            pass
    except OSError as err:
        cuda_libs: dict[str, str] = {
            "cublas": "libcublas.so.*[0-9]",
            "cusparselt": "libcusparseLt.so.*[0-9]",
        }
        if t_major >= 12:
            cuda_libs["cufile"] = "libcufile.so.*[0-9]"
"""
FROM_2_9 = """
    try:
        try:
            if "libcudart.so" not in _maps:
                return
            _preload_cuda_deps("cuda_nvrtc", "libnvrtc.so.*[0-9]")
            _preload_cuda_deps("nvjitlink", "libnvJitLink.so.*[0-9]")
        except Exception:
            pass
    except OSError as err:
        cuda_libs: dict[str, str] = {
            "cublas": "libcublas.so.*[0-9]",
            "cusparselt": "libcusparseLt.so.*[0-9]",
            "cufile": "libcufile.so.*[0-9]",
        }
        for lib_folder, lib_name in cuda_libs.items():
            _preload_cuda_deps(lib_folder, lib_name)
        _preload_cuda_deps("nvtx", "libnvToolsExt.so.*[0-9]", required=False)
"""
FROM_2_10 = """
    nvidia_lib_paths += glob.glob(
        os.path.join(path, "nvidia", f"cu{maj_cuda_version}", "lib", lib_name)
    )
def _preload_cuda_lib(lib_folder: str, lib_name: str, required: bool = True) -> None:
    ...
def _preload_cuda_deps(err: OSError | None = None) -> None:
    cuda_libs: list[tuple[str, str]] = [
        ("cublas", "libcublasLt.so.*[0-9]"),
        ("cublas", "libcublas.so.*[0-9]"),
        ("nvshmem", "libnvshmem_host.so.*[0-9]"),
    ]
    for lib_folder, lib_name in cuda_libs:
        _preload_cuda_lib(lib_folder, lib_name)
    _preload_cuda_lib("nvtx", "libnvToolsExt.so.*[0-9]", required=False)
def _load_global_deps() -> None:
    try:
        ctypes.CDLL(global_deps_lib_path, mode=ctypes.RTLD_GLOBAL)
        try:
            if "libcudart.so" not in _maps:
                return
            _preload_cuda_deps()
        except Exception:
            pass
    except OSError as err:
        _preload_cuda_deps(err)
"""
FROM_2_13 = FROM_2_10.replace("_preload_cuda_deps()", "_preload_cuda_deps(required=False)").replace(
    "lib_folder, lib_name)\n    _preload_cuda_lib(", "lib_folder, lib_name, required=required)\n    _preload_cuda_lib("
)
OLD = (
    ("cublas", "libcublas.so.*[0-9]"),
    ("cuda_nvrtc", "libnvrtc.so.*[0-9]"),
    ("nvtx", "libnvToolsExt.so.*[0-9]"),
)
MIDDLE = (
    ("cublas", "libcublas.so.*[0-9]"),
    ("cusparselt", "libcusparseLt.so.*[0-9]"),
    ("cufile", "libcufile.so.*[0-9]"),
)
USUAL = (("cuda_nvrtc", "libnvrtc.so.*[0-9]"), ("nvjitlink", "libnvJitLink.so.*[0-9]"))
NEW = (
    ("cublas", "libcublasLt.so.*[0-9]"),
    ("cublas", "libcublas.so.*[0-9]"),
    ("nvshmem", "libnvshmem_host.so.*[0-9]"),
)
NVTX = (("nvtx", "libnvToolsExt.so.*[0-9]"),)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (UP_TO_2_5, Preloads(None, (), False, OLD)),
        (FROM_2_6, Preloads("nvidia/cuda_runtime/lib/libcudart.so", USUAL, True, MIDDLE)),
        (FROM_2_9, Preloads("libcudart.so", USUAL, True, (*MIDDLE, *NVTX), NVTX)),
        (FROM_2_10, Preloads("libcudart.so", (*NEW, *NVTX), True, (*NEW, *NVTX), NVTX)),
        (FROM_2_13, Preloads("libcudart.so", (*NEW, *NVTX), False, (*NEW, *NVTX), NVTX)),
        ("", Preloads(None, (), False, ())),
        ("raise ImportError('no CUDA here')", Preloads(None, (), False, ())),
    ],
    ids=["2.5", "2.6", "2.9", "2.10", "2.13", "empty", "other"],
)
def test_what_torch_loads_by_itself_is_read_from_its_source(text: str, expected: Preloads) -> None:
    assert preloads(text) == expected


class Site:
    """A folder of packages with a torch and CUDA libraries, all made by the compiler."""

    def __init__(self, folder: Path, text: str) -> None:
        self.folder = folder
        self.torch = folder / "torch"
        (self.torch / "lib").mkdir(parents=True)
        (self.torch / "__init__.py").write_text(text)
        (self.torch / "version.py").write_text("from typing import Optional\ncuda: Optional[str] = '13.0'\n")
        self.first = self.torch / "lib/libtorch_global_deps.so"
        self.binding = self.torch / "_C.cpython-312-x86_64-linux-gnu.so"

    def cuda(self, place: str, name: str, *needs: Path) -> Path:
        return build(self.folder / place / name, "", f"-soname,{name}", needs=needs)

    def make(self, *first_needs: Path, binding_needs: tuple[Path, ...] = (), rpath: str = "/nowhere") -> None:
        build(self.first, "", f"-rpath,{rpath}", needs=first_needs)
        build(self.binding, "", needs=binding_needs)

    def load(self) -> list[Failure]:
        system = RealSystem()
        process = Process(system, system.real_path(sys.executable), "")
        return load_torch(system, process, [f"{self.folder}/none", str(self.folder)], str(self.torch))


@needs_compiler
def test_a_first_library_that_does_not_load_makes_torch_search_for_cuda(tmp_path: Path) -> None:
    site = Site(tmp_path, UP_TO_2_5)
    libraries = [
        site.cuda("nvidia/cublas/lib", "libcublas.so.12"), site.cuda("cuda_nvrtc/lib", "libnvrtc.so.12"),
        site.cuda("nvidia/nvtx/lib", "libnvToolsExt.so.1"),
    ]  # fmt: skip
    site.make(*libraries, binding_needs=tuple(libraries[:1]))
    assert site.load() == []
    libraries[2].unlink()  # torch raises ValueError, and the import ends
    assert site.load() == [
        Failure("library", name, str(site.first))
        for name in ("libcublas.so.12", "libnvrtc.so.12", "libnvToolsExt.so.1")
    ]


@needs_compiler
def test_a_library_that_is_not_of_cuda_ends_the_import(tmp_path: Path) -> None:
    site = Site(tmp_path, UP_TO_2_5)
    gone, cublas = site.cuda("gone", "libgomp-x.so.1"), site.cuda("nvidia/cublas/lib", "libcublas.so.12")
    site.make(gone, cublas)
    assert [failure.name for failure in site.load()] == ["libgomp-x.so.1", "libcublas.so.12"]


@needs_compiler
@pytest.mark.parametrize(("text", "missing"), [(FROM_2_10, ["libcublas.so.13"]), (FROM_2_13, [])])
def test_a_required_library_that_is_missing_ends_the_preloading(text: str, missing: list[str], tmp_path: Path) -> None:
    site = Site(tmp_path, text)
    runtime, cublas = site.cuda("nvidia/cu13/lib", "libcudart.so.13"), site.cuda("nvidia/cu13/lib", "libcublas.so.13")
    site.make(runtime, binding_needs=(cublas,), rpath=str(runtime.parent))  # there is no libcublasLt
    assert [failure.name for failure in site.load()] == missing


@needs_compiler
def test_a_preload_that_does_not_load_ends_the_preloading_but_not_the_import(tmp_path: Path) -> None:
    site = Site(tmp_path, FROM_2_13)
    runtime, gone = site.cuda("nvidia/cu13/lib", "libcudart.so.13"), site.cuda("gone", "libgone.so.1")
    site.cuda("nvidia/cu13/lib", "libcublasLt.so.13", gone)
    cublas = site.cuda("nvidia/cu13/lib", "libcublas.so.13")
    site.make(runtime, rpath=str(runtime.parent))
    assert site.load() == []
    build(site.binding, "", needs=(cublas,))
    assert site.load() == [Failure("library", "libcublas.so.13", str(site.binding))]


@needs_compiler
@pytest.mark.parametrize(("bundle", "missing"), [("cu13", []), ("cu12", ["libcublas.so.13"])])
def test_only_the_bundle_of_torchs_own_cuda_is_searched(bundle: str, missing: list[str], tmp_path: Path) -> None:
    site = Site(tmp_path, FROM_2_13)
    runtime, cublas = site.cuda("runtime", "libcudart.so.13"), site.cuda(f"nvidia/{bundle}/lib", "libcublas.so.13")
    site.make(runtime, binding_needs=(cublas,), rpath=str(runtime.parent))
    assert [failure.name for failure in site.load()] == missing


@needs_compiler
@pytest.mark.parametrize(("place", "missing"), [("nvidia/cuda_runtime/lib", []), ("elsewhere", ["libnvrtc.so.12"])])
def test_nothing_is_preloaded_for_a_runtime_from_elsewhere(place: str, missing: list[str], tmp_path: Path) -> None:
    site = Site(tmp_path, FROM_2_6)
    runtime, nvrtc = site.cuda(place, "libcudart.so.12"), site.cuda("nvidia/cuda_nvrtc/lib", "libnvrtc.so.12")
    site.make(runtime, binding_needs=(nvrtc,), rpath=str(runtime.parent))
    assert [failure.name for failure in site.load()] == missing


@needs_compiler
def test_the_first_library_serves_those_that_come_later(tmp_path: Path) -> None:
    site = Site(tmp_path, UP_TO_2_5)
    build(site.first, "void shared(void) {}")
    build(site.binding, "void shared(void); void binding(void) { shared(); }")
    assert site.load() == []
    build(site.first, "")
    assert site.load() == [Failure("symbol", "shared", str(site.binding))]


@needs_compiler
def test_a_torch_without_a_source_cannot_be_told(tmp_path: Path) -> None:
    site = Site(tmp_path, "")
    (site.torch / "__init__.py").unlink()
    with pytest.raises(FileNotFoundError):
        site.load()


@needs_compiler
def test_a_binding_for_another_python_is_none(tmp_path: Path) -> None:
    site = Site(tmp_path, UP_TO_2_5)
    site.make()
    system = RealSystem()
    process = Process(system, system.real_path(sys.executable), "")
    found = load_torch(system, process, [str(site.folder)], str(site.torch), "3.13")
    assert found == [Failure("module", "torch._C", f"{site.torch}/__init__.py")]


@needs_compiler
def test_the_one_module_that_torch_cannot_be_imported_without(tmp_path: Path) -> None:
    site = Site(tmp_path, f"{UP_TO_2_5}\nfrom typing_extensions import ParamSpec as _ParamSpec\n")
    site.make()
    assert site.load() == [Failure("module", "typing_extensions", f"{site.torch}/__init__.py")]
    (site.folder / "typing_extensions.py").touch()
    assert site.load() == []
