"""A plan is resolved by uv, as a whole, before it is shown as resolved: every version exact, every file with a hash."""

from __future__ import annotations

import re
import sys
import tempfile
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from packaging.utils import canonicalize_name
from packaging.version import Version

from sgldoctor.errors import SgldoctorError
from sgldoctor.install.plan import BUILD_CONSTRAINTS, NOT_RESOLVED, READY, REFUSED
from sgldoctor.matrix import in_short, nearest_releases
from sgldoctor.rules.knowledge import kernel_fits

if TYPE_CHECKING:
    from collections.abc import Callable

    from sgldoctor.install.plan import Environment, Plan
    from sgldoctor.system import Completed

_PINNED = re.compile(r"^([A-Za-z0-9][\w.-]*)(?:\[[^\]]*\])?==([^\s;\\]+)", re.MULTILINE)
_REASON = re.compile(r"Because .*?(?:cannot be used|are unsatisfiable|are incompatible)", re.DOTALL)
_PREMISE = re.compile(r"[Bb]ecause (.*?), we can conclude that")
_ASKED = "you require "
_NETWORK = re.compile(
    r"error sending request|dns error|[Cc]onnection|timed? ?out|status (?:server|client) error|Could not connect"
)
_OFFLINE = re.compile(r"network (?:was|is) disabled|[Nn]etwork connectivity is disabled")
_NO_INDEX = re.compile(r"\b(torch|sglang|vllm) was not found in the package registry")
_OTHERWISE = "Another release may resolve, or this one with other --with and --extra: sgldoctor matrix lists them."
_TIMEOUT = 900.0
_PLATFORMS: tuple[int, ...] = (17, 28, *range(31, 41))
"""The minor versions of glibc that uv knows as manylinux_2_N."""
_USUAL_GLIBC = "2.34"
_URL = re.compile(r"https?://[^\s`)]+")


_TRIES = 3
"""Other releases that are resolved to name the nearest that works; each takes some seconds."""


class IndexUnreachableError(SgldoctorError):
    """The package index does not answer."""


def resolve(
    plan: Plan, ask: Callable[[list[str], float], Completed], other: Callable[[str], Plan] | None = None
) -> Plan:
    """Return the plan with every version exact; refused where the set does not resolve.

    Args:
        plan: a ready one.
        ask: runs uv with arguments and a time-out in seconds.
        other: returns the plan for another sglang release, so that a refusal can name the nearest that works.

    Raises:
        IndexUnreachableError: the configured package index does not answer.
    """
    found = _resolved(plan, ask)
    release = dict(plan.environments[0].versions).get("sglang")
    if found.status != REFUSED or not release or not other:
        return found
    tries = [name for name in nearest_releases(release) if name != release]
    plans = (each for name in tries if (each := other(name)).status == READY)
    for each in islice(plans, _TRIES):
        if _resolved(each, ask).status == READY:
            nearest = dict(each.environments[0].versions)["sglang"]
            note = f"The nearest release that works there is {nearest}: --sglang {nearest}"
            return replace(found, nearest=nearest, notes=(note, *found.notes))
    return found


def _resolved(plan: Plan, ask: Callable[[list[str], float], Completed]) -> Plan:
    target = dict(plan.target)
    platform = f"{target['arch']}-manylinux_2_{_minor_of(target['glibc'])}"
    environments: list[Environment] = []
    notes = list(plan.notes)
    whole = True
    for environment in plan.environments:
        done = _compile(environment, str(target["python"]), platform, ask)
        if done.code == 0:
            exact = _exact(environment, done.out)
            if kernel_fits(dict(exact.versions)) is False:
                return _refused(plan, f"what it resolves to today does not fit: {_kernels(exact)}")
            environments.append(exact)
        elif outer := _unreachable(environment, done.err):
            whole = False
            environments.append(environment)
            notes.append(f"{NOT_RESOLVED}{outer} does not answer from here. The versions come from the tables.")
        elif _OFFLINE.search(done.err):
            raise IndexUnreachableError(
                "uv may not use the network here (UV_OFFLINE, or offline in its settings), and its cache does not hold "
                "what the plan needs. With --no-resolve the plan is made from the tables alone."
            )
        elif missing := _NO_INDEX.search(done.err):
            raise IndexUnreachableError(
                f"The package index that uv asks holds no {missing[1]} at all, so it is not a whole index. Look at "
                "UV_DEFAULT_INDEX, UV_INDEX_URL and uv.toml. With --no-resolve the plan is made from the tables alone."
            )
        elif reason := _REASON.search(done.err):
            proof = " ".join(reason[0].split())
            return _refused(plan, _plainly(in_short(proof), environment))
        else:
            raise IndexUnreachableError(
                f"{_failure(done.err)} With --no-resolve the plan is made from the tables alone."
            )
    if plan.installer == "pip":
        notes.append("Resolved by uv; pip is held to the same versions by the constraints.")
    return replace(plan, environments=tuple(environments), resolved=whole, notes=tuple(notes))


def _compile(
    environment: Environment, python: str, platform: str, ask: Callable[[list[str], float], Completed]
) -> Completed:
    with tempfile.TemporaryDirectory() as folder:
        wanted, overrides, build = (Path(folder, name) for name in ("wanted.txt", "overrides.txt", "build.txt"))
        wanted.write_text("".join(f"{line}\n" for step in environment.steps for line in step.requirements), "utf-8")
        overrides.write_text("".join(f"{line}\n" for line in environment.overrides), "utf-8")
        build.write_text("".join(f"{row}\n" for row in dict(environment.files()).get(BUILD_CONSTRAINTS, ())), "utf-8")
        indexes = list(dict.fromkeys(step.index for step in environment.steps if step.index))
        command = [
            "pip", "compile", str(wanted), "--python-version", python, "--python-platform", platform,
            "--python", sys.executable, "--no-python-downloads",
            "--generate-hashes", "--no-header", "--no-annotate", "--color", "never",
            "--build-constraints", str(build),
            *(["--override", str(overrides)] if environment.overrides else []),
            *(word for index in indexes for word in ("--index", index)),
            *(["--index-strategy", "unsafe-best-match"] if indexes else []),
        ]  # fmt: skip
        return ask(command, _TIMEOUT)


def _exact(environment: Environment, text: str) -> Environment:
    """Return the environment with what uv printed."""
    pins = {str(canonicalize_name(name)): version for name, version in _PINNED.findall(text)}
    versions = {name: pins[name].partition("+")[0] for name, _ in environment.versions if name in pins}
    return replace(
        environment,
        versions=tuple(sorted(versions.items())),
        constraints=tuple(f"{name}=={version}" for name, version in sorted(pins.items())),
        locked=text,
        prerelease=any(Version(version).is_prerelease for version in pins.values()),
    )


def _minor_of(glibc: Any) -> int:  # noqa: ANN401 - a plain value of the target
    wanted = int(str(glibc or _USUAL_GLIBC).split(".")[1])
    return max((minor for minor in _PLATFORMS if minor <= wanted), default=_PLATFORMS[0])


def _unreachable(environment: Environment, text: str) -> str | None:
    """Return the wheel index beside the configured one that does not answer, or None."""
    if not _NETWORK.search(text):
        return None
    hosts = {index.split("/")[2] for step in environment.steps if (index := step.index)}
    return next((host for url in _URL.findall(text) if (host := url.split("/")[2]) in hosts), None)


def _failure(text: str) -> str:
    """Return in a sentence why uv came to no answer: the page that was asked for and the last cause."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if not _NETWORK.search(text):
        return f"uv cannot resolve the plan: {' '.join(lines)[-400:]}."
    page = next((f" ({found[0]})" for line in lines if (found := _URL.search(line))), "")
    return f"The package index does not answer{page}: {lines[-1].removeprefix('cause: ')}."


def _plainly(proof: str, environment: Environment) -> str:
    """Return the first premise of uv's proof, and what was asked for against it; the plan's own pins go unsaid."""
    first, *more = _PREMISE.findall(proof) or [proof.removeprefix("Because ")]
    if not more or not more[-1].startswith(_ASKED):
        return str(first)
    own = {f"{name}=={version}" for name, version in environment.versions}
    for pin in own:
        first = first.removesuffix(f" and {_ASKED}{pin}")
    asked = [name for name in re.split(r", and | and |, ", more[-1].removeprefix(_ASKED)) if name not in own]
    return f"{first}, and {_ASKED}{' and '.join(asked)}" if asked else str(first)


def _kernels(environment: Environment) -> str:
    names = ("torch", "sglang-kernel", "sgl-kernel")
    return ", ".join(f"{name} {version}" for name, version in environment.versions if name in names)


def _refused(plan: Plan, reason: str) -> Plan:
    release = dict(plan.environments[0].versions).get("sglang")
    subject = f"sglang {release}" if release else "The plan"
    return replace(
        plan,
        status=REFUSED,
        reason=f"{subject} cannot be installed here: {reason}.",
        environments=(),
        assumptions=(),
        rejected=(),
        notes=(_OTHERWISE,),
    )
