"""The newest release that a whole target can run, exactly; or why there is none, and what would make one possible."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING

from packaging.version import Version

from sgldoctor import matrix
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
from sgldoctor.install.assemble import environment_for, notes_for
from sgldoctor.install.options import LATEST, judged, options_for
from sgldoctor.install.plan import READY, Plan, Rejected
from sgldoctor.rules.knowledge import OLD_AFTER, age, driver_branch, newest_sglang, table

if TYPE_CHECKING:
    from sgldoctor.install.options import Option
    from sgldoctor.install.target import Target, Wish

_LABEL = re.compile(r"cu\d{3}")
_OLD_CUDA = 12
_OLDEST_GLIBC = Version("2.17")
"""PEP 599: manylinux2014, the oldest tag of the kernels' wheels."""


def plan_for(target: Target, wish: Wish) -> Plan:
    """Return the plan, ready or refused; nothing is resolved and nothing touched."""
    if against := unfit_machine(target):
        return refused(target, wish, *against)
    target, wish = _without_labels(target, wish)
    options = options_for(target, wish)
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
        notes=(
            *_build_notes(chosen, fitting, target),
            *notes_for(environment, chosen.cuda(), target),
            *_age_notes(wish),
        ),
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


def _unheard_of(wish: Wish) -> tuple[str, tuple[str, ...]]:
    known = list(table("sglang.json")["releases"])
    name = (wish.release or "").removeprefix("==")
    day = str(age("health.json")["generated_at"])[:10]
    if name in known:
        return (
            f"sglang {name} is too old to be planned for; nothing is known of its health.",
            ("The oldest release that is known to work is 0.4.6.post1.",),
        )
    return (
        f"No sglang release {name} is known; the newest in the tables is {newest_sglang()}, as of {day}.",
        ("Newer releases are read with: sgldoctor rules refresh",),
    )


def _preferred(fitting: list[Option], target: Target, wish: Wish) -> Option | None:
    """Return the newest; where the driver is not known, the newest that an older driver runs too."""
    if not fitting:
        return None
    if wish.release == LATEST or not may_be_old(target):
        return fitting[0]
    return next((option for option in fitting if option.cuda_major() == _OLD_CUDA), fitting[0])


def _rejected(chosen: Option, options: list[Option]) -> tuple[Rejected, ...]:
    newer = options[: options.index(chosen)]
    return tuple(Rejected(option.release, option.against or driver_unknown(option.cuda())) for option in newer[-SHOWN:])


def _refused_release(options: list[Option], target: Target, wish: Wish) -> Plan:
    """Return the refusal, told by the newest release that one change would make possible, else by the newest."""
    helps: dict[str, str] = {}
    gone = next((option.override for option in options if option.override), ())
    if gone and (release := _newest(target, replace(wish, override=True))):
        helps[f"--override replaces what is gone: {', '.join(gone)}"] = release
    helps |= would_help(target, lambda other: _newest(other, wish))
    told = next((option for option in options if option.release in helps.values()), options[0])
    nearest = matrix.nearest_that_works(told.release, lambda name: judged(name, target, wish).against is None)
    return refused_release(f"sglang {told.release}", str(told.against), target, wish, nearest, helps)


def _newest(target: Target, wish: Wish) -> str | None:
    """Return the newest release that a target runs, or None."""
    return next((option.release for option in options_for(target, wish) if option.against is None), None)


def _assumptions(chosen: Option, fitting: list[Option], target: Target, wish: Wish) -> tuple[str, ...]:
    """Return what was neither given nor found, and what it changes."""
    found: list[str] = []
    if not target.gpus:
        found.append("GPU not known: planned for any that these kernels hold code for. Name it with --gpu.")
    if not target.driver:
        found.append(_driver_assumption(chosen, fitting, target, wish))
    needs = matrix.glibc_needs(chosen.release, chosen.versions, target.arch)
    return (*found, *assumed(target, max((least for least, _ in needs), default=_OLDEST_GLIBC)))


def _driver_assumption(chosen: Option, fitting: list[Option], target: Target, wish: Wish) -> str:
    text = driver_assumed(target, chosen.cuda(), chosen.kernels_driver())
    newest = fitting[0]
    if newest is not chosen:
        return f"{text}; with {driver_branch(newest.cuda())} or newer sglang {newest.release} is possible (--driver)."
    plain = [each for each in fitting if each.cuda_major() == _OLD_CUDA and not each.kernels_driver()]
    if chosen.kernels_driver() and plain:
        return f"{text}; with an older one sglang {plain[0].release} is possible."
    if chosen.cuda_major() != _OLD_CUDA and wish.release == LATEST:
        older = _preferred(_fitting_any(target, wish), target, replace(wish, release=None))
        if older and older.cuda_major() == _OLD_CUDA:
            return f"{text}; with an older one sglang {older.release} is possible."
    return f"{text}."


def _fitting_any(target: Target, wish: Wish) -> list[Option]:
    return [option for option in options_for(target, replace(wish, release=None)) if option.against is None]


def _build_notes(chosen: Option, fitting: list[Option], target: Target) -> list[str]:
    notes = []
    if chosen.override:
        notes.append(f"Replaces what sglang {chosen.release} pins: {', '.join(chosen.override)}.")
    if chosen.build != matrix.DEFAULT:
        labels = [f"torch +{chosen.build.torch}"] if chosen.build.torch else []
        labels += [f"kernels +{chosen.build.kernels}"] if chosen.build.kernels else []
        notes.append(f"Takes labelled builds from their own wheel indexes: {', '.join(labels)}.")
    elif target.cuda and chosen.cuda() not in {None, target.cuda}:
        notes.append(
            f"torch {chosen.versions['torch']} is built for CUDA {chosen.cuda()}; of a build for {target.cuda} nothing "
            "is known. It brings its own CUDA libraries and runs all the same."
        )
        if exact := next((option.release for option in fitting if option.cuda() == target.cuda), None):
            notes.append(f"The newest release with a build for CUDA {target.cuda} is {exact}: --sglang {exact}")
    return notes


def _age_notes(wish: Wish) -> list[str]:
    found = age("health.json")
    day = str(found["generated_at"])[:10]
    if wish.release != LATEST and found["days"] <= OLD_AFTER:
        return []
    return [f"The tables are of {day}; newer releases are read with: sgldoctor rules refresh"]
