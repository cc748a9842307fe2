"""What a requirements file asks for, as if it were installed: exact pins, and the pins of the sglang it names."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from packaging.markers import Marker
from packaging.specifiers import SpecifierSet

from sgldoctor.probes.packages import canonical
from sgldoctor.rules.conditions import version_of
from sgldoctor.rules.knowledge import sglang_release, torch_build
from sgldoctor.snapshot import Fact, Facts, Known, Unknown

if TYPE_CHECKING:
    from sgldoctor.system import System

# Facts about files that only an installation has.
_INSTALLED = (
    "packages.duplicates", "packages.broken", "packages.damaged", "packages.shadowed", "requirements.unmet",
    "sglang.assertions", "sglang.runtime", "kernel.module", "torch.libraries", "torch.cxx11_abi", "torch.cpu_arch",
)  # fmt: skip


def probe(system: System, files: tuple[str, ...], markers: dict[str, str]) -> Facts:
    """Return the packages that the files pin, read for the target's markers.

    Raises:
        TargetError: a file cannot be read, or a line is no requirement.
    """
    wanted = [item for path in files for item in system.requirements_file(path)]
    applying = [item for item in wanted if not item["marker"] or Marker(item["marker"]).evaluate(markers)]
    facts: Facts = {}
    loose: list[str] = []
    impossible: list[dict[str, Any]] = []
    for name in dict.fromkeys(canonical(item["name"]) for item in applying):
        items = [item for item in applying if canonical(item["name"]) == name]
        facts[f"package.{name}"] = _pin(name, items)
        if excluded := _impossible(name, items):
            impossible.append(excluded)
        if isinstance(facts[f"package.{name}"], Unknown) and not all(item["constraint"] for item in items):
            loose.append(name)
    extras = {canonical(e) for item in applying if canonical(item["name"]) == "sglang" for e in item["extras"]}
    facts |= _release_pins(facts, extras)
    facts |= _torch(facts)
    facts["requirements.impossible"] = Known(impossible, ", ".join(files))
    facts["requirements.open"] = Known(loose, ", ".join(files))
    facts["packages"] = Unknown(f"nothing is installed yet, and {', '.join(files)} names no exact version")
    return facts | dict.fromkeys(_INSTALLED, Known(None, "nothing is installed yet"))


def _pin(name: str, items: list[dict[str, Any]]) -> Fact:
    """Return the one version that the specifiers admit, where they name it with ``==``."""
    specifiers = SpecifierSet(",".join(item["specifier"] for item in items if item["specifier"]), prereleases=True)
    exact = [spec.version for spec in specifiers if spec.operator in {"==", "==="} and not spec.version.endswith(".*")]
    where = "; ".join(dict.fromkeys(item["where"] for item in items))
    if not exact:
        return Unknown(f"{name}{specifiers} in {where} is no exact version; the index decides when it is installed")
    version = max(exact, key=len)
    if version_of(version) is None or not specifiers.contains(version):
        return Unknown(f"the lines for {name} in {where} contradict each other: {specifiers}")
    return Known(version, where)


def _impossible(name: str, items: list[dict[str, Any]]) -> dict[str, Any] | None:
    """Return the lines of a package of which one pins a version that another excludes."""
    specifiers = SpecifierSet(",".join(item["specifier"] for item in items if item["specifier"]), prereleases=True)
    exact = {spec.version for spec in specifiers if spec.operator == "==" and not spec.version.endswith(".*")}
    if not any(version_of(version) and not specifiers.contains(version) for version in exact):
        return None
    where = "; ".join(dict.fromkeys(item["where"] for item in items))
    return {"package": name, "asked": f"{name}{specifiers}", "where": where}


def _release_pins(facts: Facts, extras: set[str]) -> Facts:
    """Return the exact pins of the sglang release that is asked for, where the files do not name the package."""
    sglang = facts.get("package.sglang")
    if not isinstance(sglang, Known):
        return {}
    row = sglang_release(str(sglang.value))
    if row is None:
        return {}
    pins: dict[str, str] = dict(row.get("pins", {}))
    if row.get("runtime_extra") and extras & {"srt", "all", str(row["runtime_extra"])}:
        pins |= row.get("extra_pins", {})
    source = f"pinned by sglang {sglang.value}"
    return {
        f"package.{name}": Known(specifier.removeprefix("=="), source)
        for name, specifier in pins.items()
        if specifier.startswith("==") and "," not in specifier and not specifier.endswith(".*")
        and f"package.{name}" not in facts
    }  # fmt: skip


def _torch(facts: Facts) -> Facts:
    """Return what the default Linux build of the pinned torch holds, from the table of measured builds."""
    torch = facts.get("package.torch")
    names = ("torch.cuda", "torch.backend", "torch.targets", "torch.wheel_pythons")
    if not isinstance(torch, Known):
        return dict.fromkeys(names, torch or Unknown("the requirements file does not settle which torch is installed"))
    build = torch_build(str(torch.value))
    if build is None:
        unknown = Unknown(f"torch {torch.value} was never measured; update sgldoctor")
        return dict.fromkeys(names, unknown)
    source = "torch_builds.yaml"
    return {
        "torch.cuda": Known(str(build["cuda"]), source),
        "torch.backend": Known("cuda", source),
        "torch.wheel_pythons": Known([str(python) for python in build["pythons"]], source),
        "torch.targets": Known([str(target) for target in build["targets"]], source),
    }
