"""The newest release that a whole target can run, exactly; or why there is none, and what would make one possible."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from itertools import islice
from typing import TYPE_CHECKING

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from sgldoctor import matrix
from sgldoctor.errors import did_you_mean
from sgldoctor.install import builds
from sgldoctor.install.assemble import environment_for, notes_for
from sgldoctor.install.plan import READY, REFUSED, Plan, Rejected
from sgldoctor.rules.conditions import specifier_of
from sgldoctor.rules.knowledge import (
    OLD_AFTER,
    PYTHONS,
    age,
    driver_branch,
    driver_reaches,
    newest_sglang,
    table,
)

if TYPE_CHECKING:
    from sgldoctor.install.target import Target, Wish

SHOWN = 3
"""Rejected releases that a plan names."""
LATEST = "latest"
_LABEL = re.compile(r"cu\d{3}")
_OLD_CUDA = 12
_OLDEST_GLIBC = Version("2.17")
"""PEP 599: manylinux2014, the oldest tag of the kernels' wheels."""


@dataclass(frozen=True, slots=True)
class Option:
    """One release on the target: why it is not taken, or None; and with which builds and overrides it would be."""

    release: str
    against: str | None
    versions: dict[str, str]
    build: matrix.Build = matrix.DEFAULT
    override: tuple[str, ...] = ()

    def cuda(self) -> str | None:
        """Return the CUDA that its torch is built for."""
        return matrix.cuda_of_label(self.build.torch) if self.build.torch else self.default_cuda()

    def default_cuda(self) -> str | None:
        """Return the CUDA of its torch's default build."""
        return builds.default_cuda(self.versions.get("torch", ""))

    def cuda_major(self) -> int | None:
        """Return the CUDA major."""
        cuda = self.cuda()
        return int(cuda.partition(".")[0]) if cuda else None


def plan_for(target: Target, wish: Wish) -> Plan:
    """Return the plan, ready or refused; nothing is resolved and nothing touched."""
    if against := unfit_machine(target):
        return refused(target, wish, *against)
    target, wish = _without_labels(target, wish)
    options = _options(target, wish)
    if not options:
        return refused(target, wish, *_unheard_of(wish))
    fitting = [option for option in options if option.against is None]
    chosen = _preferred(fitting, target, wish)
    if chosen is None:
        return _refused_release(options, target, wish)
    environment = environment_for(
        chosen.release, chosen.versions, wish, target, chosen.build, overrides=chosen.override
    )
    return Plan(
        READY,
        resolved=False,
        reason=None,
        target=target.record(),
        environments=(environment,),
        assumptions=_assumptions(chosen, fitting, target, wish),
        rejected=_rejected(chosen, options),
        notes=(*_build_notes(chosen, target), *notes_for(environment, chosen.cuda(), target), *_age_notes(wish)),
        installer=wish.installer,
    )


def _without_labels(target: Target, wish: Wish) -> tuple[Target, Wish]:
    """Return the wish with ``--with torch==2.8.0+cu126`` as what it means: that torch, and builds for CUDA 12.6."""
    additions = []
    for text in wish.additions:
        plain, plus, label = text.partition("+")
        if plus and plain.startswith("torch==") and _LABEL.fullmatch(label):
            target = replace(target, cuda=matrix.cuda_of_label(label))
        additions.append(plain if plus and _LABEL.fullmatch(label) else text)
    return target, replace(wish, additions=tuple(additions))


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


def machines_of(target: Target) -> list[matrix.Target]:
    """Return the machines to judge by: one per GPU model."""
    return [
        matrix.Target(target.minor(), target.arch, model, target.driver, target.glibc)
        for model in (target.gpus or (None,))
    ]


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


def _unheard_of(wish: Wish) -> tuple[str, tuple[str, ...]]:
    known = list(table("sglang.json")["releases"])
    name = (wish.release or "").removeprefix("==")
    day = str(age("health.json")["generated_at"])[:10]
    if name in known:
        return (
            f"sglang {name} is too old to be planned for; nothing is known of its health.",
            ("The oldest release that is known to work is 0.4.6.post1.",),
        )
    near = did_you_mean(name, known) if name[:1].isdigit() else ""
    return (
        f"No sglang release {name} is known; the newest in the tables is {newest_sglang()}, as of {day}.{near}",
        ("Newer releases are read with: sgldoctor rules refresh",),
    )


def _options(target: Target, wish: Wish) -> list[Option]:
    """Return the releases that were asked for, newest first, each judged."""
    known = matrix.releases()
    exact = (wish.release or "").startswith("==") and "," not in (wish.release or "")
    wanted = specifier_of(wish.release) if wish.release and wish.release != LATEST else None
    names = [
        name
        for name in known
        if (wanted is None or wanted.contains(name)) and (exact or not Version(name).is_prerelease)
    ]
    if wish.release == LATEST:
        names = names[:1]
    options = [_judged(name, target, wish) for name in names]
    if any(option.against is None for option in options):
        return options
    return [_labelled(option, target, wish) for option in options]


def _judged(release: str, target: Target, wish: Wish) -> Option:
    """Return the release in its default builds, or, where another CUDA was asked for, in builds for that."""
    machines = machines_of(target)
    cells = [matrix.judge(release, machine) for machine in machines]
    cell = next((cell for cell in cells if cell.status is not matrix.Status.WORKS), cells[0])
    option = Option(release, _against(cell, wish), cell.versions, override=cell.override)
    if option.against:
        return option
    default = option.default_cuda()
    if target.cuda is None or default is None or default == target.cuda:
        return option
    if labelled := builds.serving(release, cell.versions, machines, target.cuda):
        return replace(option, build=labelled)
    if int(default.partition(".")[0]) > int(target.cuda.partition(".")[0]):
        torch = cell.versions["torch"]
        return replace(option, against=f"torch {torch} is built for CUDA {default}, newer than CUDA {target.cuda}")
    return option


def _against(cell: matrix.Cell, wish: Wish) -> str | None:
    """Return why a release is not taken, or None."""
    if cell.status is matrix.Status.OVERRIDE:
        if not wish.override:
            return f"{cell.reason}; with --override it takes {' and '.join(cell.override)} instead"
    elif cell.status is not matrix.Status.WORKS:
        return cell.reason
    return _extra(cell.release, wish) or _addition(cell.versions, wish)


def _extra(release: str, wish: Wish) -> str | None:
    """Return which extra the release lacks, or None; pip would only warn."""
    known = table("sglang.json")["releases"].get(release, {}).get("extras", [])
    missing = next((extra for extra in wish.extras if extra not in known), None)
    return (
        f"it has no extra {missing!r};{did_you_mean(missing, known) or ' it has ' + ', '.join(known)}"
        if missing
        else None
    )


def _labelled(option: Option, target: Target, wish: Wish) -> Option:
    """Return the release in labelled builds where those work, else as it was."""
    build = builds.serving(option.release, option.versions, machines_of(target), target.cuda)
    if build is None or _extra(option.release, wish) or _addition(option.versions, wish):
        return option
    return replace(option, against=None, build=build)


def _addition(versions: dict[str, str], wish: Wish) -> str | None:
    """Return which further requirement the release's own pins exclude, or None."""
    for text in wish.additions:
        requirement = Requirement(text)
        have = versions.get(canonicalize_name(requirement.name))
        if have and not specifier_of(str(requirement.specifier)).contains(have):
            return f"it brings {requirement.name} {have}, which --with {text} excludes"
    return None


def _preferred(fitting: list[Option], target: Target, wish: Wish) -> Option | None:
    """Return the newest; where the driver is not known, the newest that an older driver runs too."""
    if not fitting:
        return None
    if wish.release == LATEST or target.driver or target.cuda:
        return fitting[0]
    return next((option for option in fitting if option.cuda_major() == _OLD_CUDA), fitting[0])


def _rejected(chosen: Option, options: list[Option]) -> tuple[Rejected, ...]:
    newer = options[: options.index(chosen)]
    return tuple(Rejected(option.release, option.against or driver_unknown(option.cuda())) for option in newer[-SHOWN:])


def driver_unknown(cuda: str | None) -> str:
    """Return why what is built for a CUDA version is not taken where nobody named a driver."""
    return f"it needs driver {driver_branch(cuda)}, and the driver is not known"


def _refused_release(options: list[Option], target: Target, wish: Wish) -> Plan:
    """Return the refusal, told by the newest release that one change would make possible, else by the newest."""
    helps = _would_help(target, wish)
    told = next((option for option in options if option.release in helps.values()), options[0])
    reason = f"sglang {told.release} cannot be installed here: {told.against}."
    nearest = matrix.nearest_that_works(told.release, lambda name: _judged(name, target, wish).against is None)
    remedies = [f"The nearest release that works there is {nearest}: --sglang {nearest}"] if nearest else []
    remedies += [f"{change}: sglang {release} would work" for change, release in helps.items()]
    return refused(target, wish, reason, tuple(remedies), nearest)


def _would_help(target: Target, wish: Wish) -> dict[str, str]:
    """Return which single changes of the target would make the wish possible, each with the release that it allows."""
    kinds: list[list[tuple[str, Target, Wish]]] = []
    if newest := next((option for option in _options(target, wish) if option.override), None):
        text = f"--override replaces what is gone: {', '.join(newest.override)}"
        kinds.append([(text, target, replace(wish, override=True))])
    if target.driver:
        newer = [least for least in matrix.drivers() if not driver_reaches(target.driver, least)]
        kinds.append([(f"Driver {least} or newer", replace(target, driver=least), wish) for least in newer])
    if target.glibc:
        kinds.append([("glibc 2.34 or newer (Ubuntu 22.04)", replace(target, glibc="2.34"), wish)])
    if target.cuda:
        kinds.append([("Leaving out --cuda", replace(target, cuda=None), wish)])
    others = [python for python in reversed(PYTHONS) if python != target.minor()]
    kinds.append([(f"--python {python}", replace(target, python=python), wish) for python in others])
    found: dict[str, str] = {}
    for kind in kinds:
        fitting = (
            (text, option.release)
            for text, other, asked in kind
            for option in _options(other, asked)
            if option.against is None
        )
        found.update(islice(fitting, 1))
    return found


def _assumptions(chosen: Option, fitting: list[Option], target: Target, wish: Wish) -> tuple[str, ...]:
    """Return what was neither given nor found, and what it changes."""
    found: list[str] = []
    if not target.gpus:
        found.append("GPU not known: planned for any that these kernels hold code for. Name it with --gpu.")
    if not target.driver:
        found.append(_driver_assumption(chosen, fitting, target, wish))
    if not target.glibc:
        needs = matrix.glibc_needs(chosen.release, chosen.versions, target.arch)
        need = max((least for least, _ in needs), default=_OLDEST_GLIBC)
        found.append(
            f"C library not known: taken to be glibc {need} or newer. Ubuntu 20.04 has 2.31; say it with --glibc."
        )
    if not target.python:
        found.append(f"Python not given: {target.minor()}. Name another with --python.")
    return tuple(found)


def _driver_assumption(chosen: Option, fitting: list[Option], target: Target, wish: Wish) -> str:
    cuda = chosen.cuda() or "12"
    needs = (driver_branch(cuda), matrix.driver_of_kernels(chosen.versions), *(gpu.min_driver for gpu in target.gpus))
    least = max((need.partition(".")[0] for need in needs if need), key=int)
    text = f"Driver not known: planned for CUDA {cuda}, which needs driver {least} or newer"
    newest = fitting[0]
    if newest is not chosen:
        return f"{text}; with {driver_branch(newest.cuda())} or newer sglang {newest.release} is possible (--driver)."
    if chosen.cuda_major() != _OLD_CUDA and wish.release == LATEST:
        older = _preferred(_fitting_any(target, wish), target, replace(wish, release=None))
        if older and older.cuda_major() == _OLD_CUDA:
            return f"{text}; with an older one sglang {older.release} is possible."
    return f"{text}."


def _fitting_any(target: Target, wish: Wish) -> list[Option]:
    return [option for option in _options(target, replace(wish, release=None)) if option.against is None]


def _build_notes(chosen: Option, target: Target) -> list[str]:
    notes = []
    if chosen.override:
        notes.append(f"Replaces what sglang {chosen.release} pins: {', '.join(chosen.override)}.")
    if chosen.build != matrix.DEFAULT:
        labels = [f"torch +{chosen.build.torch}"] if chosen.build.torch else []
        labels += [f"kernels +{chosen.build.kernels}"] if chosen.build.kernels else []
        notes.append(f"Takes labelled builds from their own wheel indexes: {', '.join(labels)}.")
    elif target.cuda and chosen.cuda() not in {None, target.cuda}:
        notes.append(
            f"torch is built for CUDA {chosen.cuda()}; there is no build for {target.cuda}. It brings its own CUDA "
            "libraries and runs all the same."
        )
    return notes


def _age_notes(wish: Wish) -> list[str]:
    found = age("health.json")
    day = str(found["generated_at"])[:10]
    if wish.release != LATEST and found["days"] <= OLD_AFTER:
        return []
    return [f"The tables are of {day}; newer releases are read with: sgldoctor rules refresh"]
