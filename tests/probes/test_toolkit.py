from __future__ import annotations

import errno

import pytest

from sgldoctor.probes.toolchain import probe
from sgldoctor.snapshot import Fact, Facts, Known, Unknown
from tests.fakes import FakeSystem

UNSEEN = Unknown("variables: an unpacked image does not run")
SITE = "/opt/venv/lib/python3.12/site-packages"
PATH = {"PATH": "/usr/local/bin:/usr/bin"}

NVCC_VERSION = """\
nvcc: NVIDIA (R) Cuda compiler driver
Copyright (c) 2005-2025 NVIDIA Corporation
Built on Wed_Aug_20_01:58:59_PM_PDT_2025
Cuda compilation tools, release 13.0, V13.0.88
Build cuda_13.0.r13.0/compiler.36424714_0
"""
VERSION_JSON = """\
{
   "cuda" : {
      "name" : "CUDA SDK",
      "version" : "13.0.3"
   },
   "cuda_cccl" : {
      "name" : "CUDA C++ Core Compute Libraries",
      "version" : "13.0.85"
   },
   "cuda_nvcc" : {
      "name" : "CUDA NVCC",
      "version" : "13.0.88"
   },
   "cuda_nvdisasm" : {
      "name" : "CUDA nvdisasm",
      "version" : "13.0.85"
   }
}
"""
CUDA_H = """\
/**
 * CUDA API version number
 */
#define CUDA_VERSION 12080

#ifdef __cplusplus
"""


def ask(system: FakeSystem) -> Facts:
    return probe(system, [SITE], "/opt/venv", "/usr", "3.12")


def nvcc_of(facts: Facts) -> tuple[Fact, Fact]:
    return facts["toolchain.nvcc"], facts["toolchain.nvcc_version"]


def home_of(facts: Facts) -> tuple[Fact, Fact, Fact]:
    return facts["toolchain.cuda_home"], facts["toolchain.cuda_home_valid"], facts["toolchain.cuda_headers"]


def test_an_image_shows_its_toolkit_in_the_usual_place() -> None:
    system = FakeSystem(
        {"/usr/local/cuda-12.8/include/cuda.h": CUDA_H, "/usr/local/cuda-12.8/include/cuda_runtime.h": ""},
        programs=["/usr/local/cuda-12.8/bin/nvcc"],
        links={"/usr/local/cuda": "cuda-12.8"},
    )

    facts = ask(system)

    assert nvcc_of(facts) == (
        Known("/usr/local/cuda/bin/nvcc", "/usr/local/cuda"),
        Known("12.8", "/usr/local/cuda-12.8/include/cuda.h"),
    )
    assert home_of(facts) == (
        Known("/usr/local/cuda-12.8", "/usr/local/cuda"),
        UNSEEN,
        Known(True, "/usr/local/cuda-12.8"),
    )


def test_nvcc_is_not_run_where_version_json_tells() -> None:
    system = FakeSystem(
        {"/usr/local/cuda-13.0/version.json": VERSION_JSON},
        programs=["/usr/local/cuda-13.0/bin/nvcc"],
        links={"/usr/local/cuda": "cuda-13.0"},
        environ=PATH,
    )

    facts = ask(system)

    version = Known("13.0.88", "/usr/local/cuda-13.0/version.json")
    assert nvcc_of(facts) == (Known("/usr/local/cuda/bin/nvcc", "/usr/local/cuda"), version)
    assert facts["toolchain.nvcc_major"] == Known("13", "/usr/local/cuda-13.0/version.json")
    assert [asked for asked in system.asked if asked[0] == "run"] == []


def test_nvcc_is_run_where_no_file_tells_its_version() -> None:
    system = FakeSystem(
        {"/usr/local/include/cuda.h": CUDA_H},
        programs=["/usr/local/bin/nvcc"],
        commands={"/usr/local/bin/nvcc --version": (0, NVCC_VERSION, "")},
        environ=PATH,
    )

    spoken = "/usr/local/bin/nvcc --version"
    assert nvcc_of(ask(system)) == (Known("/usr/local/bin/nvcc", "PATH"), Known("13.0.88", spoken))


def test_a_broken_nvcc_has_no_version() -> None:
    system = FakeSystem(
        programs=["/usr/bin/nvcc"],
        commands={"/usr/bin/nvcc --version": (127, "", "/usr/bin/nvcc: 2: exec: not found\n")},
        environ=PATH,
    )

    facts = ask(system)

    unknown = Unknown("/usr/bin/nvcc --version told no version")
    assert nvcc_of(facts) == (Known("/usr/bin/nvcc", "PATH"), unknown)
    assert facts["toolchain.nvcc_major"] == unknown


def test_a_version_file_that_cannot_be_read_is_unknown() -> None:
    system = FakeSystem(
        {"/usr/local/cuda/version.json": VERSION_JSON},
        programs=["/usr/local/cuda/bin/nvcc"],
        errors={"/usr/local/cuda/version.json": errno.EACCES},
        environ=PATH,
    )

    reason = "the files beside /usr/local/cuda/bin/nvcc cannot be read: Permission denied"
    assert ask(system)["toolchain.nvcc_version"] == Unknown(reason)


def test_conda_tells_the_version_by_its_own_records() -> None:
    system = FakeSystem(
        {
            "/opt/conda/conda-meta/cuda-nvcc_linux-64-12.1.0-1.json": "",
            "/opt/conda/conda-meta/cuda-nvcc-12.8.93-hcdd1206_1.json": "",
        },
        programs=["/opt/conda/bin/nvcc"],
        environ={"PATH": "/opt/conda/bin"},
    )

    source = "/opt/conda/conda-meta/cuda-nvcc-12.8.93-hcdd1206_1.json"
    assert ask(system)["toolchain.nvcc_version"] == Known("12.8.93", source)


def test_a_wheel_tells_the_version_by_its_name_and_not_by_another_wheels_header() -> None:
    system = FakeSystem(
        {f"{SITE}/nvidia/cu13/include/cuda.h": CUDA_H, f"{SITE}/nvidia_cuda_nvcc-13.5.37.dist-info/METADATA": ""},
        programs=[f"{SITE}/nvidia/cu13/bin/nvcc"],
        environ=PATH,
    )

    facts = ask(system)

    assert nvcc_of(facts) == (
        Known(f"{SITE}/nvidia/cu13/bin/nvcc", "a wheel"),
        Known("13.5.37", f"{SITE}/nvidia_cuda_nvcc-13.5.37.dist-info"),
    )
    assert facts["toolchain.cuda_home"] == Known(None, "/usr/local/cuda")


def test_the_wheel_of_cuda_12_has_a_folder_and_a_name_of_its_own() -> None:
    system = FakeSystem(
        folders=[f"{SITE}/nvidia_cuda_nvcc_cu12-12.8.93.dist-info"],
        programs=[f"{SITE}/nvidia/cuda_nvcc/bin/nvcc"],
        environ=PATH,
    )

    assert nvcc_of(ask(system)) == (
        Known(f"{SITE}/nvidia/cuda_nvcc/bin/nvcc", "a wheel"),
        Known("12.8.93", f"{SITE}/nvidia_cuda_nvcc_cu12-12.8.93.dist-info"),
    )


def test_cuda_home_comes_before_cuda_path() -> None:
    system = FakeSystem(
        programs=["/opt/a/bin/nvcc", "/opt/b/bin/nvcc"], environ={"CUDA_PATH": "/opt/b", "CUDA_HOME": "/opt/a"}
    )

    assert ask(system)["toolchain.nvcc"] == Known("/opt/a/bin/nvcc", "CUDA_HOME")


@pytest.mark.parametrize("target", ["x86_64-linux", "sbsa-linux", "aarch64-linux"])
def test_the_variables_come_before_path(target: str) -> None:
    system = FakeSystem(
        {f"/opt/cuda/targets/{target}/include/cuda_runtime.h": ""},
        programs=["/opt/cuda/bin/nvcc", "/usr/bin/nvcc"],
        environ={**PATH, "CUDA_HOME": "", "CUDA_PATH": "/opt/cuda"},
    )

    facts = ask(system)

    assert facts["toolchain.nvcc"] == Known("/opt/cuda/bin/nvcc", "CUDA_PATH")
    assert home_of(facts) == (
        Known("/opt/cuda", "CUDA_PATH"),
        Known(True, "CUDA_PATH"),
        Known(True, "/opt/cuda"),
    )


def test_a_cuda_home_without_a_toolkit_is_not_valid_and_still_what_torch_takes() -> None:
    system = FakeSystem(programs=["/usr/bin/nvcc"], environ={**PATH, "CUDA_HOME": "/usr/local/cuda-12.4"})

    facts = ask(system)

    assert facts["toolchain.nvcc"] == Known("/usr/bin/nvcc", "PATH")
    assert home_of(facts) == (
        Known("/usr/local/cuda-12.4", "CUDA_HOME"),
        Known(False, "CUDA_HOME"),
        Known(False, "/usr/local/cuda-12.4"),
    )


def test_the_cuda_folder_is_the_one_above_the_nvcc_on_path_even_if_that_is_a_link() -> None:
    system = FakeSystem(
        programs=["/opt/cuda/bin/nvcc"],
        links={"/usr/local/bin/nvcc": "/opt/cuda/bin/nvcc"},
        folders=["/usr/local/cuda"],
        environ=PATH,
    )

    unset = Known(None, "neither CUDA_HOME nor CUDA_PATH is set")
    assert home_of(ask(system)) == (
        Known("/usr/local", "/usr/local/bin/nvcc"),
        unset,
        Known(False, "/usr/local"),
    )


@pytest.mark.parametrize(
    ("file", "environ"),
    [
        ("/usr/lib/x86_64-linux-gnu/libcuda.so", {}),
        ("/usr/lib/aarch64-linux-gnu/libcuda.so", {}),
        ("/usr/lib64/libcuda.so", {}),
        ("/usr/lib/wsl/lib/libcuda.so", {}),
        ("/usr/local/cuda/lib64/stubs/libcuda.so", {"CUDA_HOME": "/opt/cuda"}),
        ("/opt/cuda/lib64/libcuda.so", {"CUDA_HOME": "/opt/cuda"}),
        ("/opt/cuda/lib/stubs/libcuda.so", {"CUDA_HOME": "/opt/cuda"}),
        ("/opt/cuda/lib64/stubs/libcuda.so", {"CUDA_HOME": "/opt/cuda"}),
        ("/opt/lib/libcuda.so", {"LIBRARY_PATH": "/opt/lib"}),
        ("/opt/lib/libcuda.so", {"LD_LIBRARY_PATH": "/usr/lib:/opt/lib"}),
    ],
)
def test_the_link_name_of_libcuda(file: str, environ: dict[str, str]) -> None:
    assert ask(FakeSystem({file: ""}, environ=environ))["toolchain.libcuda_link"] == Known(True, file)


def test_the_library_that_programs_load_is_no_link_name() -> None:
    system = FakeSystem({"/usr/lib/x86_64-linux-gnu/libcuda.so.1": ""}, environ=PATH)

    assert ask(system)["toolchain.libcuda_link"] == Known(False, "the CUDA folder and the library folders")
