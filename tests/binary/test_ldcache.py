"""The loader's cache: what ldconfig prints of this machine's, and bytes that are none."""

from __future__ import annotations

import platform
import re
import shutil
import struct
import subprocess
from pathlib import Path

import pytest

from sgldoctor.binary.ldcache import parse
from sgldoctor.system import RealSystem

LDCONFIG = shutil.which("ldconfig", path="/sbin:/usr/sbin:/bin:/usr/bin")
X86, ARM = 0x0303, 0x0A03


def cache(*entries: tuple[int, int, str, str], old: int | None = None) -> bytes:
    """Return a cache of (flags, hardware, name, path), after an older table if `old` entries are wanted."""
    table, texts = b"", b""
    start = 48 + 24 * len(entries)
    for flags, hardware, name, path in entries:
        table += struct.pack("<iIIIQ", flags, start + len(texts), start + len(texts) + len(name) + 1, 0, hardware)
        texts += f"{name}\0{path}\0".encode()
    before = b"" if old is None else b"ld.so-1.7.0\0" + struct.pack("<I", old) + bytes(12 * old)
    before += bytes(-len(before) % 8)
    return before + b"glibc-ld.so.cache1.1" + struct.pack("<II", len(entries), len(texts)) + bytes(20) + table + texts


ENTRIES = (
    (X86, 0, "libz.so.1", "/usr/local/lib/libz.so.1"),
    (ARM, 0, "libz.so.1", "/lib/aarch64-linux-gnu/libz.so.1"),
    (X86, 1 << 62, "libz.so.1", "/lib/x86_64-linux-gnu/glibc-hwcaps/x86-64-v3/libz.so.1"),
    (X86, 0, "libz.so.1", "/lib/x86_64-linux-gnu/libz.so.1"),
    (0x0003, 0, "libz.so.1", "/lib/i386-linux-gnu/libz.so.1"),
    (X86, 0, "libcuda.so.1", "/lib/x86_64-linux-gnu/libcuda.so.1"),
)


@pytest.mark.parametrize("old", [None, 0, 1, 2, 3])
def test_the_entries_of_one_machine_are_read_in_the_caches_order(old: int | None) -> None:
    data = cache(*ENTRIES, old=old)
    assert parse(data, "x86_64") == {
        "libz.so.1": ["/usr/local/lib/libz.so.1", "/lib/x86_64-linux-gnu/libz.so.1"],
        "libcuda.so.1": ["/lib/x86_64-linux-gnu/libcuda.so.1"],
    }
    assert parse(data, "aarch64") == {"libz.so.1": ["/lib/aarch64-linux-gnu/libz.so.1"]}
    assert parse(data, "riscv64") == {}


@pytest.mark.skipif(
    LDCONFIG is None or not Path("/etc/ld.so.cache").exists(), reason="this machine has no ldconfig or no cache"
)
def test_the_cache_of_this_machine_holds_what_ldconfig_prints() -> None:
    kind = {"x86_64": "libc6,x86-64", "aarch64": "libc6,AArch64"}[platform.machine()]
    printed = subprocess.run([str(LDCONFIG), "-p"], capture_output=True, text=True, check=True).stdout
    expected: dict[str, list[str]] = {}
    for name, path in re.findall(rf"^\t(\S+) \({kind}(?:, OS ABI: [^)]*)?\) => (\S+)$", printed, re.MULTILINE):
        expected.setdefault(name, []).append(path)
    assert parse(Path("/etc/ld.so.cache").read_bytes(), platform.machine()) == expected


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "it is no library cache of glibc"),
        (b"ld.so-1.7.0\0", "it is no library cache of glibc"),
        (b"ld.so-1.7.0\0\xff\xff", "it is no library cache of glibc"),
        (b"ld.so-1.7.0\0\xff\xff\xff\xff", "it is no library cache of glibc"),
        (b"ld-musl-x86_64.path", "it is no library cache of glibc"),
        (b"glibc-ld.so.cache1.1", "it ends within its table"),
        (cache()[:47], "it ends within its table"),
        (cache(*ENTRIES)[:100], "it ends within its table"),
        (cache(*ENTRIES)[:-1], "its strings have no end"),
        (cache((X86, 0, "x", "/" * 5000)), "its strings have no end"),
        (cache()[:20] + b"\xff" * 4 + cache()[24:], "it ends within its table"),
    ],
)
def test_damaged_caches_are_told(data: bytes, reason: str) -> None:
    with pytest.raises(ValueError, match=f"^{reason}$"):
        parse(data, "x86_64")


def test_strings_that_overlap_do_not_fill_the_memory() -> None:
    count = 20_000
    texts = 48 + 24 * count
    data = b"glibc-ld.so.cache1.1" + struct.pack("<II", count, 4001) + bytes(20)
    data += struct.pack("<iIIIQ", X86, texts, texts, 0, 0) * count + b"x" * 4000 + b"\0"
    with pytest.raises(ValueError, match="its strings are longer than itself"):
        parse(data, "x86_64")


def test_a_cache_that_is_none_is_told_with_its_path(tmp_path: Path) -> None:
    (tmp_path / "ld.so.cache").write_bytes(cache(*ENTRIES)[:60])
    with pytest.raises(OSError, match=f"^{tmp_path}/ld.so.cache: it ends within its table$"):
        RealSystem().cached_libraries(f"{tmp_path}/ld.so.cache", "libz.so.1", "x86_64")
