from __future__ import annotations

import errno

import pytest

from sgldoctor.probes.variables import probe
from sgldoctor.snapshot import Fact, Known, Unknown
from tests.fakes import FakeSystem

SITE = "/opt/venv/lib/python3.12/site-packages"
SGLANG = f"{SITE}/sglang"
# of sglang 0.5.3.post1
WORDS = {
    "SGLANG_ENABLE_JIT_DEEPGEMM": "srt/environ.py",
    "SGLANG_TORCH_PROFILER_DIR": "srt/environ.py",
    "SGLANG_CACHE_DIT_": "multimodal_gen/envs.py",
    "SGL_DG_CACHE_DIR": "srt/layers/quantization/deep_gemm_wrapper/compile_utils.py",
}
CONVERTER = """\
def _convert_SGL_to_SGLANG():
    for key, value in os.environ.items():
        if key.startswith("SGL_"):
            new_key = key.replace("SGL_", "SGLANG_", 1)
"""


RELATIVES = {
    "sgl_kernel": "SGLANG_KERNEL_API_LOGLEVEL",
    "sglang_router": "SGLANG_ROUTER_CONFIG",
    "smg_grpc_servicer": "SGLANG_GRPC_PORT_RANGE",
}


def unread(environ: dict[str, str], files: dict[str, str] | None = None) -> Fact:
    words = {SGLANG: WORDS, **{f"{SITE}/{name}": {word: "a.py"} for name, word in RELATIVES.items()}}
    system = FakeSystem(files, folders=words, environ=environ, words=words)
    return probe(system, SGLANG)["variables.unread"]


def test_variables_that_matter_are_told_and_no_others() -> None:
    facts = probe(
        FakeSystem(
            environ={
                "CUDA_VISIBLE_DEVICES": "0,1",
                "LD_LIBRARY_PATH": "",
                "PYTHONPATH": "/src",
                "VLLM_USE_V1": "1",
                "HF_ENDPOINT": "https://hf.example",
                "PATH": "/usr/bin",
                "CUDA": "x",
                "MY_SGLANG_FLAG": "1",
                "SGLDOCTOR_DRIVER_VERSION": "550.90",
                "LD_LIBRARY_PATH_64": "/lib64",
            }
        ),
        None,
    )

    names = ["CUDA_VISIBLE_DEVICES", "HF_ENDPOINT", "LD_LIBRARY_PATH", "PYTHONPATH", "VLLM_USE_V1"]
    assert facts == {
        "variable.CUDA_VISIBLE_DEVICES": Known("0,1", "environment"),
        "variable.HF_ENDPOINT": Known("https://hf.example", "environment"),
        "variable.LD_LIBRARY_PATH": Known("", "environment"),
        "variable.PYTHONPATH": Known("/src", "environment"),
        "variable.VLLM_USE_V1": Known("1", "environment"),
        "variables": Known(list(names), "environment"),
        "variables.unread": Known([], "sglang is not installed"),
    }


def test_of_a_secret_only_the_name_is_told() -> None:
    environ = {"HF_TOKEN": "hf_canary0123456789", "SGLANG_API_KEY": "canary-2"}

    facts = probe(FakeSystem(environ=environ), None)

    assert facts["variables"] == Known(["HF_TOKEN", "SGLANG_API_KEY"], "environment")
    assert "canary" not in repr(facts)


def test_a_long_value_is_cut_between_words() -> None:
    folders = [f"/opt/libraries/{number:03}" for number in range(40)]
    secret = "s" * 100
    environ = {"LD_LIBRARY_PATH": ":".join(folders), "NCCL_DEBUG_FILE": f"{'x' * 150}:{secret}", "NCCL_X": "y" * 200}

    facts = probe(FakeSystem(environ=environ), None)

    assert facts["variable.LD_LIBRARY_PATH"] == Known(":".join(folders[:10]) + ":", "environment")
    assert facts["variable.NCCL_DEBUG_FILE"] == Known(f"{'x' * 150}:", "environment")
    assert facts["variable.NCCL_X"] == Known("y" * 200, "environment")


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({"CUDA_HOME": "/x"}, Known([], "no SGLang variable is set")),
        ({"SGLANG_ENABLE_JIT_DEEPGEMM": "0", "SGL_DG_CACHE_DIR": "/x"}, Known([], SGLANG)),
        (
            {"SGLANG_ENABLE_JIT_DEEPGEM": "0"},
            Known([{"name": "SGLANG_ENABLE_JIT_DEEPGEM", "suggestion": "SGLANG_ENABLE_JIT_DEEPGEMM"}], SGLANG),
        ),
        ({"SGL_QQ": "1"}, Known([{"name": "SGL_QQ", "suggestion": ""}], SGLANG)),
        # a name that the sources complete at run time
        ({"SGLANG_CACHE_DIT_SCM_PRESET": "fast"}, Known([], SGLANG)),
        # packages beside it read variables of their own
        (dict.fromkeys(RELATIVES.values(), "1"), Known([], SGLANG)),
    ],
)
def test_variables_that_this_sglang_never_reads(environ: dict[str, str], expected: Known) -> None:
    assert unread(environ) == expected


def test_a_release_that_converts_old_names_reads_them() -> None:
    environ = {"SGL_TORCH_PROFILER_DIR": "/tmp/profile"}
    record = {"name": "SGL_TORCH_PROFILER_DIR", "suggestion": "SGLANG_TORCH_PROFILER_DIR"}

    assert unread(environ) == Known([record], SGLANG)
    assert unread(environ, {f"{SGLANG}/srt/environ.py": CONVERTER}) == Known([], SGLANG)


def test_variables_that_kubernetes_makes_for_a_service_are_not_meant_for_sglang() -> None:
    service = {
        "SGLANG_SERVICE_HOST": "10.3.240.1",
        "SGLANG_SERVICE_PORT": "30000",
        "SGLANG_SERVICE_PORT_HTTP": "30000",
        "SGLANG_PORT": "tcp://10.3.240.1:30000",
        "SGLANG_PORT_30000_TCP": "tcp://10.3.240.1:30000",
        "SGLANG_PORT_30000_TCP_PROTO": "tcp",
        "SGLANG_PORT_30000_TCP_PORT": "30000",
        "SGLANG_PORT_30000_TCP_ADDR": "10.3.240.1",
    }

    assert unread(service) == Known([], "no SGLang variable is set")
    assert unread({"SGLANG_PORT": "30000"}) == Known([{"name": "SGLANG_PORT", "suggestion": ""}], SGLANG)


def test_sources_are_read_only_when_a_variable_asks_for_it() -> None:
    system = FakeSystem(folders=[SGLANG], environ={"CUDA_HOME": "/x"}, words={SGLANG: WORDS})

    probe(system, SGLANG)

    assert [asked[0] for asked in system.asked] == ["environ"]


def test_sources_that_tell_nothing_condemn_no_variable() -> None:
    environ = {"SGLANG_X": "1"}
    empty = FakeSystem(folders=[SGLANG], environ=environ)
    locked = FakeSystem(folders=[SGLANG], environ=environ, errors={SGLANG: errno.EACCES})

    assert probe(empty, SGLANG)["variables.unread"] == Unknown(f"{SGLANG} holds no Python sources")
    reason = "the sources of sglang cannot be read: Permission denied"
    assert probe(locked, SGLANG)["variables.unread"] == Unknown(reason)


def test_the_variables_of_an_image_are_not_known() -> None:
    unknown = Unknown("variables: an unpacked image does not run")

    assert probe(FakeSystem(), SGLANG) == {"variables": unknown, "variables.unread": unknown}
