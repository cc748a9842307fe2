"""What the plans of both engines say alike: refusals and what would help, and what was assumed of a machine."""

from __future__ import annotations

from dataclasses import replace
from itertools import islice
from typing import TYPE_CHECKING

from packaging.version import Version

from sgldoctor import matrix
from sgldoctor.install.plan import REFUSED, Plan
from sgldoctor.install.target import DEFAULT_PYTHON
from sgldoctor.rules.knowledge import PYTHONS, driver_branch, driver_reaches, min_driver

if TYPE_CHECKING:
    from collections.abc import Callable

    from sgldoctor.install.target import Target, Wish

SHOWN = 3
"""Rejected releases that a plan names."""


def refused(target: Target, wish: Wish, reason: str, remedies: tuple[str, ...], nearest: str | None = None) -> Plan:
    """Return a plan that says no: why, and what would make it possible."""
    return Plan(
        REFUSED,
        resolved=False,
        reason=reason,
        target=target.record(),
        nearest=nearest,
        notes=remedies,
        installer=wish.installer,
    )


def unfit_machine(target: Target, engine: str = "SGLang") -> tuple[str, tuple[str, ...]] | None:
    """Return why nothing can be planned for this kind of machine, and what to do; None where something can."""
    if target.os == "windows":
        return (f"{engine} has no wheels for Windows.", ("Run it in WSL 2, and sgldoctor inside WSL.",))
    if target.os != "linux":
        name = {"darwin": "macOS"}.get(target.os, target.os)
        return (
            f"{engine}'s kernels exist for Linux with an NVIDIA GPU only; this is {name}.",
            ("Plan for a Linux machine by naming its GPU, as in: sgldoctor install --gpu H100",),
        )
    if target.libc == "musl":
        return ("torch and the kernels need glibc; this system has musl.", ("Use a Debian or Ubuntu image.",))
    if target.vendor:
        return (
            f"This machine's accelerator is from {target.vendor}; the plans are for NVIDIA GPUs.",
            ("Plan for another machine by naming its GPU, as in: sgldoctor install --gpu H100",),
        )
    if (
        target.cuda
        and target.driver
        and (least := min_driver(target.cuda))
        and not driver_reaches(target.driver, least)
    ):
        return (
            f"CUDA {target.cuda} needs driver {least} or newer; this is driver {target.driver}.",
            (f"Leave out --cuda, or install driver {least} or newer.",),
        )
    for model in target.gpus:
        if engine == "SGLang" and Version(model.capability) < Version(matrix.OLDEST_CAPABILITY):
            return (
                f"SGLang asks for compute capability {matrix.OLDEST_CAPABILITY}; {model.name} has {model.capability}.",
                ("No release runs there. A GPU from Turing on is needed, such as T4, A10G or L4.",),
            )
        if target.driver and model.min_driver and not driver_reaches(target.driver, model.min_driver):
            return (
                f"Driver {target.driver} does not know {model.name}; the first branch that does is {model.min_driver}.",
                (f"Install driver {model.min_driver.partition('.')[0]} or newer.",),
            )
    return None


def driver_unknown(cuda: str | None) -> str:
    """Return why what is built for a CUDA version is not taken where nobody named a driver."""
    return f"it needs driver {driver_branch(cuda)}, and the driver is not known"


def refused_release(
    name: str, against: str, target: Target, wish: Wish, nearest: str | None, helps: dict[str, str]
) -> Plan:
    """Return the refusal of a release of an engine, the nearest that works, and which changes would help."""
    engine = name.partition(" ")[0]
    option = "--sglang" if engine == "sglang" else "--release"
    remedies = [f"The nearest release that works there is {nearest}: {option} {nearest}"] if nearest else []
    remedies += [f"{change}: {engine} {release} would work" for change, release in helps.items()]
    return refused(target, wish, f"{name} cannot be installed here: {against}.", tuple(remedies), nearest)


def would_help(target: Target, newest: Callable[[Target], str | None]) -> dict[str, str]:
    """Return which single changes of the target would make a release possible, each with that release.

    Args:
        target: the machine as it is.
        newest: returns the newest release that a machine runs, or None.
    """
    kinds: list[list[tuple[str, Target]]] = []
    if target.driver:
        newer = [least for least in matrix.drivers() if not driver_reaches(target.driver, least)]
        kinds.append([(f"Driver {least} or newer", replace(target, driver=least)) for least in newer])
    if target.glibc:
        kinds.append([("glibc 2.34 or newer (Ubuntu 22.04)", replace(target, glibc="2.34"))])
    if target.cuda:
        kinds.append([("Leaving out --cuda", replace(target, cuda=None))])
    others = [python for python in (DEFAULT_PYTHON, *reversed(PYTHONS)) if python != target.minor()]
    kinds.append([(f"--python {python}", replace(target, python=python)) for python in others])
    found: dict[str, str] = {}
    for kind in kinds:
        fitting = ((text, release) for text, other in kind if (release := newest(other)))
        found.update(islice(fitting, 1))
    return found


def may_be_old(target: Target) -> bool:
    """Return whether the driver may be too old for the newest CUDA: nobody named it, and all GPUs run with older."""
    told = target.driver or target.cuda
    return not told and not any(driver_reaches(model.min_driver or "0", driver_branch()) for model in target.gpus)


def driver_assumed(target: Target, cuda: str | None, kernels: str | None = None) -> str:
    """Return what is assumed of a driver that is not known, without the full stop.

    Args:
        target: the machine.
        cuda: what torch is built for.
        kernels: the driver that the kernels need where they need more, or None.
    """
    needs = (driver_branch(cuda or "12"), kernels, *(model.min_driver for model in target.gpus))
    least = max((need.partition(".")[0] for need in needs if need), key=int)
    return f"Driver not known: planned for CUDA {cuda or '12'} and driver {least} or newer"


def assumed(target: Target, glibc: Version) -> list[str]:
    """Return what is assumed of the C library and Python; ``glibc`` is what the release needs at least."""
    found = []
    if not target.glibc:
        found.append(
            f"C library not known: taken to be glibc {glibc} or newer. Ubuntu 20.04 has 2.31; say it with --glibc."
        )
    if target.glibc_of_here:
        found.append(f"C library taken from this machine: glibc {target.glibc}. Say another with --glibc.")
    if not target.python:
        found.append(f"Python not given: {target.minor()}. Name another with --python.")
    return found
