"""What the system runs in: a container, a cloud's sandbox, WSL, or nothing of the kind; and its limits."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from sgldoctor.probes import limits
from sgldoctor.snapshot import Fact, Facts, Known, Unknown

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sgldoctor.system import System

# the variables that each platform sets in every process
_PLATFORMS = (("modal", "MODAL_TASK_ID"), ("runpod", "RUNPOD_POD_ID"), ("kubernetes", "KUBERNETES_SERVICE_HOST"))
_FILES = (
    ("kubernetes", "/var/run/secrets/kubernetes.io"),
    ("podman", "/run/.containerenv"),
    ("docker", "/.dockerenv"),
    ("apptainer", "/.singularity.d"),
)
# gVisor's fixed answer (pkg/sentry/kernel/version.go), and the word that newer releases put into it
_GVISOR = re.compile(r"^Linux version 4\.4\.0 #1 SMP Sun Jan 10 15:06:54 PST 2016$|-gvisor\b", re.MULTILINE)
# 4.4.0-19041-Microsoft is WSL 1, 5.15.153.1-microsoft-standard-WSL2 is WSL 2
_WSL1 = re.compile(r"^4\.4\.0-\d+-Microsoft$")
_WORD = re.compile(r"^(?!wsl$)[a-z][a-z0-9-]*$")


def probe(system: System) -> Facts:
    """Return what the system runs in, and the limits that this puts on it."""
    wsl = _wsl(system)
    return {"container.kind": _kind(system, wsl), "container.wsl": wsl, **limits.probe(system)}


def _wsl(system: System) -> Fact:
    try:
        release = system.uname()["release"]
    except OSError as error:
        return Unknown(f"uname: {error.strerror or error}")
    if "microsoft" not in release.lower():
        return Known(None, "uname")
    return Known("1" if _WSL1.match(release) else "2", "uname")


def _kind(system: System, wsl: Fact) -> Fact:
    """Return the most telling name where several are true: a platform, then its sandbox, then the container."""
    try:
        environ = system.environ()
        found = _platform(system, environ) or _sandbox(system) or _container(system, environ)
    except OSError as error:
        return Unknown(f"its signs cannot be read: {error.strerror or error}")
    if found:
        return found
    if isinstance(wsl, Known) and wsl.value:
        return Known(f"wsl{wsl.value}", wsl.source)
    return wsl if isinstance(wsl, Unknown) else Known("none", "no sign of a container")


def _platform(system: System, environ: Mapping[str, str]) -> Known | None:
    for kind, name in _PLATFORMS:
        if environ.get(name):
            return Known(kind, name)
    kind, path = _FILES[0]
    return Known(kind, path) if system.exists(path) else None


def _sandbox(system: System) -> Known | None:
    path = "/proc/version"
    try:
        return Known("gvisor", path) if _GVISOR.search(system.read_text(path)) else None
    except FileNotFoundError:  # macOS has no /proc
        return None


def _container(system: System, environ: Mapping[str, str]) -> Known | None:
    """Return the container's kind from its files, else as its manager told systemd and its processes."""
    for kind, path in _FILES:
        if system.exists(path):
            return Known(kind, path)
    path = "/run/systemd/container"
    try:
        word, source = system.read_text(path).strip(), path
    except FileNotFoundError:
        word, source = environ.get("container", ""), "container"
    return Known(word, source) if _WORD.match(word) else None
