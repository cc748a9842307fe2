"""Which requirements in the closure of sglang are not met, as ``pip check`` would see them, from outside."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from packaging.requirements import InvalidRequirement, Requirement

from sgldoctor.probes.packages import Distribution, Environment, canonical
from sgldoctor.rules.conditions import version_of
from sgldoctor.snapshot import Facts, Known, Unknown

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sgldoctor.probes.python import Interpreter

# The extras that carried the engine until 0.5.2; later releases install it by default (wheel METADATA).
_RUNTIME_EXTRAS = ("srt", "all")


def marker_environment(interpreter: Interpreter, machine: str | None) -> dict[str, str]:
    """Return the variables that markers are evaluated with, for the target and not for the doctor."""
    return marker_variables(interpreter.version or f"{interpreter.minor}.0", interpreter.implementation, machine)


def marker_variables(python: str, implementation: str = "cpython", machine: str | None = None) -> dict[str, str]:
    """Return PEP 508 marker variables for Linux and the given Python version and CPU architecture."""
    words = {"cpython": ("CPython", "cpython"), "pypy": ("PyPy", "pypy")}
    platform, name = words.get(implementation, words["cpython"])
    return {
        "implementation_name": name,
        "implementation_version": python,
        "os_name": "posix",
        "platform_machine": machine or "x86_64",
        "platform_python_implementation": platform,
        "platform_release": "",
        "platform_system": "Linux",
        "platform_version": "",
        "python_full_version": python,
        "python_version": ".".join(python.split(".")[:2]),
        "sys_platform": "linux",
        "extra": "",
    }


@dataclass(frozen=True, slots=True)
class Closure:
    """What a walk over the requirements found."""

    unmet: list[dict[str, Any]]
    unreadable: list[str]


def runtime_extra(sglang: Distribution, markers: dict[str, str]) -> str | None:
    """Return the extra that carries the engine in this release, or None where it is installed by default."""
    if any(requirement.name == "torch" for requirement in needed(sglang, frozenset(), markers)):
        return None
    return next((extra for extra in _RUNTIME_EXTRAS if extra in sglang.extras), None)


def needed(distribution: Distribution, extras: frozenset[str], markers: dict[str, str]) -> Iterator[Requirement]:
    """Yield the requirements of a distribution that apply under these markers and extras.

    Raises:
        InvalidRequirement: a line is not PEP 508.
    """
    for line in distribution.requires:
        if not extras and "extra ==" in line:
            continue
        requirement = Requirement(line)
        if requirement.marker is None or any(
            requirement.marker.evaluate({**markers, "extra": extra}) for extra in extras or {""}
        ):
            yield requirement


def walk(environment: Environment, root: str, extras: frozenset[str], markers: dict[str, str]) -> Closure:
    """Return the unmet requirements of a distribution and of all that it needs, each once."""
    todo: deque[tuple[str, frozenset[str]]] = deque([(root, extras)])
    done: set[tuple[str, frozenset[str]]] = set()
    unmet: dict[tuple[str, str], dict[str, Any]] = {}
    unreadable: list[str] = []
    while todo:
        name, wanted = todo.popleft()
        distribution = environment.get(name)
        if distribution is None or (name, wanted) in done:
            continue
        done.add((name, wanted))
        try:
            for requirement in needed(distribution, wanted, markers):
                needed_name = canonical(requirement.name)
                if problem := _problem(environment.get(needed_name), requirement):
                    record = _record(environment, requirement, distribution, problem, direct=name == root)
                    unmet.setdefault((needed_name, str(requirement.specifier)), record)
                if needed_name != name or requirement.extras:
                    todo.append((needed_name, frozenset(map(canonical, requirement.extras))))
        except InvalidRequirement as error:
            unreadable.append(f"{distribution.path}: {error}")
    return Closure([unmet[key] for key in sorted(unmet)], unreadable)


def _problem(found: Distribution | None, requirement: Requirement) -> str | None:
    """Return ``missing``, ``version`` or None; an unreadable version is no mismatch."""
    if found is None:
        return "missing"
    version = version_of(found.version or "")
    if version is None or requirement.specifier.contains(version, prereleases=True):
        return None
    return "version"


def _record(
    environment: Environment, requirement: Requirement, by: Distribution, problem: str, *, direct: bool
) -> dict[str, Any]:
    installed = environment.get(requirement.name)
    extras = f"[{','.join(sorted(requirement.extras))}]" if requirement.extras else ""
    return {
        "package": canonical(requirement.name),
        "requirement": f"{canonical(requirement.name)}{extras}{requirement.specifier}",
        "required_by": f"{by.name} {by.version}",
        "installed": installed.version if installed else None,
        "problem": problem,
        "direct": direct,
    }


def probe(environment: Environment, markers: dict[str, str]) -> Facts:
    """Return what sglang's own metadata asks for and this environment lacks."""
    sglang = environment.get("sglang")
    if sglang is None:
        absent = Known(None, "sglang is not installed")
        return {"requirements.unmet": absent, "sglang.runtime": absent, "sglang.runtime_extra": absent}
    if sglang.problem:
        unknown = Unknown(f"{sglang.path}: {sglang.problem}")
        return {"requirements.unmet": unknown, "sglang.runtime": unknown, "sglang.runtime_extra": unknown}
    source = f"{sglang.path}/METADATA"
    try:
        extra = runtime_extra(sglang, markers)
    except InvalidRequirement as error:
        unknown = Unknown(f"{source}: {error}")
        return {"requirements.unmet": unknown, "sglang.runtime": unknown, "sglang.runtime_extra": unknown}
    engine = extra is None or environment.get("torch") is not None
    closure = walk(environment, "sglang", frozenset({extra} if extra and engine else ()), markers)
    return {
        "requirements.unmet": Unknown(closure.unreadable[0]) if closure.unreadable else Known(closure.unmet, source),
        "sglang.runtime": Known(engine, source),
        "sglang.runtime_extra": Known(extra, source),
    }
