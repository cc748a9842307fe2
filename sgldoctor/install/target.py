"""What to plan for: the machine as named or found, and what shall be installed on it."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from packaging.requirements import InvalidRequirement, Requirement
from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.utils import canonicalize_name

from sgldoctor.errors import UsageError
from sgldoctor.rules.conditions import version_of
from sgldoctor.rules.knowledge import CPU_ARCHITECTURES, cpu_architecture, find_gpu, gpu

if TYPE_CHECKING:
    from sgldoctor.rules.knowledge import GpuModel
    from sgldoctor.snapshot import Snapshot

DEFAULT_PYTHON = "3.12"
DEFAULT_VENV = ".venv-sglang"
_VERSION = re.compile(r"^\d+(?:\.\d+){0,3}$")
_CUDA = re.compile(r"^\d+\.\d+$")
_EXTRA = re.compile(r"^[A-Za-z0-9](?:[\w.-]*[A-Za-z0-9])?$")
_PYTHON = re.compile(r"^3\.\d{1,2}(?:\.\d+)?$")


@dataclass(frozen=True, slots=True)
class Target:
    """A machine; None: neither given nor found.

    Attributes:
        gpus: the models that all must be served; empty where unknown.
        vendor: the accelerator's maker where it is not NVIDIA, or None.
        count: how many GPUs there are, where that is known.
        glibc_of_here: whether the C library is that of this machine, though the GPU is another's.
        os: linux, darwin or windows.
        libc: glibc or musl.
    """

    gpus: tuple[GpuModel, ...] = ()
    driver: str | None = None
    cuda: str | None = None
    python: str | None = None
    arch: str = "x86_64"
    glibc: str | None = None
    os: str = "linux"
    libc: str = "glibc"
    vendor: str | None = None
    count: int | None = None
    glibc_of_here: bool = False

    def minor(self) -> str:
        """Return the Python to plan for, as in ``3.12``."""
        return ".".join((self.python or DEFAULT_PYTHON).split(".")[:2])

    def applying(self, requirements: tuple[str, ...]) -> list[Requirement]:
        """Return the requirements whose markers hold there, under their canonical names."""
        there = {
            "sys_platform": self.os,
            "platform_system": self.os.capitalize(),
            "os_name": "posix",
            "platform_machine": self.arch,
            "python_version": self.minor(),
            "python_full_version": f"{self.minor()}.0",
            "implementation_name": "cpython",
            "platform_python_implementation": "CPython",
        }
        found = [Requirement(text) for text in requirements]
        for requirement in found:
            requirement.name = canonicalize_name(requirement.name)
        return [each for each in found if each.marker is None or each.marker.evaluate(there)]

    def record(self) -> tuple[tuple[str, Any], ...]:
        """Return it for JSON."""
        return (
            ("gpu", self.gpus[0].name if self.gpus else None),
            ("gpus", [model.name for model in self.gpus]),
            ("capability", self.gpus[0].capability if self.gpus else None),
            ("driver", self.driver),
            ("cuda", self.cuda),
            ("python", self.minor()),
            ("arch", self.arch),
            ("glibc", self.glibc),
            ("os", self.os),
        )

    def described(self) -> str:
        """Return it in words."""
        names = " and ".join(model.name for model in self.gpus) or "any GPU"
        parts = [names, f"Python {self.minor()}", self.arch]
        parts += [f"driver {self.driver}"] if self.driver else []
        parts += [f"CUDA {self.cuda}"] if self.cuda else []
        parts += [f"glibc {self.glibc}"] if self.glibc else []
        return ", ".join(parts)


@dataclass(frozen=True, slots=True)
class Wish:
    """What shall be installed.

    Attributes:
        engine: sglang or vllm.
        release: a specifier such as ``==0.4.9`` or ``>=0.5.5``, ``latest``, or None: the newest that can run.
        extras: of the engine's distribution.
        additions: further requirements, kept compatible.
        override: whether pins that are gone may be replaced.
        venv: the environment's folder.
        interpreter: the path of the Python to use, or None.
        installer: uv or pip.
    """

    engine: str = "sglang"
    release: str | None = None
    extras: tuple[str, ...] = ()
    additions: tuple[str, ...] = ()
    override: bool = False
    venv: str = DEFAULT_VENV
    interpreter: str | None = None
    installer: str = "uv"

    def __post_init__(self) -> None:
        """Refuse what no package can have as an extra.

        Raises:
            UsageError: an extra's name is none.
        """
        for extra in self.extras:
            if not _EXTRA.match(extra):
                raise UsageError(f"{extra!r} is no name of an extra for --extra. Name one such as tracing.")


def named(
    *,
    gpus: tuple[str, ...] = (),
    driver: str | None = None,
    cuda: str | None = None,
    python: str | None = None,
    arch: str | None = None,
    glibc: str | None = None,
) -> Target:
    """Return the machine that the options name.

    Raises:
        UsageError: a GPU or CPU is unknown, they do not go together, or a version is none.
    """
    for option, value, pattern, such in (
        ("--driver", driver, _VERSION, "535.183"),
        ("--cuda", cuda, _CUDA, "12.8"),
        ("--glibc", glibc, _VERSION, "2.31"),
    ):
        if value is not None and not pattern.match(value):
            raise UsageError(f"{value!r} is no version for {option}. Name one such as {such}.")
    if glibc is not None and not glibc.startswith("2."):
        raise UsageError(f"{glibc!r} is no version of glibc. Name one such as 2.35; ldd --version says it.")
    if python is not None and not _PYTHON.match(python):
        raise UsageError(f"{python!r} is no Python version. Name one such as {DEFAULT_PYTHON}, or an interpreter.")
    models = tuple(dict.fromkeys(gpu(name) for name in gpus))
    bound = next((model.cpu for model in models if model.cpu != "any"), None)
    machine = cpu_architecture(arch) if arch else bound or "x86_64"
    if other := next((model for model in models if model.cpu not in {"any", machine}), None):
        raise UsageError(
            f"{other.name} is built with {other.cpu} CPUs, not {machine}. Leave out --arch, or name another GPU."
        )
    return Target(models, driver, cuda, python, machine, glibc, count=len(gpus) or None)


def completed(target: Target, snapshot: Snapshot, *, arch_given: bool) -> Target:
    """Return the machine with what was found here in place of what was not named.

    A named GPU that is not in this machine means another machine: of this one then only the CPU and the C library are
    taken, where its CPU is the one planned for.
    """
    names = [str(row.get("name")) for row in snapshot.records("gpus")]
    here = tuple(found for name in dict.fromkeys(names) if (found := find_gpu(name)))
    elsewhere = bool(target.gpus) and {model.name for model in target.gpus} != {model.name for model in here}
    arch = snapshot.text("cpu.arch")
    linux = snapshot.text("os.name") == "linux"
    bound = any(model.cpu not in {"any", arch} for model in target.gpus)
    if not arch_given and not bound and arch in CPU_ARCHITECTURES and (linux or not elsewhere):
        target = replace(target, arch=arch)
    if not elsewhere:
        vendor = snapshot.text("gpu.vendor")
        target = replace(
            target,
            gpus=target.gpus or here,
            count=target.count or len(names) or None,
            driver=target.driver or snapshot.text("driver.version"),
            vendor=None if target.gpus or here or vendor in {None, "none", "nvidia"} else vendor,
        )
    if not target.gpus or not elsewhere:
        target = replace(target, os=snapshot.text("os.name") or target.os)
    if target.glibc is None and target.arch == arch and linux:
        libc = snapshot.text("libc.name")
        version = snapshot.text("libc.version")
        glibc = version if libc == "glibc" else None
        target = replace(target, libc=libc or "glibc", glibc=glibc, glibc_of_here=bool(glibc and elsewhere))
    return target


def release_wish(text: str) -> str:
    """Return ``latest`` or a specifier for what ``--sglang`` names: a version, a specifier, or latest.

    Raises:
        UsageError: it is none of them.
    """
    plain = text.strip().removeprefix("v").removeprefix("sglang")
    if plain == "latest":
        return plain
    if version := version_of(plain):
        if version.local:
            raise UsageError(
                f"{text!r}: releases of sglang have no label. Say --sglang {version.public} and the CUDA with --cuda."
            )
        return f"=={plain}"
    try:
        specifier = SpecifierSet(plain)
    except InvalidSpecifier:
        specifier = SpecifierSet()
    if not specifier:
        raise UsageError(f"{text!r} is no sglang version. Name one such as 0.5.9, '>=0.5.5,<0.5.10' or latest.")
    return str(specifier)


def addition(text: str) -> str:
    """Return a requirement of ``--with`` in its normal form.

    Raises:
        UsageError: it is none.
    """
    try:
        return str(Requirement(text))
    except InvalidRequirement as error:
        reason = str(error).splitlines()[0]
        raise UsageError(f"{text!r} is no requirement for --with: {reason}. Name one such as 'peft>=0.15'.") from None
