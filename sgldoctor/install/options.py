"""The releases that were asked for, each judged on a target: why it is not taken, and in which builds it would be."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from packaging.specifiers import SpecifierSet
from packaging.version import Version

from sgldoctor import matrix
from sgldoctor.install import builds
from sgldoctor.rules.conditions import specifier_of
from sgldoctor.rules.knowledge import KERNELS, kernel_package, table

if TYPE_CHECKING:
    from sgldoctor.install.target import Target, Wish

LATEST = "latest"


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

    def kernels_driver(self) -> str | None:
        """Return the driver that its kernels need where they need more than their CUDA, or None."""
        return matrix.driver_of_kernels(self.versions)

    def cuda_major(self) -> int | None:
        """Return the CUDA major."""
        cuda = self.cuda()
        return int(cuda.partition(".")[0]) if cuda else None


def options_for(target: Target, wish: Wish) -> list[Option]:
    """Return the releases that were asked for, newest first, each judged."""
    known = matrix.releases()
    wanted = specifier_of(wish.release) if wish.release and wish.release != LATEST else None
    early = bool(SpecifierSet(str(wanted or "")).prereleases)
    names = [
        name
        for name in known
        if (wanted is None or wanted.contains(name)) and (early or not Version(name).is_prerelease)
    ]
    if wish.release == LATEST:
        names = names[:1]
    options = [judged(name, target, wish) for name in names]
    if any(option.against is None for option in options):
        return options
    return [_labelled(option, target, wish) for option in options]


def judged(release: str, target: Target, wish: Wish) -> Option:
    """Return the release in its default builds, or, where another CUDA was asked for, in builds for that."""
    machines = _machines(target)
    cells = [matrix.judge(release, machine) for machine in machines]
    cell = next((cell for cell in cells if cell.status is not matrix.Status.WORKS), cells[0])
    option = Option(release, _against(cell, target, wish), cell.versions, override=cell.override)
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


def _against(cell: matrix.Cell, target: Target, wish: Wish) -> str | None:
    """Return why a release is not taken, or None."""
    if cell.status is matrix.Status.OVERRIDE:
        if not wish.override:
            return f"{cell.reason}; with --override it takes {' and '.join(cell.override)} instead"
    elif cell.status is not matrix.Status.WORKS:
        return cell.reason
    return _against_wish(cell.release, cell.versions, target, wish)


def _against_wish(release: str, versions: dict[str, str], target: Target, wish: Wish) -> str | None:
    """Return which extra or further requirement the release cannot have, or None."""
    extras = table("sglang.json")["releases"].get(release, {}).get("extras", [])
    return (
        extra_against(extras, wish)
        or _second_kernels(versions, target, wish)
        or addition_against({**versions, "sglang": release}, target, wish)
    )


def extra_against(known: list[str], wish: Wish) -> str | None:
    """Return which extra a release with these extras lacks, or None; pip would only warn."""
    missing = next((extra for extra in wish.extras if extra not in known), None)
    return None if missing is None else f"it has no extra {missing!r}; it has {', '.join(known)}"


def _labelled(option: Option, target: Target, wish: Wish) -> Option:
    """Return the release in labelled builds where those work, else as it was."""
    build = builds.serving(option.release, option.versions, _machines(target), target.cuda)
    if build is None or _against_wish(option.release, option.versions, target, wish):
        return option
    return replace(option, against=None, build=build)


def _second_kernels(versions: dict[str, str], target: Target, wish: Wish) -> str | None:
    """Return which further requirement would bring the kernels a second time, or None."""
    own = kernel_package(versions)
    for requirement in target.applying(wish.additions):
        if own and requirement.name in KERNELS and requirement.name != own:
            return f"--with {requirement} would overwrite the files of {own} {versions[own]}; both are its kernels"
    return None


def addition_against(versions: dict[str, str], target: Target, wish: Wish) -> str | None:
    """Return which further requirement the versions of a release exclude, or None."""
    for requirement in target.applying(wish.additions):
        have = versions.get(requirement.name)
        if have and not specifier_of(str(requirement.specifier)).contains(have):
            return f"it brings {requirement.name} {have}, which --with {requirement} excludes"
    return None


def _machines(target: Target) -> list[matrix.Target]:
    """Return the machines to judge by: one per GPU model."""
    return [
        matrix.Target(target.minor(), target.arch, model, target.driver, target.glibc)
        for model in (target.gpus or (None,))
    ]
