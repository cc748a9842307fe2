from __future__ import annotations

import errno
from typing import Any

import pytest

from sgldoctor.probes.storage import probe
from sgldoctor.snapshot import Known, Unknown
from tests.fakes import GIB, FakeSystem

HOME = {"HOME": "/home/ada"}
DEFAULTS = {
    "Hugging Face cache": "/home/ada/.cache/huggingface/hub",
    "temporary files": "/tmp",
    "flashinfer cache": "/home/ada/.cache/flashinfer",
    "triton cache": "/home/ada/.triton/cache",
    "DeepGEMM cache": "/home/ada/.cache/deep_gemm",
    "CUDA cache": "/home/ada/.nv/ComputeCache",
}


def records(system: FakeSystem, prefix: str | None = None) -> dict[str, dict[str, Any]]:
    fact = probe(system, prefix)["disks"]
    assert isinstance(fact, Known)
    assert isinstance(fact.value, list)
    found = [item for item in fact.value if isinstance(item, dict)]
    assert len({item["use"] for item in found}) == len(fact.value)
    return {item["use"]: item for item in found}


def paths(environ: dict[str, str]) -> dict[str, str]:
    system = FakeSystem(folders=["/home/ada", "/tmp"], environ=environ)
    return {use: item["path"] for use, item in records(system).items()}


def test_without_variables_the_defaults_of_each_library_hold() -> None:
    assert paths(HOME) == DEFAULTS


@pytest.mark.parametrize(
    ("environ", "use", "path"),
    [
        ({"HF_HUB_CACHE": "/m/hub", "HF_HOME": "/n"}, "Hugging Face cache", "/m/hub"),
        ({"HUGGINGFACE_HUB_CACHE": "/m/old", "HF_HOME": "/n"}, "Hugging Face cache", "/m/old"),
        ({"HF_HOME": "/n", "XDG_CACHE_HOME": "/x"}, "Hugging Face cache", "/n/hub"),
        ({"XDG_CACHE_HOME": "/x"}, "Hugging Face cache", "/x/huggingface/hub"),
        ({"HF_HOME": "~/models"}, "Hugging Face cache", "/home/ada/models/hub"),
        ({"HF_HOME": "models"}, "Hugging Face cache", "/srv/app/models/hub"),
        ({"HF_HOME": ""}, "Hugging Face cache", "/home/ada/.cache/huggingface/hub"),
        ({"TMPDIR": "/scratch"}, "temporary files", "/scratch"),
        ({"FLASHINFER_WORKSPACE_BASE": "/fi"}, "flashinfer cache", "/fi/.cache/flashinfer"),
        ({"TRITON_CACHE_DIR": "/t"}, "triton cache", "/t"),
        ({"TRITON_HOME": "/t"}, "triton cache", "/t/.triton/cache"),
        ({"TORCHINDUCTOR_CACHE_DIR": "/ti"}, "torch inductor cache", "/ti"),
        ({"SGLANG_DG_CACHE_DIR": "/dg", "DG_JIT_CACHE_DIR": "/no"}, "DeepGEMM cache", "/dg"),
        ({"SGL_DG_CACHE_DIR": "/dg", "DG_JIT_CACHE_DIR": "/no"}, "DeepGEMM cache", "/dg"),
        ({"DG_JIT_CACHE_DIR": "/dg"}, "DeepGEMM cache", "/dg"),
        ({"CUDA_CACHE_PATH": "/cc"}, "CUDA cache", "/cc"),
    ],
)
def test_a_variable_moves_one_folder_and_no_other(environ: dict[str, str], use: str, path: str) -> None:
    assert paths({**HOME, **environ}) == {**DEFAULTS, use: path}


def test_a_folder_that_is_not_there_yet_is_judged_by_the_nearest_that_is() -> None:
    system = FakeSystem(
        folders=["/home/ada/.cache", "/tmp"],
        disks={"/home/ada": (500 * GIB, 12 * GIB + GIB // 2), "/tmp": (GIB, 0)},
        environ=HOME,
    )

    found = records(system)

    assert found["flashinfer cache"] == {
        "use": "flashinfer cache",
        "path": "/home/ada/.cache/flashinfer",
        "free_gib": 12.5,
        "writable": True,
        "problem": None,
    }
    assert found["temporary files"]["free_gib"] == 0.0


@pytest.mark.parametrize(
    ("system", "expected"),
    [
        (
            FakeSystem(folders=["/home/ada/.cache", "/tmp"], environ=HOME, read_only=["/home/ada/.cache"]),
            {"free_gib": 50.0, "writable": False, "problem": "not writable"},
        ),
        (
            FakeSystem({"/home/ada/.cache": "oops"}, folders=["/tmp"], environ=HOME),
            {"free_gib": None, "writable": False, "problem": "a file is in the way"},
        ),
        (
            FakeSystem(folders=["/home/ada/.cache", "/tmp"], environ=HOME, unreadable=["/home/ada/.cache"]),
            {"free_gib": None, "writable": False, "problem": "not readable"},
        ),
        (
            FakeSystem(folders=["/home/ada/.cache"], environ=HOME, errors={"/home/ada/.cache": errno.ESTALE}),
            {"free_gib": None, "writable": None, "problem": "Stale file handle"},
        ),
        (
            FakeSystem(folders=["/tmp"], environ={}),
            {"path": "~/.cache/flashinfer", "free_gib": None, "writable": None, "problem": "HOME is not set"},
        ),
    ],
)
def test_what_keeps_a_cache_from_being_written(system: FakeSystem, expected: dict[str, Any]) -> None:
    base = {"use": "flashinfer cache", "path": "/home/ada/.cache/flashinfer"}

    assert records(system)["flashinfer cache"] == {**base, **expected}


def test_a_temporary_folder_must_be_there_already() -> None:
    system = FakeSystem(folders=["/scratch"], environ={**HOME, "TMPDIR": "/scratch/job-7"})

    assert records(system)["temporary files"] == {
        "use": "temporary files",
        "path": "/scratch/job-7",
        "free_gib": None,
        "writable": False,
        "problem": "does not exist",
    }


def test_the_environment_is_judged_where_there_is_one() -> None:
    system = FakeSystem(folders=["/opt/venv", "/tmp"], environ=HOME, read_only=["/opt/venv"])

    assert records(system, "/opt/venv")["environment"] == {
        "use": "environment",
        "path": "/opt/venv",
        "free_gib": 50.0,
        "writable": False,
        "problem": "not writable",
    }
    assert "environment" not in records(system)


def test_an_image_is_not_judged_by_the_disks_of_this_machine() -> None:
    assert probe(FakeSystem(folders=["/tmp"]), "/opt/venv") == {
        "disks": Unknown("the folders that are written to: an unpacked image does not run")
    }
