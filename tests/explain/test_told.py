"""What a text tells of its machine, in the words of the tools that people paste."""

from __future__ import annotations

from typing import Any

import pytest

from sgldoctor.explain import told
from sgldoctor.snapshot import Known
from tests.explain.books import explainer


def facts(text: str) -> dict[str, Any]:
    found = told.facts(explainer().scan_text(text).hits)
    return {name: fact.value for name, fact in found.items() if isinstance(fact, Known)}


@pytest.mark.parametrize(
    ("text", "name", "value"),
    [
        ("torch                 2.9.1+cu128", "package.torch", "2.9.1+cu128"),
        ("sgl-kernel   0.3.16.post6  /opt/src", "package.sgl-kernel", "0.3.16.post6"),
        ("torch      2.8.0    pypi_0    pypi", "package.torch", "2.8.0"),
        ("sgl_kernel: 0.3.15", "package.sgl-kernel", "0.3.15"),
        ("transformers==4.57.1", "package.transformers", "4.57.1"),
        ("[pip3] torch==2.8.0", "package.torch", "2.8.0"),
        ("PyTorch version: 2.8.0+cu128", "package.torch", "2.8.0+cu128"),
        ("PyTorch: 2.8.0+cu128", "package.torch", "2.8.0+cu128"),
        ("sglang 0.5.3 requires torch==2.8.0, but you have torch 2.9.1 which is incompatible.", "package.torch", "2.9.1"),
        ("sglang 0.5.3.post1 has requirement torch==2.8.0, but you have torch 2.9.1.", "package.sglang", "0.5.3.post1"),
        ('  File "/opt/venv/lib/python3.12/site-packages/sglang/launch_server.py", line 7', "python.minor", "3.12"),
        ("Python: 3.11.9 (main)", "python.minor", "3.11"),
        ("| NVIDIA-SMI 470.86       Driver Version: 470.86       CUDA Version: 11.4 |", "driver.version", "470.86"),
        ("| NVIDIA-SMI 470.86       Driver Version: 470.86       CUDA Version: 11.4 |", "driver.cuda", "11.4"),
        ("Nvidia driver version: 550.54.15", "driver.version", "550.54.15"),
        ("CUDA used to build PyTorch: 12.8", "torch.cuda", "12.8"),
        ("torch==2.9.1+cu130", "torch.cuda", "13.0"),
        ("torch==2.8.0", "torch.cuda", "12.8"),
        ("nvcc: release 12.8, V12.8.61", "toolchain.nvcc_version", "12.8"),
        ("OS: Ubuntu 22.04.4 LTS (x86_64)", "os.family", "debian"),
        ('PRETTY_NAME="Rocky Linux 9.4 (Blue Onyx)"', "os.family", "rhel"),
    ],
)  # fmt: skip
def test_facts_are_read_as_tools_print_them(text: str, name: str, value: str) -> None:
    assert facts(f"before\n{text}\nafter")[name] == value


@pytest.mark.parametrize(
    "text", ["torch>=2.8.0", "pip install torch==2.8.0", "a torch 2.8.0 build", "torch 2.8.0\ntorch 2.9.1", "pytorch: 2.8.0",
     "torch 2.8.0 -> 2.7.0: import works", "torch 2.8.0 is needed"]
)  # fmt: skip
def test_wishes_and_contradictions_are_no_facts(text: str) -> None:
    assert "package.torch" not in facts(text)


@pytest.mark.parametrize(
    ("text", "name", "capability"),
    [
        ("GPU 0: Tesla T4", "T4", "7.5"),
        ("GPU 0: NVIDIA H200 (UUID: GPU-1234)", "H200", "9.0"),
        ("GPU 0,1,2,3: NVIDIA A40", "A40", "8.6"),
        ("NVIDIA GeForce RTX 5090 with CUDA capability sm_120 is not compatible", "5090", "12.0"),
        ("Your NVIDIA GeForce RTX 2070 GPU has compute capability 7.5.", "2070", "7.5"),
        ("- Compute capability: 86", None, "8.6"),
        ("- Compute capability: 120", None, "12.0"),
    ],
)
def test_gpus_are_known_by_their_names(text: str, name: str | None, capability: str) -> None:
    (gpu,) = facts(text)["gpus"]
    assert gpu["capability"] == capability
    assert name is None or name in gpu["name"]


def test_two_models_are_two_gpus_and_an_unknown_name_is_none() -> None:
    assert len(facts("GPU 0: NVIDIA H100\nGPU 1: NVIDIA A40\nGPU 2: NVIDIA H100")["gpus"]) == 2
    assert "gpus" not in facts("GPU 0: Imaginary 9000")


def test_environments_are_named_with_what_must_be_in_them() -> None:
    text = '  File "/opt/venv/lib/python3.12/site-packages/sglang/launch_server.py", line 7, in <module>'
    assert list(told.places(explainer().scan_text(text).hits)) == [
        ("/opt/venv", "/opt/venv/lib/python3.12/site-packages/sglang")
    ]
