"""vLLM, where SGLang cannot run or is not wanted: the last release per torch, by its own METADATA."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from packaging.version import Version

from sgldoctor.gpu_code import any_runs
from sgldoctor.install.advice import (
    SHOWN,
    assumed,
    driver_assumed,
    driver_unknown,
    may_be_old,
    refused,
    refused_release,
    unfit_machine,
    would_help,
)
from sgldoctor.install.builds import default_cuda
from sgldoctor.install.options import LATEST, addition_against, extra_against
from sgldoctor.install.plan import READY, Environment, Launch, Plan, Rejected, Step
from sgldoctor.rules.conditions import specifier_of, version_of
from sgldoctor.rules.knowledge import driver_reaches, min_driver, table, torch_build

if TYPE_CHECKING:
    from sgldoctor.install.target import Target, Wish

_OLDEST_CAPABILITY = "7.5"
_NAMES = ("torch", "torchvision", "flashinfer-python", "xgrammar")
_NOTHING_GONE = "--override has nothing to replace: no pin of this release is gone from the index."
_PORT = 8000
"""vLLM's default."""


def plan_for(target: Target, wish: Wish) -> Plan:
    """Return the plan for the newest vLLM of the table that the target can run, ready or refused."""
    if against := unfit_machine(target, "vLLM"):
        return refused(target, wish, *against)
    rows = table("vllm.yaml")["releases"]
    wanted = specifier_of(wish.release) if wish.release and wish.release != LATEST else None
    asked = [row for row in rows if wanted is None or wanted.contains(row["version"])]
    if wish.release == LATEST:
        asked = asked[:1]
    if not asked:
        known = ", ".join(str(row["version"]) for row in rows)
        return refused(target, wish, f"No vLLM {wish.release} is in the table.", (f"Known are: {known}.",))
    judged = [(row, _against(row, target, wish)) for row in asked]
    fitting = [row for row, against in judged if against is None]
    if not fitting:
        return _refused_release(judged, target, wish)
    old = [row for row in fitting if str(default_cuda(row["torch"])).partition(".")[0] == "12"]
    careful = wish.release is None and may_be_old(target)
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
        notes=(_NOTHING_GONE,) if wish.override else (),
        installer=wish.installer,
    )


def _refused_release(judged: list[tuple[dict[str, Any], str | None]], target: Target, wish: Wish) -> Plan:
    """Return the refusal, told by the newest release that one change would make possible, else by the newest."""

    def newest(other: Target) -> str | None:
        return next((str(row["version"]) for row, _ in judged if _against(row, other, wish) is None), None)

    helps = would_help(target, newest)
    row, against = next((each for each in judged if each[0]["version"] in helps.values()), judged[0])
    rows = table("vllm.yaml")["releases"]
    place = rows.index(row)
    near = sorted(rows, key=lambda other: abs(rows.index(other) - place))
    nearest = next((str(other["version"]) for other in near if _against(other, target, wish) is None), None)
    return refused_release(f"vLLM {row['version']}", str(against), target, wish, nearest, helps)


def _against(row: dict[str, Any], target: Target, wish: Wish) -> str | None:
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
    return _against_wish(row, target, wish)


def _against_wish(row: dict[str, Any], target: Target, wish: Wish) -> str | None:
    """Return which extra or further requirement the release cannot have, or None."""
    if against := extra_against(row["extras"], wish) or addition_against(_versions(row), target, wish):
        return against
    asks = table("packages.json")["vllm"].get(row["version"], {}).get("pins", {})
    for requirement in target.applying(wish.additions):
        window = row.get(requirement.name) or asks.get(requirement.name, "")
        exact = str(requirement.specifier).removeprefix("==")
        if version_of(exact) and requirement.name not in _NAMES and not specifier_of(window).contains(exact):
            return f"it asks for {requirement.name}{window}, which --with {requirement} excludes"
    return None


def _versions(row: dict[str, Any]) -> dict[str, str]:
    return {"vllm": row["version"], **{name: row[name] for name in _NAMES if name in row}}


def _environment(row: dict[str, Any], target: Target, wish: Wish) -> Environment:
    versions = _versions(row)
    engine = f"vllm[{','.join(wish.extras)}]" if wish.extras else "vllm"
    last = [f"{engine}=={row['version']}"]
    last += [f"transformers{row['transformers']}"] if "transformers" in row else []
    steps = [Step("torch", tuple(f"{name}=={versions[name]}" for name in _NAMES[:2]), ("torch",))]
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
    found = []
    if not target.gpus:
        found.append("GPU not known: its compute capability was not judged. Name it with --gpu.")
    if not target.driver:
        found.append(f"{driver_assumed(target, default_cuda(row['torch']))}.")
    return (*found, *assumed(target, Version(row["glibc"])))
