from __future__ import annotations

import errno
from typing import TYPE_CHECKING

import pytest

from sgldoctor.probes.container import probe
from sgldoctor.snapshot import Fact, Known, Unknown
from tests.fakes import GIB, UNAME, FakeSystem

if TYPE_CHECKING:
    from collections.abc import Mapping

NOT_RUNNING = "an unpacked image does not run"
GVISOR = "Linux version 4.4.0 #1 SMP Sun Jan 10 15:06:54 PST 2016\n"
DEBIAN = (
    "Linux version 6.1.0-28-amd64 (debian-kernel@lists.debian.org) (gcc-12 (Debian 12.2.0-14) 12.2.0, "
    "GNU ld (GNU Binutils for Debian) 2.40) #1 SMP PREEMPT_DYNAMIC Debian 6.1.119-1 (2024-11-22)\n"
)
WSL2 = {**UNAME, "release": "5.15.153.1-microsoft-standard-WSL2"}
WSL1 = {**UNAME, "release": "4.4.0-19041-Microsoft"}
LIMITS = {"nofile": 1048576, "memlock": 8388608}


def machine(
    files: Mapping[str, str] | None = None,
    environ: Mapping[str, str] | None = None,
    uname: Mapping[str, str] = UNAME,
    limits: Mapping[str, int] = LIMITS,
) -> FakeSystem:
    return FakeSystem({"/proc/version": DEBIAN, **(files or {})}, environ=environ or {}, uname=uname, limits=limits)


@pytest.mark.parametrize(
    ("files", "environ", "expected"),
    [
        ({}, {}, Known("none", "no sign of a container")),
        ({"/.dockerenv": ""}, {}, Known("docker", "/.dockerenv")),
        ({"/run/.containerenv": ""}, {"container": "podman"}, Known("podman", "/run/.containerenv")),
        ({"/.singularity.d/env/10-docker2singularity.sh": ""}, {}, Known("apptainer", "/.singularity.d")),
        ({"/run/systemd/container": "lxc\n"}, {}, Known("lxc", "/run/systemd/container")),
        ({}, {"container": "systemd-nspawn"}, Known("systemd-nspawn", "container")),
        ({"/run/systemd/container": "wsl\n"}, {}, Known("none", "no sign of a container")),
        (
            {"/.dockerenv": ""},
            {"KUBERNETES_SERVICE_HOST": "10.96.0.1"},
            Known("kubernetes", "KUBERNETES_SERVICE_HOST"),
        ),
        (
            {"/var/run/secrets/kubernetes.io/serviceaccount/namespace": "default"},
            {},
            Known("kubernetes", "/var/run/secrets/kubernetes.io"),
        ),
        ({"/.dockerenv": ""}, {"RUNPOD_POD_ID": "a1b2c3"}, Known("runpod", "RUNPOD_POD_ID")),
        ({"/proc/version": GVISOR}, {"MODAL_TASK_ID": "ta-01"}, Known("modal", "MODAL_TASK_ID")),
        ({"/proc/version": GVISOR, "/.dockerenv": ""}, {}, Known("gvisor", "/proc/version")),
        (
            {"/proc/version": "Linux version 4.19.0-gvisor #1 SMP Sun Jan 10 15:06:54 PST 2016\n"},
            {},
            Known("gvisor", "/proc/version"),
        ),
        # a real Linux 4.4.0 is not gVisor
        (
            {"/proc/version": "Linux version 4.4.0-210-generic (buildd@lgw01) #242-Ubuntu SMP Fri Apr 16 2021\n"},
            {},
            Known("none", "no sign of a container"),
        ),
    ],
)
def test_the_kind_of_container(files: dict[str, str], environ: dict[str, str], expected: Known) -> None:
    assert probe(machine(files, environ))["container.kind"] == expected


@pytest.mark.parametrize(
    ("uname", "wsl", "kind"),
    [
        (WSL2, Known("2", "uname"), Known("wsl2", "uname")),
        (WSL1, Known("1", "uname"), Known("wsl1", "uname")),
        (UNAME, Known(None, "uname"), Known("none", "no sign of a container")),
    ],
)
def test_wsl_is_read_from_the_kernel_release(uname: dict[str, str], wsl: Fact, kind: Fact) -> None:
    facts = probe(machine(uname=uname))

    assert facts["container.wsl"] == wsl
    assert facts["container.kind"] == kind


def test_docker_on_wsl_is_docker() -> None:
    facts = probe(machine({"/.dockerenv": ""}, uname=WSL2))

    assert facts["container.kind"] == Known("docker", "/.dockerenv")
    assert facts["container.wsl"] == Known("2", "uname")


def test_an_image_is_in_no_container_that_could_be_named() -> None:
    facts = probe(FakeSystem({"/.dockerenv": "", "/sys/fs/cgroup/memory.max": "1073741824\n"}, folders=["/dev/shm"]))

    limits = Unknown(f"limits: {NOT_RUNNING}")
    assert facts == {
        "container.kind": Unknown(f"its signs cannot be read: {NOT_RUNNING}"),
        "container.wsl": Unknown(f"uname: {NOT_RUNNING}"),
        "memory.limit_mib": limits,
        "cpu.limit": limits,
        "shm.total_mib": limits,
        "limits.nofile": limits,
        "limits.memlock_kib": limits,
    }


# docker run --memory 8g --cpus 2.5 on cgroup v2, seen from inside
DOCKER_V2 = {
    "/proc/self/cgroup": "0::/\n",
    "/sys/fs/cgroup/cgroup.controllers": "cpuset cpu io memory hugetlb pids rdma misc\n",
    "/sys/fs/cgroup/memory.max": "8589934592\n",
    "/sys/fs/cgroup/cpu.max": "250000 100000\n",
}
# a systemd session with MemoryMax=16G on the slice above it; the top has neither file
SYSTEMD_V2 = {
    "/proc/self/cgroup": "0::/user.slice/user-1000.slice/session-2.scope\n",
    "/sys/fs/cgroup/cgroup.controllers": "cpuset cpu io memory hugetlb pids rdma misc\n",
    "/sys/fs/cgroup/user.slice/user-1000.slice/session-2.scope/memory.max": "max\n",
    "/sys/fs/cgroup/user.slice/user-1000.slice/memory.max": "17179869184\n",
    "/sys/fs/cgroup/user.slice/memory.max": "34359738368\n",
    "/sys/fs/cgroup/user.slice/user-1000.slice/session-2.scope/cpu.max": "max 100000\n",
    "/sys/fs/cgroup/user.slice/user-1000.slice/cpu.max": "max 100000\n",
}
# docker run --memory 4g --cpus 0.5 on cgroup v1 without a namespace of its own
DOCKER_V1 = {
    "/proc/self/cgroup": (
        "12:pids:/docker/0f5a1c\n5:cpu,cpuacct:/docker/0f5a1c\n4:memory:/docker/0f5a1c\n1:name=systemd:/docker/0f5a1c\n"
    ),
    "/sys/fs/cgroup/memory/memory.limit_in_bytes": "4294967296\n",
    "/sys/fs/cgroup/cpu/cpu.cfs_quota_us": "50000\n",
    "/sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000\n",
}
LXC_V1 = {
    "/proc/self/cgroup": (
        "11:pids:/lxc/web/init.scope\n5:cpu,cpuacct:/lxc/web\n4:memory:/lxc/web\n1:name=systemd:/lxc/web/init.scope\n"
    ),
    "/sys/fs/cgroup/memory/lxc/web/init.scope/memory.limit_in_bytes": "1073741824\n",
    "/sys/fs/cgroup/cpu/lxc/web/init.scope/cpu.cfs_quota_us": "10000\n",
    "/sys/fs/cgroup/cpu/lxc/web/init.scope/cpu.cfs_period_us": "100000\n",
    "/sys/fs/cgroup/memory/lxc/web/memory.limit_in_bytes": "2147483648\n",
    "/sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712\n",
    "/sys/fs/cgroup/cpu/lxc/web/cpu.cfs_quota_us": "33333\n",
    "/sys/fs/cgroup/cpu/lxc/web/cpu.cfs_period_us": "100000\n",
}
FREE_V1 = {
    "/proc/self/cgroup": "4:memory:/process_api/e612\n3:cpuset:/\n2:cpuacct:/\n1:cpu:/\n0::/\n",
    "/sys/fs/cgroup/memory/process_api/e612/memory.limit_in_bytes": "9223372036854771712\n",
    "/sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712\n",
    "/sys/fs/cgroup/cpu/cpu.cfs_quota_us": "-1\n",
    "/sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000\n",
}
NO_LIMIT = Known(None, "/sys/fs/cgroup: no limit")
SLICE = "/sys/fs/cgroup/user.slice/user-1000.slice"


@pytest.mark.parametrize(
    ("files", "memory", "cpu"),
    [
        (DOCKER_V2, Known(8192, "/sys/fs/cgroup/memory.max"), Known(2.5, "/sys/fs/cgroup/cpu.max")),
        (SYSTEMD_V2, Known(16384, f"{SLICE}/memory.max"), NO_LIMIT),
        (
            DOCKER_V1,
            Known(4096, "/sys/fs/cgroup/memory/memory.limit_in_bytes"),
            Known(0.5, "/sys/fs/cgroup/cpu/cpu.cfs_quota_us"),
        ),
        (
            LXC_V1,
            Known(2048, "/sys/fs/cgroup/memory/lxc/web/memory.limit_in_bytes"),
            Known(0.33, "/sys/fs/cgroup/cpu/lxc/web/cpu.cfs_quota_us"),
        ),
        (FREE_V1, NO_LIMIT, NO_LIMIT),
        ({"/sys/fs/cgroup/cgroup.controllers": "\n"}, NO_LIMIT, NO_LIMIT),
        (
            {},
            Unknown("/sys/fs/cgroup holds no memory controller"),
            Unknown("/sys/fs/cgroup holds no cpu controller"),
        ),
        (
            {"/sys/fs/cgroup/cgroup.controllers": "memory\n", "/sys/fs/cgroup/memory.max": "plenty\n"},
            Unknown("/sys/fs/cgroup cannot be read: invalid literal for int() with base 10: 'plenty'"),
            NO_LIMIT,
        ),
    ],
)
def test_the_smallest_limit_of_all_groups_holds(files: dict[str, str], memory: Fact, cpu: Fact) -> None:
    facts = probe(machine(files))

    assert facts["memory.limit_mib"] == memory
    assert facts["cpu.limit"] == cpu


def test_a_cgroup_file_that_cannot_be_read_is_unknown() -> None:
    system = FakeSystem(
        {**DOCKER_V2, "/proc/version": DEBIAN},
        errors={"/sys/fs/cgroup/memory.max": errno.EACCES},
        environ={},
        uname=UNAME,
        limits=LIMITS,
    )

    facts = probe(system)

    assert facts["memory.limit_mib"] == Unknown("/sys/fs/cgroup cannot be read: Permission denied")
    assert facts["cpu.limit"] == Known(2.5, "/sys/fs/cgroup/cpu.max")


def test_shared_memory_is_the_size_of_its_file_system() -> None:
    system = FakeSystem(folders=["/dev/shm"], disks={"/dev/shm": (64 << 20, 64 << 20), "/": (GIB, GIB)}, limits=LIMITS)

    assert probe(system)["shm.total_mib"] == Known(64, "/dev/shm")
    assert probe(FakeSystem(limits=LIMITS))["shm.total_mib"] == Known(None, "/dev/shm")
    locked = FakeSystem(folders=["/dev/shm"], errors={"/dev/shm": errno.EACCES}, limits=LIMITS)
    assert probe(locked)["shm.total_mib"] == Unknown("/dev/shm cannot be read: Permission denied")


def test_soft_limits_are_told_in_files_and_kib() -> None:
    facts = probe(machine())

    assert facts["limits.nofile"] == Known(1048576, "RLIMIT_NOFILE")
    assert facts["limits.memlock_kib"] == Known(8192, "RLIMIT_MEMLOCK")


def test_unlimited_stays_minus_one() -> None:
    facts = probe(machine(limits={"nofile": -1, "memlock": -1}))

    assert facts["limits.nofile"] == Known(-1, "RLIMIT_NOFILE")
    assert facts["limits.memlock_kib"] == Known(-1, "RLIMIT_MEMLOCK")
