"""What must hold after a step, as small Python programs that run in the environment itself."""

from __future__ import annotations

SAID = "ok: "
"""What begins a line that says what holds; imports say other things."""

_HEAD = """\
import ctypes, importlib, importlib.util, sys
from importlib.metadata import PackageNotFoundError, version


def need(condition, text):
    if not condition:
        sys.exit(text)


def say(*words):
    print("ok:", *words)


def installed(name):
    try:
        return version(name).partition("+")[0]
    except PackageNotFoundError:
        sys.exit(f"{name} is not installed")


def load(name):
    try:
        return importlib.import_module(name)
    except Exception as error:
        lines = [line for line in str(error).splitlines() if line.strip()]
        sys.exit(f"import {name} fails: {type(error).__name__}: {' '.join(lines)[:600]}")


def driver():
    try:
        return ctypes.CDLL("libcuda.so.1")
    except OSError:
        return None


def devices():
    count = ctypes.c_int(0)
    cuda = driver()
    if cuda is None or cuda.cuInit(0) or cuda.cuDeviceGetCount(ctypes.byref(count)):
        return 0
    return count.value

"""

_IS = """\
need(installed({name!r}) == {version!r}, f"{name} is {{installed({name!r})}}, the plan says {version}")
say({name!r}, {version!r})
"""
_UNCHANGED = """\
need(installed("torch") == {version!r}, f"torch was replaced: it is {{installed('torch')}}, the plan says {version}")
"""
_TORCH = """\
torch = load("torch")
public = torch.__version__.partition("+")[0]
need(public == {version!r}, f"torch is {{public}}, the plan says {version}")
need(torch.version.cuda, "torch is a build without CUDA")
seen = torch.cuda.device_count() if torch.cuda.is_available() else 0
need(seen or not devices(), f"torch {{public}} sees none of the {{devices()}} GPUs that the driver shows")
say("torch", torch.__version__, "CUDA", torch.version.cuda, f"sees {{seen}} GPU(s)" if seen else "no GPU here")
"""
_FLASHINFER = """\
say("flashinfer", getattr(load("flashinfer"), "__version__", installed("flashinfer-python")), "imports")
"""
_KERNEL = """\
if driver() is None:
    need(importlib.util.find_spec("sgl_kernel"), "sgl_kernel is not there")
    say("sgl_kernel is there; not imported, there is no driver here")
else:
    load("sgl_kernel")
    say("sgl_kernel imports")
"""
_VERSIONS = """\
wanted = {versions!r}
wrong = [f"{{name}} is {{installed(name)}}, the plan says {{public}}"
         for name, public in wanted.items() if installed(name) != public]
need(not wrong, "; ".join(wrong))
say(len(wanted), "versions as planned")
"""


def script(name: str, versions: dict[str, str]) -> str:
    """Return a program that ends with 0 where a check holds, else with one line on stderr that says what does not.

    Args:
        name: torch, torch-unchanged, flashinfer, kernel, versions, or a distribution whose version must be as planned.
        versions: canonical distribution names and public versions of the plan.
    """
    return _HEAD + _body(name, versions)


def scripts(names: tuple[str, ...], versions: dict[str, str]) -> str:
    """Return one program for several checks, in their order; the first that does not hold ends it."""
    return _HEAD + "".join(_body(name, versions) for name in names)


def _body(name: str, versions: dict[str, str]) -> str:
    if name == "torch":
        return _TORCH.format(version=versions["torch"])
    if name == "torch-unchanged":
        return _UNCHANGED.format(version=versions["torch"])
    if name == "flashinfer":
        return _FLASHINFER
    if name == "kernel":
        return _KERNEL
    if name == "versions":
        return _VERSIONS.format(versions=versions)
    return _IS.format(name=name, version=versions[name])
