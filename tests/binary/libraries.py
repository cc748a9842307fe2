"""Small shared libraries made by the compiler, and what the real loader does with them in a child process."""

from __future__ import annotations

import json
import os
import platform
import re
import shutil
import struct
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

COMPILER = shutil.which("gcc") or shutil.which("cc")
needs_compiler = pytest.mark.skipif(
    COMPILER is None or platform.libc_ver()[0] != "glibc", reason="no C compiler for glibc is here"
)

_CHILD = """
import ctypes, json, sys
error = None
for path, shared in json.loads(sys.argv[1]):
    try:
        ctypes.CDLL(path, mode=ctypes.RTLD_GLOBAL if shared else ctypes.RTLD_LOCAL)
    except OSError as failure:
        error = str(failure)
        break
print(json.dumps(error))
"""


def build(path: Path, source: str = "", *flags: str, needs: tuple[Path, ...] = ()) -> Path:
    """Compile a shared library; `flags` are the linker's, `needs` become NEEDED by their sonames."""
    path.parent.mkdir(parents=True, exist_ok=True)
    options = [flag if flag.startswith("/") else f"-Wl,{flag}" for flag in ("--no-as-needed", "-z,lazy", *flags)]
    subprocess.run(
        [str(COMPILER), "-shared", "-fPIC", "-nostdlib", "-o", str(path), "-x", "c", "-", "-x", "none",
         *options, *map(str, needs)],
        input=source.encode(), check=True, capture_output=True,
    )  # fmt: skip
    return path


def with_bytes(path: Path, edits: dict[int, bytes], new: Path | None = None) -> Path:
    """Write a copy (or the file itself) with other bytes at some offsets."""
    data = bytearray(path.read_bytes())
    for at, piece in edits.items():
        data[at : at + len(piece)] = piece
    new = new or path
    new.parent.mkdir(parents=True, exist_ok=True)
    new.write_bytes(data)
    return new


def tag_offset(path: Path, tag: int) -> int:
    """Return where in a library the value of an entry of its dynamic section stands."""
    data = path.read_bytes()
    start, count = struct.unpack_from("<Q", data, 32)[0], struct.unpack_from("<H", data, 56)[0]
    for number in range(count):
        kind, _flags, offset = struct.unpack_from("<IIQ", data, start + 56 * number)
        while kind == 2:
            found, _value = struct.unpack_from("<QQ", data, offset)
            if found == tag:
                return int(offset + 8)
            assert found, f"no entry {tag:#x}"
            offset += 16
    raise AssertionError("no dynamic section")


@dataclass(frozen=True)
class Outcome:
    """The loader's own message, or None, and where it found each library that it searched."""

    error: str | None
    where: dict[str, str]


def really_load(folder: Path, *loads: Path | str, library_path: str = "", shared: tuple[Path, ...] = ()) -> Outcome:
    """Load libraries into a child process, `shared` ones with RTLD_GLOBAL."""
    debug = folder / "ld-debug"
    debug.mkdir(exist_ok=True)
    for old in debug.iterdir():
        old.unlink()
    environ = {name: value for name, value in os.environ.items() if not name.startswith("LD_")}
    environ |= {"LD_DEBUG": "libs,files", "LD_DEBUG_OUTPUT": f"{debug}/log"}
    if library_path:
        environ["LD_LIBRARY_PATH"] = library_path
    asked = json.dumps([(str(path), path in shared) for path in loads])
    done = subprocess.run(
        [os.path.realpath(sys.executable), "-I", "-c", _CHILD, asked],
        env=environ, capture_output=True, text=True, check=True,
    )  # fmt: skip
    log = "".join(file.read_text("utf-8", "replace") for file in debug.iterdir())
    found: dict[str, str] = {}
    name = tried = ""
    for line in log.splitlines():
        if match := re.search(r"find library=(\S+) \[0\]; searching", line):
            name, tried = match[1], ""
        elif match := re.search(r"trying file=(\S+)", line):
            tried = match[1]
        elif tried and re.search(rf"file={re.escape(name)} \[0\];  generating link map", line):
            found[name] = os.path.normpath(os.path.join(Path.cwd(), tried))
    return Outcome(json.loads(done.stdout), found)
