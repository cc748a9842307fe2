from __future__ import annotations

import errno

import pytest

from sgldoctor.probes.host import parse_os_release, probe
from sgldoctor.snapshot import Fact, Known, Unknown
from tests.fakes import UNAME, FakeSystem

NOT_RUNNING = "an unpacked image does not run"

DEBIAN_12 = """\
PRETTY_NAME="Debian GNU/Linux 12 (bookworm)"
NAME="Debian GNU/Linux"
VERSION_ID="12"
VERSION="12 (bookworm)"
VERSION_CODENAME=bookworm
ID=debian
HOME_URL="https://www.debian.org/"
SUPPORT_URL="https://www.debian.org/support"
BUG_REPORT_URL="https://bugs.debian.org/"
"""
UBUNTU_2204 = """\
PRETTY_NAME="Ubuntu 22.04.4 LTS"
NAME="Ubuntu"
VERSION_ID="22.04"
VERSION="22.04.4 LTS (Jammy Jellyfish)"
VERSION_CODENAME=jammy
ID=ubuntu
ID_LIKE=debian
HOME_URL="https://www.ubuntu.com/"
SUPPORT_URL="https://help.ubuntu.com/"
BUG_REPORT_URL="https://bugs.launchpad.net/ubuntu/"
PRIVACY_POLICY_URL="https://www.ubuntu.com/legal/terms-and-policies/privacy-policy"
UBUNTU_CODENAME=jammy
"""
ROCKY_94 = """\
NAME="Rocky Linux"
VERSION="9.4 (Blue Onyx)"
ID="rocky"
ID_LIKE="rhel centos fedora"
VERSION_ID="9.4"
PLATFORM_ID="platform:el9"
PRETTY_NAME="Rocky Linux 9.4 (Blue Onyx)"
ANSI_COLOR="0;32"
LOGO="fedora-logo-icon"
CPE_NAME="cpe:/o:rocky:rocky:9::baseos"
HOME_URL="https://rockylinux.org/"
"""
AMAZON_2023 = """\
NAME="Amazon Linux"
VERSION="2023"
ID="amzn"
ID_LIKE="fedora"
VERSION_ID="2023"
PLATFORM_ID="platform:al2023"
PRETTY_NAME="Amazon Linux 2023.10.20260202"
"""
LEAP_156 = """\
NAME="openSUSE Leap"
VERSION="15.6"
ID="opensuse-leap"
ID_LIKE="suse opensuse"
VERSION_ID="15.6"
PRETTY_NAME="openSUSE Leap 15.6"
"""
ARCH = """\
NAME="Arch Linux"
PRETTY_NAME="Arch Linux"
ID=arch
BUILD_ID=rolling
ANSI_COLOR="38;2;23;147;209"
"""
ALPINE_319 = """\
NAME="Alpine Linux"
ID=alpine
VERSION_ID=3.19.1
PRETTY_NAME="Alpine Linux v3.19"
HOME_URL="https://alpinelinux.org/"
"""
WOLFI = """\
ID=wolfi
NAME="Wolfi"
PRETTY_NAME="Wolfi"
VERSION_ID="20230201"
HOME_URL="https://wolfi.dev"
"""


@pytest.mark.parametrize(
    ("text", "name", "version", "family"),
    [
        (DEBIAN_12, "debian", "12", "debian"),
        (UBUNTU_2204, "ubuntu", "22.04", "debian"),
        (ROCKY_94, "rocky", "9.4", "rhel"),
        (AMAZON_2023, "amzn", "2023", "rhel"),
        (LEAP_156, "opensuse-leap", "15.6", "suse"),
        (ARCH, "arch", None, "arch"),
        (ALPINE_319, "alpine", "3.19.1", "alpine"),
        (WOLFI, "wolfi", "20230201", None),
        ('NAME="Linux Mint"\nVERSION_ID="20.3"\nID=linuxmint\nID_LIKE=ubuntu\n', "linuxmint", "20.3", "debian"),
        ('NAME="openEuler"\nID="openEuler"\nVERSION_ID="22.03"\n', "openeuler", "22.03", "rhel"),
        ('NAME="of our own"\nID=own\nID_LIKE="rhel"\n', "own", None, "rhel"),
    ],
)
def test_a_distribution_is_named_with_its_family(text: str, name: str, version: str | None, family: str | None) -> None:
    facts = probe(FakeSystem({"/etc/os-release": text}, uname=UNAME))

    source = "/etc/os-release"
    assert facts["os.id"] == Known(name, source)
    assert facts["os.version"] == Known(version, source)
    assert facts["os.family"] == Known(family, source)
    assert facts["os.name"] == Known("linux", "uname")
    assert facts["os.kernel"] == Known("6.1.0-28-amd64", "uname")


def test_the_second_place_of_os_release_is_read_when_the_first_is_missing() -> None:
    assert probe(FakeSystem({"/usr/lib/os-release": DEBIAN_12}))["os.id"] == Known("debian", "/usr/lib/os-release")


def test_an_os_release_that_cannot_be_read_is_unknown_and_the_second_is_not_asked() -> None:
    system = FakeSystem(
        {"/etc/os-release": DEBIAN_12, "/usr/lib/os-release": UBUNTU_2204},
        errors={"/etc/os-release": errno.EACCES},
        uname=UNAME,
    )

    facts = probe(system)

    unknown = Unknown("/etc/os-release cannot be read: Permission denied")
    assert (facts["os.id"], facts["os.version"], facts["os.family"]) == (unknown, unknown, unknown)
    assert facts["os.name"] == Known("linux", "uname")


def test_comments_and_both_kinds_of_quotes_are_understood() -> None:
    assert parse_os_release("# ID=wrong\nID='ol'\nVERSION_ID=\"8.9\"\n\n") == {"ID": "ol", "VERSION_ID": "8.9"}


def test_macos_has_a_name_and_no_distribution() -> None:
    facts = probe(FakeSystem(uname={"system": "Darwin", "machine": "arm64", "release": "23.4.0"}))

    assert facts["os.name"] == Known("darwin", "uname")
    assert facts["os.id"] == Known(None, "no /etc/os-release")
    assert facts["cpu.arch"] == Known("aarch64", "uname")
    assert facts["libc.name"] == Unknown("neither glibc nor musl was found")


def test_a_running_glibc_names_itself() -> None:
    facts = probe(FakeSystem(libc="glibc 2.36", uname=UNAME))

    assert facts["libc.name"] == Known("glibc", "confstr")
    assert facts["libc.version"] == Known("2.36", "confstr")


@pytest.mark.parametrize("loader", ["/lib/ld-musl-x86_64.so.1", "/lib/ld-musl-aarch64.so.1"])
def test_musl_is_known_by_its_loader(loader: str) -> None:
    facts = probe(FakeSystem({loader: ""}, uname=UNAME))

    assert facts["libc.name"] == Known("musl", loader)
    assert facts["libc.version"] == Unknown("musl tells its version only when it is run")


def test_a_system_that_does_not_know_the_question_about_its_libc_is_judged_by_its_files() -> None:
    class MacOS(FakeSystem):
        def libc(self) -> str:
            raise ValueError("unrecognized configuration name")

    assert probe(MacOS(uname=UNAME))["libc.version"] == Unknown("no C library was found")


# Ubuntu 20.04 names the version in the file, Debian 12 and Rocky 9 in a banner within it; a Debian may
# also carry musl, which its programs do not use.
@pytest.mark.parametrize(
    ("files", "version", "source"),
    [
        (
            {
                "/lib/x86_64-linux-gnu/libc.so.6": "",
                "/lib/x86_64-linux-gnu/libc-2.31.so": "",
                "/lib/x86_64-linux-gnu/libc-client.so": "",
            },
            "2.31",
            "/lib/x86_64-linux-gnu/libc-2.31.so",
        ),
        (
            {
                "/lib/ld-musl-x86_64.so.1": "",
                "/lib/x86_64-linux-gnu/libc.so.6": "\0\ufffdELF\0GNU C Library (Debian GLIBC 2.36-9+deb12u14) "
                "stable release version 2.36.\nCopyright (C) 2022 Free Software Foundation, Inc.\n\0",
            },
            "2.36",
            "/lib/x86_64-linux-gnu/libc.so.6",
        ),
        (
            {"/lib64/libc.so.6": "\0GNU C Library (GNU libc) stable release version 2.34.\n\0"},
            "2.34",
            "/lib64/libc.so.6",
        ),
    ],
)
def test_an_image_tells_its_glibc_by_its_files(files: dict[str, str], version: str, source: str) -> None:
    facts = probe(FakeSystem(files))

    assert facts["libc.name"] == Known("glibc", source.replace("libc-2.31.so", "libc.so.6"))
    assert facts["libc.version"] == Known(version, source)


@pytest.mark.parametrize("folder", ["/lib/aarch64-linux-gnu", "/lib"])
def test_an_image_of_another_layout_tells_its_glibc_too(folder: str) -> None:
    banner = "GNU C Library (GNU libc) stable release version 2.41.\n"

    assert probe(FakeSystem({f"{folder}/libc.so.6": banner}))["libc.version"] == Known("2.41", f"{folder}/libc.so.6")


def test_a_library_folder_that_cannot_be_listed_is_unknown() -> None:
    facts = probe(FakeSystem({"/lib64/libc.so.6": ""}, errors={"/lib64": errno.EACCES}))

    assert facts["libc.name"] == Unknown("the C library's files: Permission denied")


def test_a_libc_without_its_banner_leaves_the_version_unknown() -> None:
    facts = probe(FakeSystem({"/lib64/libc.so.6": "\0stripped\0"}))

    assert facts["libc.name"] == Known("glibc", "/lib64/libc.so.6")
    assert facts["libc.version"] == Unknown("/lib64/libc.so.6 tells no version")


@pytest.mark.parametrize(
    ("machine", "expected"), [("x86_64", "x86_64"), ("AMD64", "x86_64"), ("arm64", "aarch64"), ("riscv64", "riscv64")]
)
def test_the_architecture_has_one_name_on_every_system(machine: str, expected: str) -> None:
    assert probe(FakeSystem(uname={**UNAME, "machine": machine}))["cpu.arch"] == Known(expected, "uname")


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/lib64/ld-linux-x86-64.so.2", Known("x86_64", "/lib64/ld-linux-x86-64.so.2")),
        ("/lib/ld-linux-aarch64.so.1", Known("aarch64", "/lib/ld-linux-aarch64.so.1")),
        ("/usr/lib/aarch64-linux-gnu/libm.so.6", Known("aarch64", "/usr/lib/aarch64-linux-gnu")),
        ("/usr/lib/x86_64-linux-gnu/libm.so.6", Known("x86_64", "/usr/lib/x86_64-linux-gnu")),
        ("/lib/ld-musl-aarch64.so.1", Known("aarch64", "/lib/ld-musl-aarch64.so.1")),
        ("/lib/ld-linux-riscv64-lp64d.so.1", Unknown(f"uname: {NOT_RUNNING}")),
    ],
)
def test_an_image_tells_its_architecture_by_its_loader(path: str, expected: Fact) -> None:
    assert probe(FakeSystem({path: ""}))["cpu.arch"] == expected


def test_an_image_is_linux_where_it_says_so_and_its_kernel_is_unknown() -> None:
    facts = probe(FakeSystem({"/etc/os-release": DEBIAN_12}))

    assert facts["os.name"] == Known("linux", "/etc/os-release")
    assert facts["os.kernel"] == Unknown(f"uname: {NOT_RUNNING}")
    assert facts["proxy.catches_localhost"] == Unknown(f"variables: {NOT_RUNNING}")
    assert probe(FakeSystem())["os.name"] == Unknown(f"uname: {NOT_RUNNING}")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("MemTotal:       24684084 kB\nMemFree:         2628112 kB\n", Known(24105, "/proc/meminfo")),
        ("MemFree:         2628112 kB\n", Unknown("/proc/meminfo has no MemTotal")),
    ],
)
def test_memory_is_counted_in_mib(text: str, expected: Fact) -> None:
    assert probe(FakeSystem({"/proc/meminfo": text}))["memory.total_mib"] == expected


def test_memory_is_unknown_without_proc() -> None:
    reason = "/proc/meminfo cannot be read: No such file or directory"
    assert probe(FakeSystem())["memory.total_mib"] == Unknown(reason)


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({}, Known(False, "no HTTP proxy is set")),
        ({"http_proxy": "", "https_proxy": "http://p:3128"}, Known(False, "no HTTP proxy is set")),
        ({"http_proxy": "http://p:3128"}, Known(True, "http_proxy")),
        ({"all_proxy": "socks5://p:1080"}, Known(True, "all_proxy")),
        ({"ALL_PROXY": "socks5://p:1080"}, Known(True, "ALL_PROXY")),
        ({"HTTP_PROXY": "http://p:3128", "NO_PROXY": "localhost,.internal"}, Known(True, "HTTP_PROXY")),
        ({"HTTP_PROXY": "http://p:3128", "NO_PROXY": "localhost, 127.0.0.1"}, Known(False, "HTTP_PROXY")),
        ({"HTTP_PROXY": "http://p:3128", "NO_PROXY": "127.0.0.10"}, Known(True, "HTTP_PROXY")),
        ({"HTTP_PROXY": "http://p:3128", "no_proxy": "10.0.0.0/8,127.0.0.0/8"}, Known(False, "HTTP_PROXY")),
        ({"HTTP_PROXY": "http://p:3128", "NO_PROXY": "*"}, Known(False, "HTTP_PROXY")),
        ({"HTTP_PROXY": "http://p:3128", "NO_PROXY": "localhost,*"}, Known(True, "HTTP_PROXY")),
        # requests reads the lower-case name first
        ({"http_proxy": "http://p:3128", "no_proxy": "corp", "NO_PROXY": "127.0.0.1"}, Known(True, "http_proxy")),
    ],
)
def test_a_proxy_catches_localhost_where_requests_would_send_it_there(environ: dict[str, str], expected: Known) -> None:
    assert probe(FakeSystem(environ=environ))["proxy.catches_localhost"] == expected
