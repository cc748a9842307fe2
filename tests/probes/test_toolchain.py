from __future__ import annotations

import errno

import pytest

from sgldoctor.facts import spec_of
from sgldoctor.probes.toolchain import probe
from sgldoctor.snapshot import Fact, Facts, Known, Unknown
from tests.fakes import FakeSystem

NOT_RUNNING = "an unpacked image does not run"
UNSEEN = Unknown(f"variables: {NOT_RUNNING}")
SITE = "/opt/venv/lib/python3.12/site-packages"
PATH = {"PATH": "/usr/local/bin:/usr/bin"}

NVCC_VERSION = """\
nvcc: NVIDIA (R) Cuda compiler driver
Copyright (c) 2005-2025 NVIDIA Corporation
Built on Wed_Aug_20_01:58:59_PM_PDT_2025
Cuda compilation tools, release 13.0, V13.0.88
Build cuda_13.0.r13.0/compiler.36424714_0
"""
PTXAS_VERSION = """\
ptxas: NVIDIA (R) Ptx optimizing assembler
Copyright (c) 2005-2025 NVIDIA Corporation
Built on Tue_May_27_02:18:05_PDT_2025
Cuda compilation tools, release 12.9, V12.9.86
Build cuda_12.9.r12.9/compiler.36037853_0
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


def ask(system: FakeSystem, *, base_prefix: str | None = "/usr", minor: str | None = "3.12") -> Facts:
    return probe(system, [SITE], "/opt/venv", base_prefix, minor)


def nvcc_of(facts: Facts) -> tuple[Fact, Fact]:
    return facts["toolchain.nvcc"], facts["toolchain.nvcc_version"]


def home_of(facts: Facts) -> tuple[Fact, Fact, Fact]:
    return facts["toolchain.cuda_home"], facts["toolchain.cuda_home_valid"], facts["toolchain.cuda_headers"]


def test_a_bare_machine_has_none_of_it() -> None:
    facts = ask(FakeSystem(environ=PATH))

    nvcc = Known(None, "CUDA_HOME, CUDA_PATH, PATH, /usr/local/cuda and wheels")
    home = Known(None, "/usr/local/cuda")
    compiler = Known(None, "PATH")
    triton = Known(None, "triton is not installed")
    assert facts == {
        "toolchain.nvcc": nvcc,
        "toolchain.nvcc_version": nvcc,
        "toolchain.nvcc_major": nvcc,
        "toolchain.cuda_home": home,
        "toolchain.cuda_home_valid": Known(None, "neither CUDA_HOME nor CUDA_PATH is set"),
        "toolchain.cuda_headers": home,
        "toolchain.ninja": compiler,
        "toolchain.cxx": compiler,
        "toolchain.cxx_version": compiler,
        "toolchain.libcuda_link": Known(False, "the CUDA folder and the library folders"),
        "toolchain.ptxas": triton,
        "toolchain.ptxas_version": triton,
        "python.headers": Known(False, "/usr/include/python3.12"),
    }
    assert [name for name in facts if spec_of(name) is None] == []


def test_an_image_without_tools_leaves_them_unknown_since_its_path_is_not_seen() -> None:
    facts = ask(FakeSystem())

    absent = {"toolchain.ptxas", "toolchain.ptxas_version", "python.headers"}
    assert {name: fact for name, fact in facts.items() if name not in absent} == dict.fromkeys(
        facts.keys() - absent, UNSEEN
    )


def test_an_image_shows_its_toolkit_in_the_usual_place() -> None:
    system = FakeSystem(
        {"/usr/local/cuda-12.8/include/cuda.h": CUDA_H, "/usr/local/cuda-12.8/include/cuda_runtime.h": ""},
        programs=["/usr/local/cuda-12.8/bin/nvcc", "/usr/bin/g++"],
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
    assert facts["toolchain.cxx"] == Known("/usr/bin/g++", "PATH")
    assert facts["toolchain.cxx_version"] == Unknown(f"/usr/bin/g++ was not run: {NOT_RUNNING}")


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


def test_the_variables_come_before_path() -> None:
    system = FakeSystem(
        {"/opt/cuda/targets/sbsa-linux/include/cuda_runtime.h": ""},
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


def test_a_file_that_may_not_be_executed_is_no_tool() -> None:
    system = FakeSystem({"/usr/local/bin/ninja": "", "/usr/bin/nvcc": ""}, programs=["/usr/bin/ninja"], environ=PATH)

    facts = ask(system)

    assert facts["toolchain.ninja"] == Known("/usr/bin/ninja", "PATH")
    assert facts["toolchain.nvcc"] == Known(None, "CUDA_HOME, CUDA_PATH, PATH, /usr/local/cuda and wheels")


def test_the_environments_ninja_comes_first() -> None:
    system = FakeSystem(programs=["/usr/bin/ninja", "/opt/venv/bin/ninja"], environ=PATH)

    assert ask(system)["toolchain.ninja"] == Known("/opt/venv/bin/ninja", "the environment")


@pytest.mark.parametrize(
    ("system", "path", "version"),
    [
        # Debian: /usr/bin/c++ -> /etc/alternatives/c++ -> /usr/bin/g++ -> g++-12 -> x86_64-linux-gnu-g++-12
        (
            FakeSystem(
                programs=["/usr/bin/x86_64-linux-gnu-g++-12"],
                links={
                    "/usr/bin/c++": "/etc/alternatives/c++",
                    "/etc/alternatives/c++": "/usr/bin/g++",
                    "/usr/bin/g++": "g++-12",
                    "/usr/bin/g++-12": "x86_64-linux-gnu-g++-12",
                },
                environ=PATH,
            ),
            Known("/usr/bin/c++", "PATH"),
            Known("12", "/usr/bin/x86_64-linux-gnu-g++-12"),
        ),
        # Rocky 9: plain files, one GCC
        (
            FakeSystem(
                {"/usr/lib/gcc/x86_64-redhat-linux/11/crtbegin.o": "", "/usr/lib/gcc/x86_64-w64-mingw32/12/x": ""},
                programs=["/usr/bin/c++", "/usr/bin/g++"],
                environ=PATH,
            ),
            Known("/usr/bin/c++", "PATH"),
            Known("11", "/usr/lib/gcc"),
        ),
        # two GCCs: only the compiler itself can tell
        (
            FakeSystem(
                folders=["/usr/lib/gcc/x86_64-redhat-linux/8", "/usr/lib/gcc/x86_64-redhat-linux/11"],
                programs=["/usr/bin/g++"],
                commands={"/usr/bin/g++ -dumpfullversion -dumpversion": (0, "11.4.1\n", "")},
                environ=PATH,
            ),
            Known("/usr/bin/g++", "PATH"),
            Known("11.4.1", "/usr/bin/g++ -dumpfullversion -dumpversion"),
        ),
        # a compiler of one's own is not the one of /usr/lib/gcc
        (
            FakeSystem(
                folders=["/usr/lib/gcc/x86_64-linux-gnu/12"],
                programs=["/opt/gcc/bin/g++", "/usr/bin/g++", "/usr/bin/ccache"],
                commands={"/opt/gcc/bin/g++ -dumpfullversion -dumpversion": (0, "14.2.0\n", "")},
                environ={**PATH, "CXX": "ccache /opt/gcc/bin/g++ -std=c++17"},
            ),
            Known("/opt/gcc/bin/g++", "CXX"),
            Known("14.2.0", "/opt/gcc/bin/g++ -dumpfullversion -dumpversion"),
        ),
        (
            FakeSystem(programs=["/usr/bin/g++-13", "/usr/bin/g++"], environ={**PATH, "CXX": "g++-13"}),
            Known("/usr/bin/g++-13", "CXX"),
            Known("13", "/usr/bin/g++-13"),
        ),
        (
            FakeSystem(
                programs=["/usr/lib/llvm-14/bin/clang"],
                links={"/usr/bin/clang++": "../lib/llvm-14/bin/clang"},
                environ={**PATH, "CXX": "clang++"},
            ),
            Known("/usr/bin/clang++", "CXX"),
            Unknown("/usr/bin/clang++ is clang, whose versions are not GCC's"),
        ),
        (
            FakeSystem(programs=["/usr/bin/g++"], environ={**PATH, "CXX": "/opt/gone/g++"}),
            Known(None, "CXX"),
            Known(None, "CXX"),
        ),
    ],
)
def test_the_compiler_and_its_version(system: FakeSystem, path: Fact, version: Fact) -> None:
    facts = ask(system)

    assert facts["toolchain.cxx"] == path
    assert facts["toolchain.cxx_version"] == version


@pytest.mark.parametrize(
    ("file", "environ"),
    [
        ("/usr/lib/x86_64-linux-gnu/libcuda.so", {}),
        ("/usr/local/cuda/lib64/stubs/libcuda.so", {}),
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


OWN = f"{SITE}/triton/backends/nvidia/bin/ptxas"


def test_tritons_own_ptxas_is_not_run() -> None:
    system = FakeSystem(programs=[OWN], commands={f"{OWN} --version": (0, PTXAS_VERSION, "")}, environ=PATH)

    facts = ask(system)

    assert facts["toolchain.ptxas"] == Known(OWN, "triton")
    reason = "triton's own ptxas tells its version only when it is run"
    assert facts["toolchain.ptxas_version"] == Unknown(reason)
    assert [asked for asked in system.asked if asked[0] == "run"] == []


def test_the_ptxas_of_the_variable_tells_its_version() -> None:
    system = FakeSystem(
        programs=[OWN, "/opt/cuda/bin/ptxas"],
        commands={"/opt/cuda/bin/ptxas --version": (0, PTXAS_VERSION, "")},
        environ={**PATH, "TRITON_PTXAS_PATH": "/opt/cuda/bin/ptxas"},
    )

    facts = ask(system)

    assert facts["toolchain.ptxas"] == Known("/opt/cuda/bin/ptxas", "TRITON_PTXAS_PATH")
    assert facts["toolchain.ptxas_version"] == Known("12.9.86", "/opt/cuda/bin/ptxas --version")


def test_triton_falls_back_to_its_own_ptxas() -> None:
    system = FakeSystem(programs=[OWN], environ={**PATH, "TRITON_PTXAS_PATH": "/opt/gone/ptxas"})

    assert ask(system)["toolchain.ptxas"] == Known(OWN, "triton")


HEADER = "/usr/include/python3.12/Python.h"


@pytest.mark.parametrize(
    ("file", "base_prefix", "minor", "expected"),
    [
        (HEADER, "/usr", "3.12", Known(True, HEADER)),
        (HEADER, "/usr", "3.11", Known(False, "/usr/include/python3.11")),
        (HEADER, None, "3.12", Unknown("the folder of the base interpreter is not known")),
        (HEADER, "/usr", None, Unknown("the folder of the base interpreter is not known")),
        (
            "/usr/include/python3.13t/Python.h",
            "/usr",
            "3.13",
            Known(True, "/usr/include/python3.13t/Python.h"),
        ),
        (
            "/opt/venv/include/python3.12/Python.h",
            None,
            "3.12",
            Known(True, "/opt/venv/include/python3.12/Python.h"),
        ),
    ],
)
def test_the_headers_of_python(file: str, base_prefix: str | None, minor: str | None, expected: Fact) -> None:
    system = FakeSystem({file: ""}, environ=PATH)

    assert ask(system, base_prefix=base_prefix, minor=minor)["python.headers"] == expected
