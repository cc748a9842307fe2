"""This machine, or an unpacked image of one."""

from __future__ import annotations

import os
import re
import stat
import sys
from functools import cached_property
from mmap import ACCESS_READ, mmap
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sgldoctor.system.base import HEADER_LIMIT, TEXT_LIMIT, NotObservableError, System

if TYPE_CHECKING:
    from sgldoctor.system.libraries import Libraries

NEEDS_A_RUNNING_SYSTEM = frozenset(
    {
        "cwd", "environ", "libc", "limits", "nvml", "own_python", "port_error", "port_holders",
        "process", "process_names", "run", "uname",
    }
)  # fmt: skip
_MAX_LINKS = 40  # as the Linux kernel does (path_resolution(7))


class RealSystem(System):
    """Answers from this machine; with a root, from the files below that folder alone."""

    def __init__(self, root: str | None = None) -> None:
        self._root = os.path.realpath(root) if root else None

    def ask(self, question: str, *args: Any) -> Any:  # noqa: ANN401
        """Answer by the method of the same name with an underscore in front."""
        if self._root and question in NEEDS_A_RUNNING_SYSTEM:
            raise NotObservableError("an unpacked image does not run")
        if not args or not isinstance(args[0], str):
            return getattr(self, f"_{question}")(*args)
        return getattr(self, f"_{question}")(self._place(args[0]), *args[1:])

    def _place(self, path: str) -> str:
        """Return where a path of the examined system lies on this one; links never leave the root."""
        if not self._root:
            return path
        done: list[str] = []
        todo, links = path.split("/"), 0
        while todo:
            name = todo.pop(0)
            if name in {"", "."}:
                continue
            if name == "..":
                del done[-1:]
                continue
            here = os.path.join(self._root, *done, name)
            if os.path.islink(here) and (links := links + 1) <= _MAX_LINKS:
                target = os.readlink(here)
                done = [] if target.startswith("/") else done
                todo = [*target.split("/"), *todo]
            else:
                done.append(name)
        return os.path.join(self._root, *done)

    def _open(self, path: str) -> int:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            os.close(descriptor)
            raise OSError(f"not a regular file: {path}")
        return descriptor

    def _read_text(self, path: str) -> str:
        with os.fdopen(self._open(path), "rb") as file:
            return file.read(TEXT_LIMIT).decode("utf-8", "replace")

    def _headers(self, path: str, names: list[str]) -> dict[str, list[str]]:
        """Read RFC 822 headers; a line that begins with white space continues the one above it."""
        with os.fdopen(self._open(path), "rb") as file:
            data = file.read(HEADER_LIMIT).replace(b"\r\n", b"\n")
        found: dict[str, list[str]] = {}
        name = ""
        for line in data.partition(b"\n\n")[0].decode("utf-8", "replace").split("\n"):
            if line[:1] not in {" ", "\t"}:
                name, _, value = line.partition(":")
                if name in names:
                    found.setdefault(name, []).append(value.strip())
            elif name in names:
                found[name][-1] += f" {line.strip()}"
        return found

    def _list_dir(self, path: str) -> list[str]:
        return sorted(os.listdir(path))

    def _kind(self, path: str) -> str | None:
        try:
            mode = os.stat(path).st_mode
        except (FileNotFoundError, NotADirectoryError):
            return None
        except (OSError, ValueError):  # no permission, links in a circle, a NUL byte in the path
            return "unreadable"
        return "file" if stat.S_ISREG(mode) else "dir" if stat.S_ISDIR(mode) else "other"

    def _real_path(self, path: str) -> str:
        if self._root:
            return "/" + os.path.relpath(path, self._root)
        return os.path.realpath(path)

    def _is_executable(self, path: str) -> bool:
        return os.access(path, os.X_OK)

    def _is_writable(self, path: str) -> bool:
        return os.access(path, os.W_OK)

    def _disk(self, path: str) -> dict[str, int]:
        numbers = os.statvfs(path)
        return {"total": numbers.f_frsize * numbers.f_blocks, "free": numbers.f_frsize * numbers.f_bavail}

    def _environ(self) -> dict[str, str]:
        return dict(os.environ)

    def _cwd(self) -> str:
        return os.getcwd()

    def _own_python(self) -> str:
        return sys.executable

    def _run(self, argv: list[str], timeout: float, env: dict[str, str]) -> dict[str, Any]:
        import subprocess  # noqa: PLC0415 - most checks start no process

        try:
            done = subprocess.run(
                argv, capture_output=True, check=False, timeout=timeout, stdin=subprocess.DEVNULL,
                env={**os.environ, **env} if env else None, start_new_session=True,
            )  # fmt: skip
        except subprocess.TimeoutExpired:
            raise TimeoutError(f"{argv[0]} took longer than {timeout:g} s") from None
        return {
            "code": done.returncode,
            "out": done.stdout.decode("utf-8", "replace"),
            "err": done.stderr.decode("utf-8", "replace"),
        }

    def _nvml(self) -> dict[str, Any]:
        from sgldoctor.system.nvml import read  # noqa: PLC0415 - the binding is heavy

        return read()

    def _uname(self) -> dict[str, str]:
        name = os.uname()
        return {"system": name.sysname, "machine": name.machine, "release": name.release}

    def _today(self) -> str:
        from datetime import datetime, timezone  # noqa: PLC0415 - asked once

        return datetime.now(timezone.utc).date().isoformat()

    def _limits(self) -> dict[str, int]:
        import resource  # noqa: PLC0415 - absent on Windows

        return {
            "nofile": resource.getrlimit(resource.RLIMIT_NOFILE)[0],
            "memlock": resource.getrlimit(resource.RLIMIT_MEMLOCK)[0],
        }

    def _libc(self) -> str:
        try:
            return os.confstr("CS_GNU_LIBC_VERSION") or ""
        except ValueError:
            raise NotObservableError("this C library is not the GNU one") from None

    def _port_error(self, port: int, family: str) -> str | None:
        from sgldoctor.system.sockets import listen_error  # noqa: PLC0415 - only when a port is asked for

        return listen_error(port, family)

    def _port_holders(self, port: int) -> list[dict[str, Any]]:
        from sgldoctor.system.sockets import holders  # noqa: PLC0415 - psutil is heavy

        return holders(port)

    def _process(self, pid: int) -> dict[str, Any]:
        from sgldoctor.system.sockets import process  # noqa: PLC0415 - psutil is heavy

        return process(pid)

    def _process_names(self) -> list[str]:
        names = set()
        for entry in Path("/proc").glob("[0-9]*/comm"):
            try:
                names.add(entry.read_text(errors="replace").strip())
            except OSError:  # the process ended between the listing and the reading
                continue
        return sorted(names)

    def _damage(self, record: str) -> list[dict[str, Any]]:
        from sgldoctor.system.record_files import damage  # noqa: PLC0415 - only for an environment

        return damage(record)

    def _requirements_file(self, path: str) -> list[dict[str, Any]]:
        from sgldoctor.system.requirement_files import read  # noqa: PLC0415 - the parser is heavy

        return read(path)

    def _longest_match(self, path: str, pattern: str) -> str | None:
        with os.fdopen(self._open(path), "rb") as file, mmap(file.fileno(), 0, access=ACCESS_READ) as data:
            return max((m[0].decode() for m in re.finditer(pattern.encode(), data)), key=len, default=None)

    @cached_property
    def _libraries(self) -> Libraries:
        from sgldoctor.system.libraries import Libraries  # noqa: PLC0415 - only where a library is asked for

        return Libraries(self._open)

    def _library(self, path: str) -> dict[str, Any]:
        return self._libraries.library(path)

    def _undefined(self, path: str, pattern: str) -> list[str]:
        return self._libraries.undefined(path, pattern)

    def _unresolved(self, path: str, libraries: list[str], pattern: str) -> list[str]:
        return self._libraries.unresolved(path, [self._place(other) for other in libraries], pattern)

    def _gpu_code(self, path: str) -> list[str]:
        return self._libraries.gpu_code(path)

    def _cached_libraries(self, cache: str, name: str, machine: str) -> list[str]:
        return self._libraries.cached(cache, name, machine)

    def _words_in_sources(self, folder: str, prefixes: list[str]) -> dict[str, str]:
        # The prefix stands first and is looked behind from its end: a search for a literal, 40 times as fast.
        patterns = [re.compile(rf"{p}(?<![A-Za-z0-9_]{p})[A-Z0-9_]+".encode()) for p in prefixes]
        found: dict[str, str] = {}
        for path in sorted(Path(folder).rglob("*.py")):
            if self._root and path.is_symlink():
                continue
            data = path.read_bytes()
            for word in {match for pattern in patterns for match in pattern.findall(data)}:
                found.setdefault(word.decode(), str(path.relative_to(folder)))
        return found
