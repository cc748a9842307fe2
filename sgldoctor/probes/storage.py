"""The folders that SGLang and its compilers write to: are they there, writable, and how full."""

from __future__ import annotations

from posixpath import join
from typing import TYPE_CHECKING, Any

from sgldoctor.snapshot import Facts, Known, Unknown

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from sgldoctor.system import System

# HF_HUB_CACHE and its old name: huggingface_hub/constants.py. SGLang sets DG_JIT_CACHE_DIR from its own two
# names (deep_gemm_wrapper/compile_utils.py), so these win.
_CACHES: tuple[tuple[str, tuple[tuple[str, str], ...], str | None], ...] = (
    (
        "Hugging Face cache",
        (
            ("HF_HUB_CACHE", ""), ("HUGGINGFACE_HUB_CACHE", ""), ("HF_HOME", "hub"),
            ("XDG_CACHE_HOME", "huggingface/hub"),
        ),
        "~/.cache/huggingface/hub",
    ),
    ("temporary files", (("TMPDIR", ""),), "/tmp"),  # noqa: S108 - looked at, not written to
    ("flashinfer cache", (("FLASHINFER_WORKSPACE_BASE", ".cache/flashinfer"),), "~/.cache/flashinfer"),
    ("triton cache", (("TRITON_CACHE_DIR", ""), ("TRITON_HOME", ".triton/cache")), "~/.triton/cache"),
    ("torch inductor cache", (("TORCHINDUCTOR_CACHE_DIR", ""),), None),
    (
        "DeepGEMM cache",
        (("SGLANG_DG_CACHE_DIR", ""), ("SGL_DG_CACHE_DIR", ""), ("DG_JIT_CACHE_DIR", "")),
        "~/.cache/deep_gemm",
    ),
    ("CUDA cache", (("CUDA_CACHE_PATH", ""),), "~/.nv/ComputeCache"),
)  # fmt: skip


def probe(system: System, prefix: str | None) -> Facts:
    """Return one record for each folder that is written to.

    Args:
        system: the machine.
        prefix: the environment's folder, where there is one.
    """
    try:
        environ = system.environ()
        places = list(_places(system, environ, prefix))
        records = [_judge(system, use, path) for use, path in places]
    except OSError as error:
        return {"disks": Unknown(f"the folders that are written to: {error.strerror or error}")}
    return {"disks": Known(records, "file system")}


def _places(system: System, environ: Mapping[str, str], prefix: str | None) -> Iterator[tuple[str, str]]:
    """Yield each use with its folder, the first variable that is set deciding; a path may begin with ~."""
    if prefix:
        yield "environment", prefix
    home = environ.get("HOME", "")
    for use, variables, default in _CACHES:
        named = ((environ[name], below) for name, below in variables if environ.get(name))
        path = next((join(value, below) if below else value for value, below in named), default)
        if path is None:
            continue
        if home and (path == "~" or path.startswith("~/")):
            path = join(home, path[2:])
        yield use, path if path.startswith(("/", "~")) else join(system.cwd(), path)


def _judge(system: System, use: str, path: str) -> dict[str, Any]:
    """Return the record of a folder; one that is not there yet is judged by the nearest that is."""
    record: dict[str, Any] = {"use": use, "path": path, "free_gib": None, "writable": None, "problem": None}
    if path.startswith("~"):
        return {**record, "problem": "HOME is not set"}
    place = system.nearest_existing(path)
    kind = system.kind(place)
    if kind == "unreadable":
        return {**record, "writable": False, "problem": "not readable"}
    if kind != "dir":
        return {**record, "writable": False, "problem": "a file is in the way"}
    if use == "temporary files" and place != path:  # everyone expects it, nobody makes it
        return {**record, "writable": False, "problem": "does not exist"}
    try:
        free = round(system.disk(place)["free"] / 2**30, 1)
    except OSError as error:
        return {**record, "problem": error.strerror or str(error)}
    writable = system.is_writable(place)
    return {**record, "free_gib": free, "writable": writable, "problem": None if writable else "not writable"}
