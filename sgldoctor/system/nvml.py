"""What NVIDIA's management library says about the driver and every GPU, as one JSON value."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

# nvmlReturn_t in nvml.h; only the states that a user meets have a word of their own.
STATES = {
    3: "not-supported",
    4: "no-permission",
    9: "driver-not-loaded",
    12: "library-not-found",
    15: "gpu-is-lost",
    18: "version-mismatch",
    20: "in-use",
    999: "unknown-error",
}
# NVML_GPU_RECOVERY_ACTION_* and NVML_GPU_FABRIC_STATE_* of the same header
_RECOVERY = {
    0: "none", 1: "gpu-reset", 2: "node-reboot", 3: "drain-p2p", 4: "drain-and-reset",
    5: "recover-imex-domain", 6: "bus-reset", 7: "system-reboot",
}  # fmt: skip
_FABRIC = {0: "not-supported", 1: "not-started", 2: "in-progress", 3: "completed"}


def read() -> dict[str, Any]:
    """Return ``{error, driver, cuda, gpus}``.

    ``error`` is None or ``{code, state, text}`` (state: one of `STATES`, or ``error``); ``cuda`` is the newest
    CUDA version that the driver supports, such as ``13.0``. Each GPU holds index, name, uuid-free: capability
    (``9.0``), memory_total_mib, memory_used_mib, mig, ecc, recovery_action, fabric, processes (pid, memory_mib)
    and ``errors`` (question -> text) for what the driver would not say.
    """
    import pynvml  # noqa: PLC0415 - 60 ms, and only where there is a driver

    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError as error:
        return {"error": _error(error), "driver": None, "cuda": None, "gpus": []}
    try:
        number = pynvml.nvmlSystemGetCudaDriverVersion()
        return {
            "error": None,
            "driver": _text(pynvml.nvmlSystemGetDriverVersion()),
            "cuda": f"{number // 1000}.{number % 1000 // 10}",
            "gpus": [_gpu(pynvml, index) for index in range(pynvml.nvmlDeviceGetCount())],
        }
    except pynvml.NVMLError as error:
        return {"error": _error(error), "driver": None, "cuda": None, "gpus": []}
    finally:
        pynvml.nvmlShutdown()


def _gpu(pynvml: Any, index: int) -> dict[str, Any]:  # noqa: ANN401 - an untyped module
    errors: dict[str, str] = {}

    def ask(name: str, question: Callable[[], Any]) -> Any:  # noqa: ANN401 - any JSON value
        try:
            return question()
        except pynvml.NVMLError as error:
            if error.value != pynvml.NVML_ERROR_NOT_SUPPORTED:
                errors[name] = str(error)
            return None

    gpu: dict[str, Any] = {"index": index, "errors": errors}
    handle = ask("handle", lambda: pynvml.nvmlDeviceGetHandleByIndex(index))
    if handle is None:
        return gpu
    capability = ask("capability", lambda: pynvml.nvmlDeviceGetCudaComputeCapability(handle))
    memory = ask("memory", lambda: _memory(pynvml, handle))
    mig = ask("mig", lambda: pynvml.nvmlDeviceGetMigMode(handle))
    processes = ask("processes", lambda: pynvml.nvmlDeviceGetComputeRunningProcesses(handle))
    gpu["name"] = _text(ask("name", lambda: pynvml.nvmlDeviceGetName(handle)))
    gpu["capability"] = f"{capability[0]}.{capability[1]}" if capability else None
    gpu["memory_total_mib"] = memory.total >> 20 if memory else None
    gpu["memory_used_mib"] = memory.used >> 20 if memory else None
    gpu["mig"] = bool(mig[0]) if mig else None
    gpu["ecc"] = ask("ecc", lambda: bool(pynvml.nvmlDeviceGetEccMode(handle)[0]))
    gpu["uncorrected_errors"] = ask(
        "uncorrected_errors",
        lambda: pynvml.nvmlDeviceGetTotalEccErrors(
            handle, pynvml.NVML_MEMORY_ERROR_TYPE_UNCORRECTED, pynvml.NVML_VOLATILE_ECC
        ),
    )
    gpu["recovery_action"] = ask("recovery_action", lambda: _recovery_action(pynvml, handle))
    gpu["fabric"] = ask("fabric", lambda: _fabric(pynvml, handle))
    gpu["processes"] = [
        {"pid": int(item.pid), "memory_mib": item.usedGpuMemory >> 20 if item.usedGpuMemory else None}
        for item in processes or []
    ]
    return gpu


def _memory(pynvml: Any, handle: Any) -> Any:  # noqa: ANN401 - an untyped module
    """Return total and used bytes; version 2 leaves out what the driver itself reserves, as nvidia-smi does."""
    try:
        return pynvml.nvmlDeviceGetMemoryInfo(handle, pynvml.nvmlMemory_v2)
    except pynvml.NVMLError:  # drivers before 510
        return pynvml.nvmlDeviceGetMemoryInfo(handle)


def _recovery_action(pynvml: Any, handle: Any) -> str | None:  # noqa: ANN401 - an untyped module
    """Return what the driver asks for after a fault: none, reset, reboot, ... (field 230, driver >= 550)."""
    field = getattr(pynvml, "NVML_FI_DEV_GET_GPU_RECOVERY_ACTION", None)
    if field is None:
        return None
    value = pynvml.nvmlDeviceGetFieldValues(handle, [field])[0]
    return _RECOVERY.get(value.value.uiVal) if value.nvmlReturn == pynvml.NVML_SUCCESS else None


def _fabric(pynvml: Any, handle: Any) -> str | None:  # noqa: ANN401 - an untyped module
    """Return how far an NVSwitch machine's fabric manager has come with this GPU."""
    import ctypes  # noqa: PLC0415 - pynvml has imported it by now

    info = pynvml.c_nvmlGpuFabricInfoV_t()
    info.version = pynvml.nvmlGpuFabricInfo_v2
    pynvml.nvmlDeviceGetGpuFabricInfoV(handle, ctypes.byref(info))
    return _FABRIC.get(info.state)


def _text(value: Any) -> str | None:  # noqa: ANN401 - str, or bytes from old bindings
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value


def _error(error: Any) -> dict[str, Any]:  # noqa: ANN401 - NVMLError of an untyped module
    return {"code": error.value, "state": STATES.get(error.value, "error"), "text": str(error)}
