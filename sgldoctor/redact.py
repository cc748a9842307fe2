"""Keeping secrets and names of people out of everything that leaves the doctor.

Keys of JSON objects are never touched, so that a redacted document is still read by every program.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

HIDDEN = "***"

_SECRET_NAME = re.compile(
    r"TOKEN(?!IZ)|SECRET|PASSW|CREDENTIAL|APIKEY|API_KEY|ACCESS_KEY|PRIVATE|(?:^|_)(?:KEY|AUTH|PASS|PWD)(?:_|$)",
    re.IGNORECASE,
)
_SHAPES = (
    # user:password in a URL, then everything after its question mark
    (re.compile(r"(?<=://)[^/\s@'\"]+@"), f"{HIDDEN}@"),
    (re.compile(r"(https?://[^\s'\"<>?#]+)[?#][^\s'\"<>]*"), rf"\1?{HIDDEN}"),
    # nvidia-smi prints whole command lines; the program's name is enough
    (re.compile(r"(<process_name>[^\s<]*)[^<]*"), r"\1"),
    (re.compile(r"(?i)\b(bearer|basic)\s+[a-z0-9._~+/=-]{8,}"), rf"\1 {HIDDEN}"),
    (
        re.compile(r"(?i)([a-z0-9_-]*(?:token|secret|passw(?:or)?d|api[_-]?key|access[_-]?key))(\s*[=:]\s*|\s+)"
                   r"(?=[^\s'\",;]*[0-9_-])[^\s'\",;]{6,}"),
        rf"\1\2{HIDDEN}",
    ),
    (
        re.compile(
            r"\b(?:hf_[A-Za-z0-9]{16,}|sk-[A-Za-z0-9_-]{12,}|gh[opsu]_[A-Za-z0-9]{16,}|github_pat_\w{16,}"
            r"|glpat-[\w-]{12,}|AKIA[A-Z0-9]{12,}|xox[abprs]-[\w-]{10,}|nvapi-[\w-]{12,}|AIza[\w-]{20,}"
            r"|eyJ[\w-]{10,}\.[\w-]{10,}\.[\w-]*)"
        ),
        HIDDEN,
    ),
)  # fmt: skip
_HOME = re.compile(r"(?<![\w.-])/(?:home|Users)/(?!user(?:/|$))[^/\s:'\"]+")

# The variables that probes read. Others are never recorded, whatever they hold.
_KEPT = re.compile(
    r"^(?:PATH|HOME|TMPDIR|LD_LIBRARY_PATH|LIBRARY_PATH|LD_PRELOAD|VLLM_\w+|TOKENIZERS_\w+|VIRTUAL_ENV|CONDA_PREFIX|CUDA_\w+|NVIDIA_\w+|NVCC\w*|CC|CXX|TRITON_\w+"
    r"|FLASHINFER_\w+|TORCH_\w+|TORCHINDUCTOR_\w+|PYTORCH_\w+|SGLANG_\w+|SGL_\w+|NCCL_\w+|HF_\w+|HUGGINGFACE_\w+"
    r"|TRANSFORMERS_\w+|XDG_CACHE_HOME|PYTHONPATH|PYTHONHOME|PYTHONNOUSERSITE|DG_\w+|(?:HTTP|HTTPS|ALL|NO)_PROXY"
    r"|KUBERNETES_SERVICE_HOST|MODAL_\w+|RUNPOD_\w+|container|WSL_DISTRO_NAME|MAX_JOBS|SGLDOCTOR_\w+"
    r"|COLAB_\w+|KAGGLE_\w+|SLURM_JOB_ID|USER)$",
    re.IGNORECASE,
)
# Paths, and short plain words: hiding them would blank names of packages, and they are no secrets.
_WORD = re.compile(r"^(?:/.*|[A-Za-z]+(?:[-_.][A-Za-z]+)*)$")
# The password, and the values behind the question mark, of URLs in any variable: probes split some at colons.
_IN_URL = re.compile(r"://(?:[^/\s:@]*:)?([^/\s@]+)@|[?&][\w-]+=([^&\s]+)")
_PLAIN = re.compile(r"^(?:[01]|true|false|yes|no|on|off|\d{1,6}(?:\.\d{1,4})?)$", re.IGNORECASE)


def is_secret_name(name: str) -> bool:
    """Return whether a variable of that name is meant to hold a secret."""
    return bool(_SECRET_NAME.search(name))


class Redactor:
    """Hides what one machine's variables call secret, and everything that has the shape of a secret."""

    def __init__(self, environ: Mapping[str, str] | None = None) -> None:
        environ = environ or {}
        secrets = {
            value
            for name, value in environ.items()
            if is_secret_name(name) and len(value) >= 4 and not _PLAIN.match(value) and not _WORD.match(value)
        }
        for value in environ.values():
            secrets |= {word for found in _IN_URL.finditer(value) for word in found.groups() if word and len(word) >= 4}
        self._secrets = sorted(secrets, key=len, reverse=True)
        self._home = environ.get("HOME", "").rstrip("/")

    def text(self, text: str) -> str:
        """Return a text without secrets."""
        for secret in self._secrets:
            text = text.replace(secret, HIDDEN)
        for shape, instead in _SHAPES:
            text = shape.sub(instead, text)
        return text

    def without_home(self, text: str, instead: str = "~") -> str:
        """Return a text without secrets and without the names of home folders."""
        text = self.text(text)
        if self._home and self._home != "/":
            text = re.sub(rf"(?<![\w.-]){re.escape(self._home)}(?=[/:\s'\"]|$)", instead, text)
        return _HOME.sub(instead, text)

    def values(self, node: Any, say: Callable[[str], str] | None = None) -> Any:  # noqa: ANN401 - any JSON value
        """Return a JSON value in which every text, but no key, has gone through ``say`` (default: `without_home`)."""
        say = say or self.without_home
        if isinstance(node, str):
            return say(node)
        if isinstance(node, list):
            return [self.values(item, say) for item in node]
        if isinstance(node, dict):
            return {key: self.values(item, say) for key, item in node.items()}
        return node

    def recording(self, document: dict[str, Any]) -> dict[str, Any]:
        """Return a recording fit to be shared: no secrets, homes named alike in questions and answers."""
        questions = {
            question: {self.without_home(key, "/home/user"): self._note(question, note) for key, note in notes.items()}
            for question, notes in document["questions"].items()
        }
        return {**document, "scope": self._shared(document["scope"]), "questions": questions}

    def _note(self, question: str, note: dict[str, Any]) -> dict[str, Any]:
        if question == "environ" and "answer" in note:
            kept = {name: self._variable(name, value) for name, value in note["answer"].items() if _KEPT.match(name)}
            return {"answer": kept}
        return {key: self._shared(value) for key, value in note.items()}

    def _variable(self, name: str, value: str) -> str:
        return HIDDEN if is_secret_name(name) and not _PLAIN.match(value) else str(self._shared(value))

    def _shared(self, node: Any) -> Any:  # noqa: ANN401 - any JSON value
        return self.values(node, lambda text: self.without_home(text, "/home/user"))
