"""How much of the machine a process may use: memory, CPU, shared memory, open files, locked memory."""

from __future__ import annotations

from posixpath import dirname, join
from typing import TYPE_CHECKING

from sgldoctor.snapshot import Fact, Facts, Known, Unknown

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sgldoctor.system import System

_NAMES = ("memory.limit_mib", "cpu.limit", "shm.total_mib", "limits.nofile", "limits.memlock_kib")
_ROOT = "/sys/fs/cgroup"
_SHARED = "/dev/shm"  # noqa: S108 - its size is asked, nothing is written
# cgroup v1 says "no limit" by the largest multiple of a page: 9223372036854771712
_NO_LIMIT = 1 << 60


def probe(system: System) -> Facts:
    """Return the limits; all are unknown where the system does not run."""
    try:
        soft = system.limits()
    except OSError as error:
        return dict.fromkeys(_NAMES, Unknown(f"limits: {error.strerror or error}"))
    memlock = soft["memlock"]
    return {
        "memory.limit_mib": _smallest(system, "memory", _memory_limit),
        "cpu.limit": _smallest(system, "cpu", _cpu_limit),
        "shm.total_mib": _shared_memory(system),
        "limits.nofile": Known(soft["nofile"], "RLIMIT_NOFILE"),
        "limits.memlock_kib": Known(memlock if memlock < 0 else memlock // 1024, "RLIMIT_MEMLOCK"),
    }


def _shared_memory(system: System) -> Fact:
    try:
        return Known(system.disk(_SHARED)["total"] >> 20, _SHARED)
    except FileNotFoundError:
        return Known(None, _SHARED)
    except OSError as error:
        return Unknown(f"{_SHARED} cannot be read: {error.strerror or error}")


def _smallest(system: System, controller: str, read: Callable[[System, str], tuple[float | None, str]]) -> Fact:
    """Return the smallest limit from this process's cgroup up to the top, None where there is none.

    A limit of any group above holds too; in a container the group's own path often does not exist below
    its /sys/fs/cgroup, and then the top is the container.
    """
    source = f"{_ROOT}: no limit"
    limits: list[tuple[float, str]] = []
    seen = False
    try:
        for folder in _groups(system, controller):
            try:
                limit, path = read(system, folder)
            except FileNotFoundError:
                continue
            seen = True
            limits += [(limit, path)] if limit is not None else []
        value, source = min(limits, default=(None, source))
    except (OSError, ValueError) as error:
        return Unknown(f"{_ROOT} cannot be read: {getattr(error, 'strerror', None) or error}")
    if not seen and not system.exists(f"{_ROOT}/cgroup.controllers"):
        return Unknown(f"{_ROOT} holds no {controller} controller")
    return Known(value, source)


def _groups(system: System, controller: str) -> Iterator[str]:
    """Yield the folders of this process's cgroup and of those above it.

    Lines of /proc/self/cgroup: ``0::/user.slice/session-2.scope`` (v2), ``4:memory:/docker/0f5a`` (v1).
    """
    try:
        lines = [line.split(":", 2) for line in system.read_text("/proc/self/cgroup").splitlines()]
    except FileNotFoundError:
        lines = []
    paths = {names: path for line in lines if len(line) == 3 for names, path in [(line[1], line[2])]}
    if system.exists(f"{_ROOT}/cgroup.controllers"):
        base, path = _ROOT, paths.get("", "/")
    else:
        base = f"{_ROOT}/{controller}"
        path = next((path for names, path in paths.items() if controller in names.split(",")), "/")
    while path not in {"", "/"}:
        yield join(base, path.strip("/"))
        path = dirname(path.rstrip("/"))
    yield base


def _memory_limit(system: System, folder: str) -> tuple[float | None, str]:
    """Return MiB from ``memory.max`` (a number of bytes, or ``max``), or its name in cgroup v1."""
    path = f"{folder}/memory.max"
    if not system.exists(path):
        path = f"{folder}/memory.limit_in_bytes"
    text = system.read_text(path).strip()
    limit = None if text == "max" or int(text) >= _NO_LIMIT else int(text) >> 20
    return limit, path


def _cpu_limit(system: System, folder: str) -> tuple[float | None, str]:
    """Return cores from ``cpu.max`` (``200000 100000``, ``max 100000``), or from cgroup v1's two files."""
    path = f"{folder}/cpu.max"
    if system.exists(path):
        quota, period = system.read_text(path).split()
    else:
        path = f"{folder}/cpu.cfs_quota_us"
        quota, period = system.read_text(path).strip(), system.read_text(f"{folder}/cpu.cfs_period_us").strip()
    limit = None if quota in {"max", "-1"} else round(int(quota) / int(period), 2)
    return limit, path
