"""The host: operating system, C library, CPU architecture, memory, and proxies that catch its own address."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from sgldoctor.snapshot import Fact, Facts, Known, Unknown

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sgldoctor.system import System

# os-release(5) names both places, the first wins
_OS_RELEASE = ("/etc/os-release", "/usr/lib/os-release")
# words of ID and ID_LIKE: derived distributions name a parent in ID_LIKE, so these are enough
_FAMILIES = {
    "debian": "debian", "ubuntu": "debian", "rhel": "rhel", "fedora": "rhel", "openeuler": "rhel",
    "suse": "suse", "arch": "arch", "alpine": "alpine",
}  # fmt: skip
_ARCHITECTURES = {"amd64": "x86_64", "arm64": "aarch64"}
# the dynamic loaders that the psABI of each architecture fixes, then Debian's folders for it
_LOADERS = {
    "x86_64": ("/lib64/ld-linux-x86-64.so.2", "/lib/ld-musl-x86_64.so.1", "/usr/lib/x86_64-linux-gnu"),
    "aarch64": ("/lib/ld-linux-aarch64.so.1", "/lib/ld-musl-aarch64.so.1", "/usr/lib/aarch64-linux-gnu"),
}
_LIBRARY_FOLDERS = ("/lib/x86_64-linux-gnu", "/lib/aarch64-linux-gnu", "/lib64", "/lib")
_LIBC_FILE = re.compile(r"^libc-(\d+\.\d+)\.so$")  # glibc before 2.34: libc-2.31.so
# GNU C Library (Debian GLIBC 2.36-9+deb12u14) stable release version 2.36.
_BANNER = r"GNU C Library \([^)]*\) [a-z ]*version \d+\.\d+"
_DISTRIBUTION = ("os.id", "os.version", "os.family")
_LIBC = ("libc.name", "libc.version")
_PROXIES = ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY")


def probe(system: System) -> Facts:
    """Return the facts about the host; what only a running system tells is unknown in an unpacked image."""
    return {
        **_operating_system(system),
        **_libc(system),
        "cpu.arch": _architecture(system),
        "memory.total_mib": _memory(system),
        "proxy.catches_localhost": _proxy(system),
    }


def _operating_system(system: System) -> Facts:
    facts = _distribution(system)
    try:
        uname = system.uname()
    except OSError as error:
        unknown = Unknown(f"uname: {error.strerror or error}")
        read = [fact.source for fact in facts.values() if isinstance(fact, Known) and fact.source in _OS_RELEASE]
        return {**facts, "os.name": Known("linux", read[0]) if read else unknown, "os.kernel": unknown}
    return {**facts, "os.name": Known(uname["system"].lower(), "uname"), "os.kernel": Known(uname["release"], "uname")}


def _distribution(system: System) -> Facts:
    for path in _OS_RELEASE:
        try:
            fields = parse_os_release(system.read_text(path))
        except FileNotFoundError:
            continue
        except OSError as error:
            return dict.fromkeys(_DISTRIBUTION, Unknown(f"{path} cannot be read: {error.strerror or error}"))
        words = [fields.get("ID", "").lower(), *fields.get("ID_LIKE", "").lower().split()]
        return {
            "os.id": Known(words[0] or None, path),
            "os.version": Known(fields.get("VERSION_ID") or None, path),
            "os.family": Known(next((_FAMILIES[word] for word in words if word in _FAMILIES), None), path),
        }
    return dict.fromkeys(_DISTRIBUTION, Known(None, f"no {_OS_RELEASE[0]}"))


def parse_os_release(text: str) -> dict[str, str]:
    """Return the fields of os-release(5), such as ``ID=debian`` and ``VERSION_ID="12"``."""
    pairs = (line.partition("=") for line in text.splitlines() if "=" in line and not line.startswith("#"))
    return {name.strip(): value.strip().strip("\"'") for name, _, value in pairs}


def _libc(system: System) -> Facts:
    try:
        name, _, version = system.libc().partition(" ")
    except (OSError, ValueError):  # musl and macOS do not know the question, an image does not run
        name = version = ""
    if version:
        return dict(zip(_LIBC, (Known(name, "confstr"), Known(version, "confstr")), strict=True))
    try:
        return dict(zip(_LIBC, _libc_files(system), strict=True))
    except OSError as error:
        return dict.fromkeys(_LIBC, Unknown(f"the C library's files: {error.strerror or error}"))


def _libc_files(system: System) -> tuple[Fact, Fact]:
    """Return the C library's name and version from the files of a system that does not run."""
    for folder in _LIBRARY_FOLDERS:
        names = system.list_dir(folder) if system.kind(folder) == "dir" else []
        path = f"{folder}/libc.so.6"
        if match := next(filter(None, map(_LIBC_FILE.match, names)), None):
            return Known("glibc", path), Known(match[1], f"{folder}/{match[0]}")
        if "libc.so.6" in names:
            banner = system.longest_match(path, _BANNER)
            version = banner.rpartition(" ")[2] if banner else None
            return Known("glibc", path), Known(version, path) if version else Unknown(f"{path} tells no version")
    for _, musl, _ in _LOADERS.values():
        if system.exists(musl):
            return Known("musl", musl), Unknown("musl tells its version only when it is run")
    return Unknown("neither glibc nor musl was found"), Unknown("no C library was found")


def _architecture(system: System) -> Fact:
    try:
        machine = system.uname()["machine"]
    except OSError as error:
        found = ((name, path) for name, paths in _LOADERS.items() for path in paths if system.exists(path))
        name, path = next(found, ("", ""))
        return Known(name, path) if name else Unknown(f"uname: {error.strerror or error}")
    return Known(_ARCHITECTURES.get(machine.lower(), machine), "uname")


def _memory(system: System) -> Fact:
    """Return MiB from a line such as ``MemTotal:       24684084 kB``."""
    path = "/proc/meminfo"
    try:
        match = re.search(r"^MemTotal:\s+(\d+) kB", system.read_text(path), re.MULTILINE)
    except OSError as error:
        return Unknown(f"{path} cannot be read: {error.strerror or error}")
    return Known(int(match[1]) // 1024, path) if match else Unknown(f"{path} has no MemTotal")


def _proxy(system: System) -> Fact:
    try:
        environ = system.environ()
    except OSError as error:
        return Unknown(f"variables: {error.strerror or error}")
    name = next((name for name in _PROXIES if environ.get(name)), None)
    return Known(not _excepts_loopback(environ), name) if name else Known(False, "no HTTP proxy is set")


def _excepts_loopback(environ: Mapping[str, str]) -> bool:
    """Return whether requests reach 127.0.0.1, which SGLang asks at start-up, without the proxy.

    As requests 2.32 does: it compares addresses as text or networks, so ``localhost`` excepts no 127.0.0.1,
    and a star works only alone.
    """
    text = (environ.get("no_proxy") or environ.get("NO_PROXY") or "").strip()
    entries = [entry.strip() for entry in text.split(",")]
    return text == "*" or any(re.match(r"127\.0\.0\.(?:1$|\d+/)", entry) for entry in entries)
