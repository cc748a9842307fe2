"""A machine in memory: what it was told it answers, everything else is missing or cannot be observed."""

from __future__ import annotations

import errno
import os
import re
from posixpath import dirname, join, normpath
from typing import TYPE_CHECKING, Any

from sgldoctor.system import NotObservableError, System

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

GIB = 1 << 30
UNAME = {"system": "Linux", "machine": "x86_64", "release": "6.1.0-28-amd64"}


class FakeSystem(System):
    """Files, links and answers of a machine that does not exist.

    Folders above each file exist. `environ`, `uname`, `limits` or `libc` of None cannot be observed, as in an
    unpacked image. `errors` maps a path or a port to the errno that touching it raises. `asked` keeps every
    question, for tests that say what must not be asked.
    """

    def __init__(
        self,
        files: Mapping[str, str] | None = None,
        *,
        folders: Iterable[str] = (),
        programs: Iterable[str] = (),
        links: Mapping[str, str] | None = None,
        errors: Mapping[str | int, int] | None = None,
        unreadable: Iterable[str] = (),
        read_only: Iterable[str] = (),
        disks: Mapping[str, tuple[int, int]] | None = None,
        environ: Mapping[str, str] | None = None,
        cwd: str = "/srv/app",
        uname: Mapping[str, str] | None = None,
        limits: Mapping[str, int] | None = None,
        libc: str | None = None,
        commands: Mapping[str, tuple[int, str, str]] | None = None,
        ports: Mapping[tuple[int, str], str] | None = None,
        holders: Mapping[int, list[dict[str, Any]]] | None = None,
        words: Mapping[str, dict[str, str]] | None = None,
    ) -> None:
        self._programs = frozenset(programs)
        self._files = {**dict.fromkeys(self._programs, ""), **(files or {})}
        self._links = dict(links or {})
        self._folders = {"/", *folders}
        for path in (*self._files, *self._folders, *self._links):
            while (path := dirname(path)) != "/":
                self._folders.add(path)
        self._errors = dict(errors or {})
        self._unreadable = frozenset(unreadable)
        self._read_only = frozenset(read_only)
        self._disks = dict(disks or {})
        self._commands = dict(commands or {})
        self._ports = ports
        self._holders = dict(holders or {})
        self._words = dict(words or {})
        self._plain = {"environ": environ, "uname": uname, "limits": limits, "libc": libc, "cwd": cwd}
        self.asked: list[tuple[Any, ...]] = []

    def ask(self, question: str, *args: Any) -> Any:
        self.asked.append((question, *args))
        if self._plain.get(question) is not None:
            return self._plain[question]
        answer = getattr(self, f"_{question}", None)
        if question in self._plain or answer is None:
            raise NotObservableError("an unpacked image does not run")
        return answer(*args)

    def _real_path(self, path: str) -> str:
        path = normpath(path)
        for link, target in sorted(self._links.items(), reverse=True):
            if path == link or path.startswith(f"{link}/"):
                return self._real_path(normpath(join(dirname(link), target)) + path[len(link) :])
        return path

    def _kind(self, path: str) -> str | None:
        path = self._real_path(path)
        if path in self._unreadable:
            return "unreadable"
        return "file" if path in self._files else "dir" if path in self._folders else None

    def _touch(self, path: str) -> str:
        path = self._real_path(path)
        code = self._errors.get(path) or (0 if self._kind(path) else errno.ENOENT)
        if code:
            raise OSError(code, os.strerror(code), path)
        return path

    def _read_text(self, path: str) -> str:
        return self._files[self._touch(path)]

    def _list_dir(self, path: str) -> list[str]:
        base = self._touch(path).rstrip("/")
        below = (name for name in (*self._files, *self._folders, *self._links) if name.startswith(f"{base}/"))
        return sorted({name[len(base) + 1 :].split("/")[0] for name in below} - {""})

    def _is_executable(self, path: str) -> bool:
        return self._real_path(path) in self._programs

    def _is_writable(self, path: str) -> bool:
        return self._real_path(path) not in self._read_only

    def _disk(self, path: str) -> dict[str, int]:
        path = self._touch(path)
        while path not in self._disks and path != "/":
            path = dirname(path)
        total, free = self._disks.get(path, (100 * GIB, 50 * GIB))
        return {"total": total, "free": free}

    def _run(self, argv: list[str], timeout: float, env: dict[str, str]) -> dict[str, Any]:
        if " ".join(argv) not in self._commands:
            raise NotObservableError("an unpacked image does not run")
        code, out, err = self._commands[" ".join(argv)]
        return {"code": code, "out": out, "err": err}

    def _port_error(self, port: int, family: str) -> str | None:
        if self._ports is None:
            raise NotObservableError("an unpacked image does not run")
        return self._ports.get((port, family))

    def _port_holders(self, port: int) -> list[dict[str, Any]]:
        if code := self._errors.get(port):
            raise OSError(code, os.strerror(code))
        return self._holders[port]

    def _longest_match(self, path: str, pattern: str) -> str | None:
        text = self._files[self._touch(path)]
        return max((match[0] for match in re.finditer(pattern, text)), key=len, default=None)

    def _words_in_sources(self, folder: str, prefixes: list[str]) -> dict[str, str]:
        self._touch(folder)
        words = self._words.get(folder, {})
        return {word: file for word, file in words.items() if word.startswith(tuple(prefixes))}
