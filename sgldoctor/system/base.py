"""The questions that a probe may ask, and what their answers look like."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from posixpath import dirname, join, normpath
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

HEADER_LIMIT = 1 << 20
TEXT_LIMIT = 8 << 20


class NotObservableError(OSError):
    """This system cannot answer: an unpacked image runs nothing, a recording holds only what was asked."""


@dataclass(frozen=True, slots=True)
class Completed:
    """How a child process ended. Output is decoded as UTF-8 with replacement."""

    code: int
    out: str
    err: str


class System(ABC):
    """A machine, real or recorded. Every answer is JSON, every failure an OSError."""

    @abstractmethod
    def ask(self, question: str, *args: Any) -> Any:  # noqa: ANN401 - any JSON value
        """Answer one question; the only method that the kinds of system implement."""

    def read_text(self, path: str) -> str:
        """Return a regular file's text (at most 8 MiB; UTF-8, replacing what is not)."""
        return str(self.ask("read_text", path))

    def headers(self, path: str, names: list[str]) -> dict[str, list[str]]:
        """Return the values of some headers of a METADATA file, which end at its first empty line."""
        return dict(self.ask("headers", path, names))

    def list_dir(self, path: str) -> list[str]:
        """Return the names in a folder, sorted."""
        return list(self.ask("list_dir", path))

    def kind(self, path: str) -> str | None:
        """Return ``file``, ``dir``, ``other``, ``unreadable`` or, where nothing is there, None; links are followed."""
        return self.ask("kind", path)  # type: ignore[no-any-return]

    def real_path(self, path: str) -> str:
        """Return the path with every link resolved."""
        return str(self.ask("real_path", path))

    def is_executable(self, path: str) -> bool:
        """Return whether this user may execute that file."""
        return bool(self.ask("is_executable", path))

    def is_writable(self, path: str) -> bool:
        """Return whether this user may write to that file or folder."""
        return bool(self.ask("is_writable", path))

    def disk(self, path: str) -> dict[str, int]:
        """Return ``total`` and ``free`` bytes (free for this user) of the file system at a path."""
        return dict(self.ask("disk", path))

    def environ(self) -> Mapping[str, str]:
        """Return the environment variables."""
        return dict(self.ask("environ"))

    def cwd(self) -> str:
        """Return the current folder."""
        return str(self.ask("cwd"))

    def own_python(self) -> str:
        """Return the interpreter that runs the doctor."""
        return str(self.ask("own_python"))

    def run(self, argv: list[str], *, timeout: float = 10.0, env: Mapping[str, str] | None = None) -> Completed:
        """Run a command to its end.

        Raises:
            OSError: it does not start, or it outlives its time-out (seconds).
        """
        return Completed(**self.ask("run", argv, timeout, dict(env or {})))

    def nvml(self) -> dict[str, Any]:
        """Return what the driver's management library says; see `sgldoctor.system.nvml`."""
        return dict(self.ask("nvml"))

    def uname(self) -> dict[str, str]:
        """Return ``system``, ``machine`` and ``release``."""
        return dict(self.ask("uname"))

    def today(self) -> str:
        """Return the date, such as ``2026-11-21`` (UTC)."""
        return str(self.ask("today"))

    def limits(self) -> dict[str, int]:
        """Return soft limits ``nofile`` (files) and ``memlock`` (bytes); -1 means unlimited."""
        return dict(self.ask("limits"))

    def libc(self) -> str:
        """Return the C library's own word for itself, such as ``glibc 2.36``."""
        return str(self.ask("libc"))

    def port_error(self, port: int, family: str) -> str | None:
        """Return why a TCP port cannot be listened on (``in use``, ``permission``, ...), or None.

        Args:
            port: 1 to 65535.
            family: ``ipv4`` or ``ipv6``.
        """
        return self.ask("port_error", port, family)  # type: ignore[no-any-return]

    def port_holders(self, port: int) -> list[dict[str, Any]]:
        """Return ``{pid, name, user}`` of the processes listening on a port; pid None needs more rights."""
        return list(self.ask("port_holders", port))

    def process(self, pid: int) -> dict[str, Any]:
        """Return ``{pid, name, user}`` of a process; never its command line."""
        return dict(self.ask("process", pid))

    def process_names(self) -> list[str]:
        """Return the names of all visible processes, sorted, each once."""
        return list(self.ask("process_names"))

    def longest_match(self, path: str, pattern: str) -> str | None:
        """Return the longest text in a binary file that matches an ASCII pattern, or None; nothing is loaded."""
        return self.ask("longest_match", path, pattern)  # type: ignore[no-any-return]

    def library(self, path: str) -> dict[str, Any]:
        """Return what a shared library says of itself, unloaded.

        Keys: ``machine``, ``soname``, ``needed`` (sonames), ``rpath``, ``runpath``, ``versions_needed`` (library to
        symbol versions) and ``versions_defined``. A file that the loader would refuse has the key ``problem`` alone.

        Raises:
            OSError: it cannot be opened, or it is damaged in a way of which the loader's verdict cannot be told.
        """
        return dict(self.ask("library", path))

    def undefined(self, path: str, pattern: str) -> list[str]:
        """Return the symbols that a library must be given and whose names match a pattern; weak ones left out."""
        return list(self.ask("undefined", path, pattern))

    def unresolved(self, path: str, libraries: list[str], pattern: str = "") -> list[str]:
        """Return those of the undefined symbols that none of the libraries exports."""
        return list(self.ask("unresolved", path, libraries, pattern))

    def gpu_code(self, path: str) -> list[str]:
        """Return the targets of the GPU code in a library: ``sm_90``, ``sm_100a``, ``compute_90`` (PTX)."""
        return list(self.ask("gpu_code", path))

    def cached_libraries(self, cache: str, name: str, machine: str) -> list[str]:
        """Return where the loader's cache (``/etc/ld.so.cache``) says that a library lies."""
        return list(self.ask("cached_libraries", cache, name, machine))

    def words_in_sources(self, folder: str, prefixes: list[str]) -> dict[str, str]:
        """Return upper-case words with one of the prefixes in the Python sources below a folder.

        The value is the first file (relative, in sorted order) that holds the word.
        """
        return dict(self.ask("words_in_sources", folder, prefixes))

    def damage(self, record: str) -> list[dict[str, Any]]:
        """Return ``{path, problem}`` of a distribution's decisive files; see `record_files.damage`."""
        return list(self.ask("damage", record))

    def requirements_file(self, path: str) -> list[dict[str, Any]]:
        """Return the requirements in a file and the files that it names; see `requirement_files.read`."""
        return list(self.ask("requirements_file", path))

    def which(self, name: str) -> str | None:
        """Return the first executable file of that name on PATH, or None."""
        for folder in self.environ().get("PATH", "").split(":"):
            path = join(folder or ".", name)
            if self.kind(path) == "file" and self.is_executable(path):
                return normpath(path)
        return None

    def exists(self, path: str) -> bool:
        """Return whether anything is there."""
        return self.kind(path) is not None

    def nearest_existing(self, path: str) -> str:
        """Return the path, or the nearest folder above it that exists."""
        while not self.exists(path) and path not in {"/", ""}:
            path = dirname(path)
        return path or "/"
