"""vLLM, where SGLang cannot run or is not wanted: the last release per torch, by its own METADATA."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from packaging.version import Version

from sgldoctor.gpu_code import any_runs
from sgldoctor.install.advice import SHOWN, driver_unknown, refused, unfit_machine
from sgldoctor.install.builds import default_cuda
from sgldoctor.install.options import LATEST
from sgldoctor.install.plan import READY, Environment, Launch, Plan, Rejected, Step
from sgldoctor.rules.conditions import specifier_of, version_of
from sgldoctor.rules.knowledge import driver_branch, driver_reaches, min_driver, table, torch_build

if TYPE_CHECKING:
    from sgldoctor.install.target import Target, Wish

_OLDEST_CAPABILITY = "7.5"
_PORT = 8000
"""vLLM's default."""


def plan_for(target: Target, wish: Wish) -> Plan:
    """Return the plan for the newest vLLM of the table that the target can run, ready or refused."""
    if against := unfit_machine(target, "vLLM"):
        return refused(target, wish, *against)
    rows = table("vllm.yaml")["releases"]
    wanted = specifier_of(wish.release) if wish.release and wish.release != LATEST else None
    judged = [(row, _against(row, target)) for row in rows if wanted is None or wanted.contains(row["version"])]
    if wish.release == LATEST:
        judged = judged[:1]
    if not judged:
        known = ", ".join(str(row["version"]) for row in rows)
        return refused(target, wish, f"No vLLM {wish.release} is in the table.", (f"Known are: {known}.",))
    fitting = [row for row, against in judged if against is None]
    if not fitting:
        return refused(target, wish, f"vLLM {judged[0][0]['version']} cannot be installed here: {judged[0][1]}.", ())
    old = [row for row in fitting if str(default_cuda(row["torch"])).partition(".")[0] == "12"]
    careful = wish.release is None and target.driver is None and target.cuda is None
    chosen = old[0] if careful and old else fitting[0]
    newer = [(row, against) for row, against in judged if Version(row["version"]) > Version(chosen["version"])]
    return Plan(
        READY,
        resolved=False,
        reason=None,
        target=target.record(),
        environments=(_environment(chosen, target, wish),),
        assumptions=_assumptions(chosen, target),
        rejected=tuple(
            Rejected(row["version"], against or driver_unknown(default_cuda(row["torch"])))
            for row, against in newer[-SHOWN:]
        ),
        installer=wish.installer,
    )


def _against(row: dict[str, Any], target: Target) -> str | None:
    torch, cuda = row["torch"], str(default_cuda(row["torch"]))
    if not specifier_of(row["python"]).contains(target.minor()):
        return f"it asks for Python {row['python']}"
    if target.arch not in row["arch"]:
        return f"torch {torch} for {target.arch} on the package index is built without CUDA"
    if (have := version_of(target.glibc or "")) and have < Version(row["glibc"]):
        return f"it needs glibc {row['glibc']}"
    least = min_driver(cuda)
    if target.driver and least and not driver_reaches(target.driver, least):
        return f"torch {torch} is built for CUDA {cuda}, which needs driver {least}"
    if target.cuda and int(target.cuda.partition(".")[0]) < int(cuda.partition(".")[0]):
        return f"torch {torch} is built for CUDA {cuda}, newer than CUDA {target.cuda}"
    known = torch_build(torch)
    for model in target.gpus:
        if Version(model.capability) < Version(_OLDEST_CAPABILITY):
            found = f"{model.name} has {model.capability}"
            return f"its kernels were not read, and are not trusted below {_OLDEST_CAPABILITY}; {found}"
        if known and any_runs(known["targets"], model.capability) is False:
            return f"torch {torch} holds no code for {model.name} ({model.capability})"
    return None


def _environment(row: dict[str, Any], target: Target, wish: Wish) -> Environment:
    names = ("torch", "torchvision", "flashinfer-python", "xgrammar")
    versions = {"vllm": row["version"], **{name: row[name] for name in names if name in row}}
    engine = f"vllm[{','.join(wish.extras)}]" if wish.extras else "vllm"
    last = [f"{engine}=={row['version']}"]
    last += [f"transformers{row['transformers']}"] if "transformers" in row else []
    steps = [Step("torch", tuple(f"{name}=={versions[name]}" for name in names[:2]), ("torch",))]
    if "flashinfer-python" in versions:
        line = f"flashinfer-python=={versions['flashinfer-python']}"
        steps.append(Step("flashinfer", (line,), ("flashinfer", "torch-unchanged")))
    steps.append(Step("vllm", (*last, *wish.additions), ("vllm", "versions", "torch-unchanged")))
    python = f"{wish.venv.rstrip('/')}/bin/python"
    return Environment(
        "vllm",
        wish.venv,
        wish.interpreter or target.python or target.minor(),
        tuple(sorted(versions.items())),
        tuple(steps),
        constraints=tuple(f"{name}=={version}" for name, version in sorted(versions.items()) if name != "vllm"),
        system_packages=(("g++", "gcc-c++", "triton and flashinfer compile at first use"),),
        launch=Launch((python, "-m", "vllm.entrypoints.openai.api_server", "--model", "MODEL", "--port", str(_PORT))),
    )


def _assumptions(row: dict[str, Any], target: Target) -> tuple[str, ...]:
    cuda = str(default_cuda(row["torch"]))
    found = []
    if not target.gpus:
        found.append("GPU not known: its compute capability was not judged. Name it with --gpu.")
    if not target.driver:
        least = driver_branch(cuda)
        found.append(f"Driver not known: planned for CUDA {cuda}, which needs driver {least} or newer.")
    if not target.python:
        found.append(f"Python not given: {target.minor()}. Name another with --python.")
    return tuple(found)
