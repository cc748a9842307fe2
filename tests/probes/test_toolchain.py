from __future__ import annotations

import pytest

from sgldoctor.facts import spec_of
from sgldoctor.probes.toolchain import probe
from sgldoctor.snapshot import Fact, Facts, Known, Unknown
from sgldoctor.system import NotObservableError
from tests.fakes import FakeSystem

NOT_RUNNING = "an unpacked image does not run"
UNSEEN = Unknown(f"variables: {NOT_RUNNING}")
SITE = "/opt/venv/lib/python3.12/site-packages"
PATH = {"PATH": "/usr/local/bin:/usr/bin"}

PTXAS_VERSION = """\
ptxas: NVIDIA (R) Ptx optimizing assembler
Copyright (c) 2005-2025 NVIDIA Corporation
Built on Tue_May_27_02:18:05_PDT_2025
Cuda compilation tools, release 12.9, V12.9.86
Build cuda_12.9.r12.9/compiler.36037853_0
"""


def ask(system: FakeSystem, *, base_prefix: str | None = "/usr", minor: str | None = "3.12") -> Facts:
    return probe(system, [SITE], "/opt/venv", base_prefix, minor)


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


def test_an_image_shows_its_compiler_in_the_usual_place() -> None:
    facts = ask(FakeSystem(programs=["/usr/bin/g++"]))

    assert facts["toolchain.cxx"] == Known("/usr/bin/g++", "PATH")
    assert facts["toolchain.cxx_version"] == Unknown(f"/usr/bin/g++ was not run: {NOT_RUNNING}")


def test_what_a_recording_does_not_hold_is_unknown_by_itself() -> None:
    class OldRecording(FakeSystem):
        def kind(self, path: str) -> str | None:
            if path.endswith("Python.h"):
                raise NotObservableError("not in this recording")
            return super().kind(path)

    facts = ask(OldRecording(programs=["/usr/bin/ninja"], environ=PATH))

    assert facts["python.headers"] == Unknown("its files: not in this recording")
    assert facts["toolchain.ninja"] == Known("/usr/bin/ninja", "PATH")


def test_a_recording_that_holds_no_files_leaves_every_tool_unknown() -> None:
    class EmptyRecording(FakeSystem):
        def kind(self, path: str) -> str | None:
            raise NotObservableError("not in this recording")

    names = ask(FakeSystem(environ=PATH)).keys()
    assert ask(EmptyRecording(environ=PATH)) == dict.fromkeys(names, Unknown("its files: not in this recording"))


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
            FakeSystem(programs=["/usr/bin/g++-13", "/usr/bin/g++"], environ={**PATH, "CXX": "sccache g++-13"}),
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
