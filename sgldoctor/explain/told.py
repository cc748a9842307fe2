"""What a text tells of the machine that it comes from: versions, GPUs, the driver, as facts for the rules."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from sgldoctor.rules.knowledge import find_gpu, torch_build
from sgldoctor.snapshot import Facts, Known

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from sgldoctor.explain.scan import Hit

_VERSION = r"(?P<value>\d+\.\d+[\w.+]*)"
_REST = r"(?: +(?:[/~]\S*|pypi_0 +pypi))?\s*"
# How people and tools write them: pip list and freeze, check_env, collect_env.
_PACKAGES = (
    "torch", "torchvision", "torchaudio", "triton", "sglang", "sgl-kernel", "sglang-kernel", "flashinfer-python",
    "flashinfer-cubin", "flashinfer-jit-cache", "flashinfer", "transformers", "vllm", "xgrammar", "torchao", "numpy",
    "nvidia-cudnn-cu12", "nvidia-nccl-cu12", "outlines", "huggingface-hub", "pydantic",
)  # fmt: skip
_PYTHON = r"python(?P<value>3\.\d+)/(?:site|dist)-packages/"
_SEVERAL = "gpu.name"
PLACE = r"(?P<place>/[^\s:'\",()]*)/lib(?:64)?/python3\.\d+/(?:site|dist)-packages/(?P<module>\w+)"
"""A package in an environment: the folder of the environment, and what lies in it."""
ERROR = r"^[\w.]*(?:Error|Exception)\b(?:: \S|$)|\bERROR\b|\b[Ee]rror: \S"
"""What a line looks like that names an error."""

_SPELLINGS: dict[str, str] = {
    **{
        rf"^(?:\[pip3?\] )?{name.replace('-', '[-_]')}(?:==| +|: ?){_VERSION}{_REST}$": f"package.{name}"
        for name in _PACKAGES
    },
    # what pip says of a conflict, of both sides
    **{rf"\bbut you have {name.replace('-', '[-_]')} {_VERSION}(?:\s|$)": f"package.{name}" for name in _PACKAGES},
    **{
        rf"^{name.replace('-', '[-_]')} {_VERSION} (?:requires|has requirement) ": f"package.{name}"
        for name in _PACKAGES
    },
    rf"^PyTorch(?: version)?: {_VERSION}": "package.torch",
    rf"\bEnvironment: PyTorch {_VERSION}": "package.torch",
    _PYTHON: "python.minor",
    r"^Python(?: version)?: (?P<value>3\.\d+)": "python.minor",
    r"\bUsing (?:CPython|Python) (?P<value>3\.\d+)": "python.minor",
    r"\bDriver Version: (?P<value>\d+\.\d+[\d.]*)": "driver.version",
    r"^Nvidia driver version: (?P<value>\d+\.\d+[\d.]*)": "driver.version",
    r"Driver Version: .*\bCUDA Version: (?P<value>\d+\.\d+)": "driver.cuda",
    r"^CUDA used to build PyTorch: (?P<value>\d+\.\d+)": "torch.cuda",
    r"^- CUDA version: (?P<value>\d+\.\d+)": "torch.cuda",  # the kernels' own message, from torch.version.cuda
    r"\brelease \d+\.\d+, V(?P<value>\d+\.\d+)": "toolchain.nvcc_version",
    r"^OS: (?P<value>[A-Z][A-Za-z]+)": "os.pretty",
    r"^PRETTY_NAME=\"(?P<value>[A-Z][A-Za-z]+)": "os.pretty",
    r"^GPU \d[\d,]*: (?P<value>[A-Z][\w .-]+?)(?: \(UUID.*)?$": _SEVERAL,
    r"(?P<value>NVIDIA [\w .-]+?) with CUDA capability sm_\d+": _SEVERAL,
    r"Your (?P<value>NVIDIA [\w .-]+?) GPU has compute capability": _SEVERAL,
    r"^- Compute capability: (?P<value>\d{2,3})\b": "gpu.capability",
    PLACE: "place",
    ERROR: "error",
}
PATTERNS = tuple(_SPELLINGS)
"""Patterns that are searched beside those of the rules."""

_FAMILIES = {"Ubuntu": "debian", "Debian": "debian", "Rocky": "rhel", "Red": "rhel", "CentOS": "rhel", "Alma": "rhel",
             "Fedora": "rhel", "Alpine": "alpine", "Arch": "arch"}  # fmt: skip
_LABEL = re.compile(r"\+cu(\d+)(\d)$")


def facts(hits: Mapping[str, list[Hit]]) -> Facts:
    """Return what the text says; where it names two values of one fact, nothing is known of it."""
    values: dict[str, dict[str, int]] = {}
    for pattern, name in _SPELLINGS.items():
        for hit in hits.get(pattern, ()):
            if value := hit.captures.get("value"):
                values.setdefault(name, {}).setdefault(value.rstrip("."), hit.line.number)
    told: Facts = {}
    for name, found in values.items():
        if len(found) == 1 and name.startswith(("package.", "python.", "driver.", "torch.", "toolchain.")):
            value, number = next(iter(found.items()))
            told[name] = Known(value, f"line {number} of the text")
    if "driver.version" in told:
        told["driver.state"] = Known("ok", told["driver.version"].source)  # type: ignore[union-attr]
    return told | _torch_cuda(told) | _family(values) | _gpus(values)


def places(hits: Mapping[str, list[Hit]]) -> Iterator[tuple[str, str]]:
    """Yield environments that the text names, each with a path in it that must exist if it is the same machine."""
    for hit in hits.get(PLACE, ()):
        if path := re.search(PLACE, hit.line.text):
            yield path["place"], path[0]


def _torch_cuda(told: Facts) -> Facts:
    """Return the CUDA of torch: as the text says, by torch's label, or of the release build."""
    torch = told.get("package.torch")
    cuda = told.get("torch.cuda")
    if cuda is None and isinstance(torch, Known):
        version = str(torch.value)
        if label := _LABEL.search(version):
            cuda = Known(f"{label[1]}.{label[2]}", torch.source)
        elif build := torch_build(version):
            cuda = Known(str(build["cuda"]), "torch_builds.yaml")
    return {"torch.cuda": cuda, "torch.backend": Known("cuda", "the text")} if cuda else {}


def _family(values: dict[str, dict[str, int]]) -> Facts:
    found = {_FAMILIES[name] for name in values.get("os.pretty", ()) if name in _FAMILIES}
    return {"os.family": Known(found.pop(), "the text")} if len(found) == 1 else {}


def _gpus(values: dict[str, dict[str, int]]) -> Facts:
    """Return the GPUs that the text names, each model once."""
    models = {model.name: model for name in values.get(_SEVERAL, ()) if (model := find_gpu(name))}
    records: list[dict[str, Any]] = [
        {"index": index, "name": model.name, "capability": model.capability, "visible": True}
        for index, model in enumerate(models.values())
    ]
    if not records and len(capabilities := values.get("gpu.capability", {})) == 1:
        digits = next(iter(capabilities))
        records = [{"index": 0, "capability": f"{digits[:-1]}.{digits[-1]}", "visible": True}]
    if not records:
        return {}
    return {"gpus": Known(records, "the text"), "gpu.vendor": Known("nvidia", "the text")}
