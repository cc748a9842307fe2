"""From exact versions to an environment: its steps in order, its constraints, what the host must have, the launch."""

from __future__ import annotations

from typing import TYPE_CHECKING

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from sgldoctor.install.builds import index_of
from sgldoctor.install.plan import Environment, Launch, Step
from sgldoctor.matrix import DEFAULT
from sgldoctor.rules.conditions import specifier_of
from sgldoctor.rules.knowledge import built_from_source, kernel_package, package_of_library, table

if TYPE_CHECKING:
    from sgldoctor.install.target import Target, Wish
    from sgldoctor.matrix import Build

PORT = 30000
"""The default of every release."""
MODEL = "MODEL"
"""Stands for the model in a launch command."""

_TORCH = ("torch", "torchvision", "torchaudio")
_FLASHINFER = ("flashinfer-python", "flashinfer-cubin", "flashinfer-jit-cache")
_LIBNUMA = "libnuma.so.1"
_CUDNN_SHORT = ">=0.5.6,<0.5.10rc0"
"""sglang's own check refuses multimodal models with torch 2.9.1 and cuDNN below 9.15 in these releases.

9.16.0.29 is on the package index for CUDA 12 and for CUDA 13 (nvidia-cudnn-cu13), as of 2026-11-21."""


def environment_for(
    release: str,
    versions: dict[str, str],
    wish: Wish,
    target: Target,
    build: Build = DEFAULT,
    *,
    overrides: tuple[str, ...] = (),
    name: str = "sglang",
) -> Environment:
    """Return the environment of an sglang release: torch, then flashinfer, then sglang with its kernels."""
    exact = {**versions, "sglang": release}
    kernels = kernel_package(versions)
    labels = {"torch": build.torch, kernels: build.kernels}
    pins = {package: _labelled(version, labels.get(package)) for package, version in exact.items()}
    steps = [_step("torch", _TORCH, pins, ("torch",), index_of("torch", build.torch) if build.torch else None)]
    if "flashinfer-python" in pins:
        steps.append(_step("flashinfer", _FLASHINFER, pins, ("flashinfer", "torch-unchanged")))
    last = [f"{engine_with_extras('sglang', release, wish.extras)}=={release}"]
    last += [f"{kernels}=={pins[kernels]}"] if kernels else []
    index = index_of("kernels", build.kernels) if build.kernels else None
    verify = ("sglang", *(("kernel",) if kernels else ()), "versions", "torch-unchanged")
    steps.append(Step("sglang", (*last, *wish.additions), verify, index))
    return Environment(
        name,
        wish.venv,
        wish.interpreter or target.python or target.minor(),
        tuple(sorted(exact.items())),
        tuple(steps),
        constraints=tuple(f"{package}=={version}" for package, version in sorted(pins.items()) if package != "sglang"),
        overrides=overrides,
        system_packages=_system_packages(versions, target.minor()),
        prerelease=_prerelease(release, versions),
        launch=launch_for(wish.venv),
    )


def engine_with_extras(engine: str, release: str, extras: tuple[str, ...]) -> str:
    """Return the engine's distribution with its extras; ``all`` where the run-time parts are an extra."""
    row = table("sglang.json")["releases"].get(release, {}) if engine == "sglang" else {}
    wanted = list(dict.fromkeys((*(("all",) if row.get("runtime_extra") else ()), *extras)))
    return f"{engine}[{','.join(wanted)}]" if wanted else engine


def launch_for(venv: str, flags: tuple[str, ...] = (), env: tuple[tuple[str, str], ...] = ()) -> Launch:
    """Return the launch of sglang's server in an environment."""
    python = f"{venv.rstrip('/')}/bin/python"
    port = () if "--port" in flags else ("--port", str(PORT))
    model = () if "--model-path" in flags else ("--model-path", MODEL)
    return Launch((python, "-m", "sglang.launch_server", *model, *port, *flags), env)


def notes_for(environment: Environment, cuda: str | None, target: Target) -> list[str]:
    """Return what the user of an sglang environment should know."""
    versions = dict(environment.versions)
    notes: list[str] = []
    major = (cuda or "12").partition(".")[0]
    if "flashinfer-python" in versions:
        notes.append(
            f"flashinfer compiles kernels at their first use: nvcc of CUDA {major} and a C++ compiler are needed where "
            "the server runs; the devel images of CUDA have them."
        )
    notes += [
        f"{row['package']} {row['version']} has no wheel for Python {target.minor()}: it is built when it is "
        f"installed, which takes {row['needs']}. It has one for --python {row['wheels_for'][-1]}."
        for row in built_from_source(versions, target.minor())
    ]
    if specifier_of(_CUDNN_SHORT).contains(versions.get("sglang", "")):
        notes.append(
            "For image or video models run after the last step: "
            f"uv pip install --python {environment.interpreter()} --no-deps nvidia-cudnn-cu{major}==9.16.0.29 "
            "(this release refuses the cuDNN that its torch pins)."
        )
    if any("Jetson" in model.name for model in target.gpus):
        notes.append(
            "Jetson boards have builds of torch of their own; of these wheels only the GPU code was looked at."
        )
    return notes


def _step(
    name: str, packages: tuple[str, ...], pins: dict[str, str], verify: tuple[str, ...], index: str | None = None
) -> Step:
    return Step(name, tuple(f"{package}=={pins[package]}" for package in packages if package in pins), verify, index)


def _labelled(version: str, label: str | None) -> str:
    return f"{version}+{label}" if label else version


def _system_packages(versions: dict[str, str], python: str) -> tuple[tuple[str, str, str], ...]:
    found = []
    package = kernel_package(versions)
    known = table("kernel_abi.json")["kernels"].get(package, {}).get(versions.get(package or "", ""), {})
    if _LIBNUMA in known.get("needed", ()):
        names = package_of_library(_LIBNUMA, None)
        found.append((str(names["apt"]), str(names["dnf"]), f"{package} {versions[str(package)]} loads {_LIBNUMA}"))
    if "flashinfer-python" in versions:
        found.append(("g++", "gcc-c++", "flashinfer and triton compile at first use"))
    found += [
        (row["apt"], row["dnf"], f"{row['package']} {row['version']} has no wheel for Python {python}")
        for row in built_from_source(versions, python)
    ]
    return tuple(found)


def _prerelease(release: str, versions: dict[str, str]) -> bool:
    """Return whether the release or something it pins is a pre-release."""
    row = table("sglang.json")["releases"].get(release, {})
    pins = {**row.get("pins", {}), **row.get("extra_pins", {})}
    named = (item.version for pin in pins.values() for item in Requirement(f"x{pin}").specifier)
    texts = [release, *versions.values(), *(text.removesuffix(".*") for text in named)]
    return any(Version(text).is_prerelease for text in texts)


def plain_name(requirement: str) -> str:
    """Return the canonical name of what a requirement asks for."""
    return canonicalize_name(Requirement(requirement).name)
