"""What each unmet requirement means: stops the start, costs a feature, differs from a pin, or lies deeper."""

from __future__ import annotations

from typing import Any

from sgldoctor.rules.conditions import specifier_of
from sgldoctor.snapshot import Fact, Facts, Known, Snapshot, Unknown

# Without any one of these the modules of the server cannot be imported (measured: sglang 0.4.10.post2 with [srt],
# 0.5.3.post1 and 0.5.23, one package hidden at a time, wherever the release requires it)
_START = {
    "aiohttp", "compressed-tensors", "einops", "fastapi", "huggingface-hub", "ipython", "msgspec", "numpy",
    "openai", "orjson", "packaging", "partial-json-parser", "pillow", "psutil", "pybase64", "pydantic",
    "python-multipart", "pyzmq", "requests", "sentencepiece", "setproctitle", "tokenizers", "tqdm",
    "transformers", "uvicorn", "uvloop",
}  # fmt: skip
# pkgs_to_check_at_runtime in transformers/dependency_versions_check.py, compared when transformers is imported
_CHECKED_BY_TRANSFORMERS = {
    "filelock", "huggingface-hub", "numpy", "packaging", "pyyaml", "regex", "requests", "safetensors",
    "tokenizers", "tqdm",
}  # fmt: skip
# These have rules of their own, by name
_OWN_MISSING = {
    "torch", "triton", "sgl-kernel", "sglang-kernel", "flashinfer", "flashinfer-python", "ninja", "apache-tvm-ffi",
}  # fmt: skip
_OWN_VERSION = {
    "torch", "triton", "sgl-kernel", "sglang-kernel", "flashinfer", "flashinfer-python", "flashinfer-cubin",
    "transformers", "xgrammar", "torchao",
}  # fmt: skip
# Whether these fit a torch is measured, and says more than the exact version that their METADATA names
_JUDGED_BY_TABLES = ("torchvision ", "torchaudio ", "sgl-kernel ", "sglang-kernel ")
_FFI_GONE = "apache-tvm-ffi==0.1.0b15"
# sglang 0.5.6 to 0.5.9 themselves ask for a newer cuDNN than torch 2.9.1 requires (srt/server_args.py)
_CUDNN = ("nvidia-cudnn-cu12", ">=0.5.6,<0.5.10rc0")


def derive(snapshot: Snapshot) -> Facts:
    """Return the unmet requirements that no rule of its own names, each with its group."""
    return {"requirements.gaps": _gaps(snapshot)}


def _gaps(snapshot: Snapshot) -> Fact:
    unmet = snapshot.get("requirements.unmet")
    if isinstance(unmet, Unknown) or unmet.value is None:
        return unmet
    sglang = snapshot.text("package.sglang") or "0"
    rows: list[dict[str, Any]] = []
    for row in snapshot.records("requirements.unmet"):
        group = _group_of_missing(row) if row.get("problem") == "missing" else _group_of_version(row, sglang)
        if group:
            rows.append({"group": group, **row})
    return Known(rows, unmet.source)


def _group_of_missing(row: dict[str, Any]) -> str | None:
    name = str(row.get("package"))
    if name == "apache-tvm-ffi" and row.get("requirement") != _FFI_GONE:
        return "start" if row.get("direct") else "deeper-missing"
    if name in _OWN_MISSING:
        return None
    if row.get("direct"):
        return "start" if name in _START else "feature"
    return "transformers" if _for_transformers(row) else "deeper-missing"


def _group_of_version(row: dict[str, Any], sglang: str) -> str | None:
    name = str(row.get("package"))
    if _for_transformers(row):
        return "transformers"
    if row.get("direct"):
        return None if name in _OWN_VERSION else "pin"
    if name == "torch":
        return None if str(row.get("required_by")).startswith(_JUDGED_BY_TABLES) else "torch-for-another"
    if name.startswith("nvidia-") and str(row.get("required_by")).startswith("torch "):
        override = name == _CUDNN[0] and specifier_of(_CUDNN[1]).contains(sglang)
        return None if override else "nvidia"
    return None if name == "triton" or row.get("requirement") == _FFI_GONE else "deeper-version"


def _for_transformers(row: dict[str, Any]) -> bool:
    by = str(row.get("required_by"))
    return by.startswith("transformers ") and row.get("package") in _CHECKED_BY_TRANSFORMERS
