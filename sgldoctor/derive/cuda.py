"""One CUDA major everywhere: which parts of an environment ask for which."""

from __future__ import annotations

import re
from typing import Any

from sgldoctor.snapshot import Facts, Known, Snapshot, Unknown

# Runtime libraries whose distribution carries the CUDA major in its name; tools and DSL parts ship for both.
_RUNTIME = re.compile(r"^nvidia-(?:cublas|cuda-runtime|cuda-nvrtc|cudnn|cufft|cusolver|cusparse|nccl)-cu(\d\d)$")
_LABEL = re.compile(r"\+cu(\d\d)\d$")
_LABELLED = (
    "torch",
    "torchvision",
    "torchaudio",
    "sgl-kernel",
    "sglang-kernel",
    "flashinfer-jit-cache",
    "vllm",
)


def derive(snapshot: Snapshot) -> Facts:
    """Return the CUDA majors of torch, the kernels and the runtime libraries, and nvcc's."""
    nvcc = snapshot.get("toolchain.nvcc_version")
    facts: Facts = {
        "toolchain.nvcc_major": Known(str(nvcc.value).split(".", maxsplit=1)[0], nvcc.source)
        if isinstance(nvcc, Known) and nvcc.value is not None
        else nvcc
    }
    packages = snapshot.get("packages")
    if isinstance(packages, Unknown):
        return facts | {"cuda.majors": packages, "cuda.core_majors": packages}
    records: list[dict[str, Any]] = []
    for item in snapshot.records("packages"):
        name, version = item["name"], item.get("version") or ""
        if match := _RUNTIME.match(name):
            records.append({"major": match[1], "package": name, "version": version, "core": False})
        elif name in _LABELLED and (match := _LABEL.search(version)):
            records.append({"major": match[1], "package": name, "version": version, "core": True})
    core: dict[str, str] = {item["package"]: item["major"] for item in records if item["core"]}
    if major := snapshot.text("torch.cuda_major"):
        core["torch"] = major
    if (major := snapshot.text("kernel.cuda_major")) and (carrier := snapshot.text("kernel.distribution")):
        core.setdefault(carrier, major)
    return facts | {
        "cuda.majors": Known(records, packages.source),
        "cuda.core_majors": Known(sorted(set(core.values())), ", ".join(sorted(core)) or packages.source),
    }
