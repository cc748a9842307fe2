"""The environment variables that matter here, and the SGLang variables that this release never reads."""

from __future__ import annotations

import re
from posixpath import dirname, join
from typing import TYPE_CHECKING, Any

from sgldoctor.redact import is_secret_name
from sgldoctor.snapshot import Fact, Facts, Known, Unknown

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from sgldoctor.system import System

_MATTERS = re.compile(
    r"^(?:CUDA|NVIDIA|SGLANG|SGL|FLASHINFER|TORCH|TORCHINDUCTOR|PYTORCH|TRITON|NCCL|HF|HUGGINGFACE|TRANSFORMERS"
    r"|TOKENIZERS|DG|VLLM)_\w+$|^(?:LD_LIBRARY_PATH|LD_PRELOAD|PYTHONPATH|PYTHONHOME|PYTHONNOUSERSITE)$"
)
_LONGEST = 200
_PREFIXES = ["SGLANG_", "SGL_"]
# Kubernetes sets these in every pod for a service called sglang: SGLANG_SERVICE_HOST, SGLANG_SERVICE_PORT_HTTP,
# SGLANG_PORT_30000_TCP_ADDR, and SGLANG_PORT=tcp://10.3.240.1:30000
_SERVICE = re.compile(r"_SERVICE_(?:HOST|PORT(?:_\w+)?)$|_PORT_\d+_(?:TCP|UDP|SCTP)(?:_(?:PROTO|PORT|ADDR))?$")
_SERVICE_URL = re.compile(r"^(?:tcp|udp|sctp)://")
# Packages beside sglang that read SGLANG_ variables of their own
_RELATIVES = ("sgl_kernel", "sglang_router", "smg_grpc_servicer")
# sglang/srt/environ.py of 0.5.3 to 0.5.5 passes every SGL_X on as SGLANG_X
_CONVERTER = "_convert_SGL_to_SGLANG"


def probe(system: System, sglang_folder: str | None) -> Facts:
    """Return the variables that are set; of one whose name tells a secret, only the name.

    Args:
        system: the machine.
        sglang_folder: where sglang is installed, to read which variables it knows.
    """
    try:
        environ = system.environ()
    except OSError as error:
        unknown = Unknown(f"variables: {error.strerror or error}")
        return {"variables": unknown, "variables.unread": unknown}
    names = sorted(name for name in environ if _MATTERS.match(name))
    shown = [name for name in names if not is_secret_name(name)]
    facts: Facts = {f"variable.{name}": Known(_shortened(environ[name]), "environment") for name in shown}
    facts["variables"] = Known(list(names), "environment")
    return {**facts, "variables.unread": _unread(system, environ, sglang_folder)}


def _shortened(value: str) -> str:
    """Return at most 200 characters, cut between words: a secret cut in two would no longer be recognised."""
    return value if len(value) <= _LONGEST else re.sub(r"[^\s:,;=&]*$", "", value[:_LONGEST])


def _unread(system: System, environ: Mapping[str, str], folder: str | None) -> Fact:
    if folder is None:
        return Known([], "sglang is not installed")
    asked = sorted(name for name in environ if name.startswith(tuple(_PREFIXES)) and not _is_service(name, environ))
    if not asked:
        return Known([], "no SGLang variable is set")
    try:
        known = set(system.words_in_sources(folder, _PREFIXES))
        converts = _converts(system, folder)
        for relative in (join(dirname(folder), name) for name in _RELATIVES):
            known |= set(system.words_in_sources(relative, _PREFIXES)) if system.kind(relative) == "dir" else set()
    except OSError as error:
        return Unknown(f"the sources of sglang cannot be read: {error.strerror or error}")
    if not known:
        return Unknown(f"{folder} holds no Python sources")
    unread = [name for name in asked if not _is_read(name, known, converts=converts)]
    return Known([_record(name, known) for name in unread], folder)


def _is_service(name: str, environ: Mapping[str, str]) -> bool:
    return bool(_SERVICE.search(name) or (name.endswith("_PORT") and _SERVICE_URL.match(environ[name])))


def _converts(system: System, folder: str) -> bool:
    path = join(folder, "srt/environ.py")
    return system.kind(path) == "file" and _CONVERTER in system.read_text(path)


def _is_read(name: str, known: Iterable[str], *, converts: bool) -> bool:
    """Return whether the sources hold the name, or the beginning that they complete: ``SGLANG_CACHE_DIT_``."""
    names = {name, name.replace("SGL_", "SGLANG_", 1)} if converts and name.startswith("SGL_") else {name}
    beginnings = tuple(word for word in known if word.endswith("_"))
    return any(candidate in known or candidate.startswith(beginnings) for candidate in names)


def _record(name: str, known: Iterable[str]) -> dict[str, Any]:
    """Return the name with the nearest that is read; prefixes are left out, or all names would be near."""
    from difflib import get_close_matches  # noqa: PLC0415 - only for a finding

    stems = {word.partition("_")[2]: word for word in sorted(known) if not word.endswith("_")}
    near = get_close_matches(name.partition("_")[2], stems, n=1, cutoff=0.7)
    return {"name": name, "suggestion": stems[near[0]] if near else ""}
