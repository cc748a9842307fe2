from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from sgldoctor.probes.deep import error_of, probe
from sgldoctor.probes.packages import Environment
from sgldoctor.snapshot import Known
from sgldoctor.system import RealSystem
from tests.environments import make_venv

# The end of what `import sgl_kernel` printed: sgl-kernel 0.3.15, torch 2.8.0, no libcuda.so.1.
HIDDEN = """\
Traceback (most recent call last):
  File "/opt/kernel/sgl_kernel/__init__.py", line 131, in <module>
    common_ops = _load_architecture_specific_ops()
ImportError:
[sgl_kernel] CRITICAL: Could not load any common_ops library!

Attempted locations:
1. Architecture-specific pattern: /opt/kernel/sgl_kernel/sm100/common_ops.*
"""
PLAIN = """\
Traceback (most recent call last):
  File "<string>", line 1, in <module>
ImportError: libnuma.so.1: cannot open shared object file: No such file or directory
"""
CHAINED = """\
OSError: first
During handling of the above exception, another exception occurred:
  torch.cuda.DeferredCudaCallError: second
torch._C.SomeError: third
"""


@pytest.mark.parametrize(
    ("text", "code", "error"),
    [
        (PLAIN, 1, "ImportError: libnuma.so.1: cannot open shared object file: No such file or directory"),
        (
            HIDDEN,
            1,
            "ImportError: [sgl_kernel] CRITICAL: Could not load any common_ops library! Attempted locations: "
            "1. Architecture-specific pattern: /opt/kernel/sgl_kernel/sm100/common_ops.*",
        ),
        (CHAINED, 1, "torch._C.SomeError: third"),
        ("noise\n", 3, "exit code 3"),
        ("", -11, "killed by signal 11"),
    ],
)
def test_the_last_error_is_one_line(text: str, code: int, error: str) -> None:
    assert error_of(text, code) == error


def test_an_error_without_end_is_cut() -> None:
    assert len(error_of("ValueError: " + "x" * 10_000, 1)) == 300


def test_modules_are_imported_in_the_target_and_their_noise_stays_there(tmp_path: Path) -> None:
    site = make_venv(tmp_path / "env")
    for name, body in {"torch": "print('noise')", "sgl_kernel": "raise ImportError('no libnuma')"}.items():
        (site / name).mkdir()
        (site / name / "__init__.py").write_text(body)
    python = tmp_path / "env/bin/python"
    python.write_text(f'#!/bin/sh\nPYTHONPATH={site} exec {os.path.realpath(sys.executable)} "$@"\n')
    system = RealSystem()
    facts = probe(system, Environment(system, [str(site)]), str(python), [str(site)])
    imports = facts["imports"]
    assert isinstance(imports, Known)
    assert isinstance(imports.value, list)
    assert [(r["module"], r["ok"], r["error"]) for r in imports.value if isinstance(r, dict)] == [
        ("torch", True, None), ("sgl_kernel", False, "ImportError: no libnuma"),
    ]  # fmt: skip
    assert facts["pip.version"] == Known(None, "the environment holds no pip")
