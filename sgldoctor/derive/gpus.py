"""What the names of the GPUs tell: capabilities that the driver did not say, and which models they are."""

from __future__ import annotations

from sgldoctor.rules.knowledge import find_gpu
from sgldoctor.snapshot import Facts, Known, Snapshot, Unknown


def derive(snapshot: Snapshot) -> Facts:
    """Return names and kinds of the GPUs."""
    gpus = snapshot.get("gpus")
    if isinstance(gpus, Unknown):
        return {"gpu.models": gpus, "gpu.datacenter": gpus}
    records = snapshot.records("gpus")
    names = sorted({str(gpu["name"]) for gpu in records if gpu.get("name")})
    models = [find_gpu(name) for name in names]
    return {
        "gpu.models": Known(list(names), gpus.source),
        "gpu.datacenter": Known(all(model.kind == "datacenter" for model in models if model), "gpus.yaml")
        if models and all(models)
        else Unknown("a GPU of unknown model"),
    }
