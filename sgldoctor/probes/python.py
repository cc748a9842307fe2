"""The interpreter under examination: which one, and where it imports from, found without running it."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field, replace
from posixpath import basename, dirname, join, normpath
from typing import TYPE_CHECKING

from sgldoctor.errors import TargetError
from sgldoctor.snapshot import Fact, Facts, Known, Unknown

if TYPE_CHECKING:
    from sgldoctor.system import System

MADE_FOR = ".sgldoctor/made-for"
"""The file inside an environment in which an installation of this tool says what it is for."""

_LIBRARY = re.compile(r"^(python|pypy)(3\.\d+)(t?)$")
_EXECUTABLE = re.compile(r"^(python|pypy)(3\.\d+)(t?)$")
_SCRIPT = (
    "import sys,json,platform;print(json.dumps([sys.executable,sys.prefix,sys.base_prefix,"
    "platform.python_version(),sys.path]))"
)


@dataclass(frozen=True, slots=True)
class Interpreter:
    """One Python environment; None where a detail could not be found."""

    executable: str
    prefix: str
    base_prefix: str | None
    kind: str
    minor: str
    free_threaded: bool = False
    implementation: str = "cpython"
    version: str | None = None
    sees_system_packages: bool | None = None
    settings: dict[str, str] = field(default_factory=dict)

    @property
    def library(self) -> str:
        """The name of its folder below ``lib``."""
        return f"{'pypy' if self.implementation == 'pypy' else 'python'}{self.minor}{'t' * self.free_threaded}"


def read_venv(system: System, prefix: str) -> Interpreter:
    """Return the environment in a folder.

    Raises:
        TargetError: there is no such folder, it cannot be read, or it is no Python environment.
    """
    prefix = prefix.rstrip("/") or "/"
    try:
        kind = system.kind(prefix)
        names = system.list_dir(prefix) if kind == "dir" else []
    except OSError as error:
        raise TargetError(f"Cannot read {prefix}: {error.strerror or error}.") from None
    if kind != "dir":
        what = "is no folder" if kind else "does not exist"
        raise TargetError(f"{prefix} {what}. Name the folder of a venv or conda environment.")
    found = _from_prefix(system, prefix, names)
    if found is None:
        raise TargetError(
            f"{prefix} is no Python environment: it holds neither pyvenv.cfg nor conda-meta nor lib/python3.*. "
            "Name the folder that holds bin/python."
        )
    return found


def read_executable(system: System, path: str) -> Interpreter:
    """Return the environment of an interpreter; a shim that hides its place is run once, isolated.

    Raises:
        TargetError: it is no executable file, or running it told nothing.
    """
    if system.kind(path) != "file":
        raise TargetError(
            f"{path} is no interpreter: no such file. Name a Python executable, such as .venv/bin/python."
        )
    prefix = dirname(dirname(path))
    names = _names(system, prefix)
    if "pyvenv.cfg" in names and (found := _from_prefix(system, prefix, names)):
        return replace(found, executable=path)
    real = system.real_path(path)
    prefix = dirname(dirname(real))
    found = _from_prefix(system, prefix, _names(system, prefix), real)
    return replace(found, executable=path) if found else _by_running(system, path)


def _names(system: System, folder: str) -> list[str]:
    try:
        return system.list_dir(folder)
    except OSError:
        return []


def _from_prefix(system: System, prefix: str, names: list[str], executable: str = "") -> Interpreter | None:
    settings = _settings(system, prefix) if "pyvenv.cfg" in names else {}
    library = _library(system, prefix, executable, settings)
    if library is None:
        return None
    word, minor, threads = library
    executable = executable or next(
        (
            join(prefix, "bin", name)
            for name in ("python", "python3", f"{word}{minor}")
            if name in _names(system, f"{prefix}/bin")
        ),
        join(prefix, "bin", "python"),
    )
    found = Interpreter(
        executable, prefix, prefix, "system", minor, bool(threads), "pypy" if word == "pypy" else "cpython",
        settings=settings,
    )  # fmt: skip
    if "pyvenv.cfg" in names:
        home = settings.get("home")
        return replace(
            found,
            kind="venv",
            base_prefix=dirname(home.rstrip("/")) if home else None,
            version=_version_in(settings.get("version_info") or settings.get("version")),
            sees_system_packages=settings.get("include-system-site-packages", "").lower() == "true",
        )
    if "conda-meta" in names:
        return replace(found, kind="conda", version=_conda_version(system, prefix))
    return replace(found, version=_header_version(system, prefix, found.library))


def _settings(system: System, prefix: str) -> dict[str, str]:
    """Read pyvenv.cfg, such as ``version_info = 3.12.1`` or ``home = /usr/bin``."""
    try:
        lines = system.read_text(join(prefix, "pyvenv.cfg")).splitlines()
    except OSError:
        return {}
    pairs = (line.partition("=") for line in lines if "=" in line)
    return {key.strip().lower(): value.strip() for key, _, value in pairs}


def _library(system: System, prefix: str, executable: str, settings: dict[str, str]) -> tuple[str, str, str] | None:
    """Return (python or pypy, minor version, ``t`` or nothing) from the folders below lib."""
    found = {match[0]: match for name in _names(system, join(prefix, "lib")) if (match := _LIBRARY.match(name))}
    if match := _EXECUTABLE.match(basename(executable)):
        return (match[1], match[2], match[3]) if match[0] in found or not found else None
    if version := _version_in(settings.get("version_info") or settings.get("version")):
        minor = ".".join(version.split(".")[:2])
        found = {name: match for name, match in found.items() if match[2] == minor} or found
    for name in sorted(found, key=lambda name: int(found[name][2].split(".")[1]), reverse=True):
        match = found[name]
        if (
            settings
            or system.exists(join(prefix, "lib", name, "os.py"))
            or system.exists(join(prefix, "lib", name, "site-packages"))
        ):
            return match[1], match[2], match[3]
    return None


def _version_in(text: str | None) -> str | None:
    match = re.match(r"\d+\.\d+\.\d+(?:(?:a|b|rc)\d+)?", text or "")
    return match[0] if match else None


def _conda_version(system: System, prefix: str) -> str | None:
    """Return the version in a name such as ``python-3.10.13-h955ad1f_0.json``."""
    for name in _names(system, join(prefix, "conda-meta")):
        if match := re.match(r"python-(\d+\.\d+\.\d+)-", name):
            return match[1]
    return None


def _header_version(system: System, prefix: str, library: str) -> str | None:
    """Return the version in patchlevel.h: ``#define PY_VERSION "3.11.7"``."""
    try:
        text = system.read_text(join(prefix, "include", library, "patchlevel.h"))
    except OSError:
        return None
    match = re.search(r'#define\s+PY_VERSION\s+"([^"+]+)', text)
    return match[1] if match else None


def _by_running(system: System, path: str) -> Interpreter:
    try:
        done = system.run([path, "-I", "-S", "-c", _SCRIPT])
        executable, prefix, base, version, _path = json.loads(done.out)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "it did not answer as an interpreter does"
        raise TargetError(
            f"{path} cannot be examined: {reason}. Name a Python executable, such as .venv/bin/python."
        ) from None
    names = _names(system, prefix)
    found = _from_prefix(system, prefix, names, executable)
    if found is None:
        minor = ".".join(version.split(".")[:2])
        found = Interpreter(executable, prefix, base, "system", minor)
    return replace(found, executable=path, version=version)


def site_packages(system: System, found: Interpreter) -> list[str]:
    """Return the folders that this interpreter imports packages from, in its order, with ``.pth`` entries."""
    folders = _own_folders(system, found)
    if found.kind == "venv" and found.sees_system_packages and found.base_prefix:
        folders += _system_folders(system, replace(found, prefix=found.base_prefix))
    folders = [*_python_path(system), *folders]
    folders = list(dict.fromkeys(folder for folder in folders if system.kind(folder) == "dir"))
    real: dict[str, str] = {}
    for folder in folders:
        real.setdefault(system.real_path(folder), folder)
    folders = list(real.values())
    for folder in list(folders):
        folders += [path for path in _pth_entries(system, folder) if path not in folders]
    return folders


def _own_folders(system: System, found: Interpreter) -> list[str]:
    if found.kind == "venv":
        return [join(found.prefix, lib, found.library, "site-packages") for lib in ("lib", "lib64")]
    return _system_folders(system, found)


def _system_folders(system: System, found: Interpreter) -> list[str]:
    """Return the folders of an installation; Debian and Fedora add their own (site.py of each)."""
    folders = []
    try:
        environ = system.environ()
    except OSError:
        environ = {}
    user = environ.get("PYTHONUSERBASE") or (join(environ["HOME"], ".local") if environ.get("HOME") else None)
    if user and not environ.get("PYTHONNOUSERSITE"):
        folders.append(join(user, "lib", found.library, "site-packages"))
    if found.prefix == "/usr":
        folders += [
            f"/usr/local/lib/{found.library}/dist-packages",
            f"/usr/local/lib64/{found.library}/site-packages",
            f"/usr/local/lib/{found.library}/site-packages",
            "/usr/lib/python3/dist-packages",
            f"/usr/lib/{found.library}/dist-packages",
        ]
    return folders + [join(found.prefix, lib, found.library, "site-packages") for lib in ("lib64", "lib")]


def _python_path(system: System) -> list[str]:
    """Return the folders of PYTHONPATH; one that is relative counts from the current folder."""
    try:
        entries = [path for path in system.environ().get("PYTHONPATH", "").split(":") if path]
        return [path if path.startswith("/") else normpath(join(system.cwd(), path)) for path in entries]
    except OSError:
        return []


def _pth_entries(system: System, folder: str) -> list[str]:
    entries = []
    for name in _names(system, folder):
        if not name.endswith(".pth"):
            continue
        try:
            lines = system.read_text(join(folder, name)).splitlines()
        except OSError:
            continue
        for line in lines:
            path = join(folder, line.strip())
            if line.strip() and not line.startswith(("#", "import ", "import\t")) and system.kind(path) == "dir":
                entries.append(path)
    return entries


def _made_for(system: System, path: str) -> Fact:
    """Return what an installation of this tool wrote into the environment; None where it made none."""
    try:
        return Known(system.read_text(path).strip(), path)
    except (FileNotFoundError, NotADirectoryError):
        return Known(None, path)
    except OSError as error:
        return Unknown(f"{path} cannot be read: {error.strerror or error}")


def probe(system: System, found: Interpreter, folders: list[str]) -> Facts:
    """Return the facts about the interpreter itself."""
    base = found.base_prefix or found.prefix
    source = f"{found.prefix}/pyvenv.cfg" if found.kind == "venv" else found.prefix
    marker = join(base, "lib", found.library, "EXTERNALLY-MANAGED")
    base_missing = found.kind == "venv" and system.kind(found.executable) is None
    return {
        "python.executable": Known(found.executable, source),
        "python.prefix": Known(found.prefix, source),
        "python.version": Known(found.version or found.minor, source),
        "python.minor": Known(found.minor, source),
        "python.implementation": Known(found.implementation, source),
        "python.free_threaded": Known(found.free_threaded, source),
        "python.environment": Known(found.kind, source),
        "python.externally_managed": Known(found.kind == "system" and system.exists(marker), marker),
        "python.sees_system_packages": Known(bool(found.sees_system_packages), source),
        "python.site_packages": Known(list(folders), source)
        if folders
        else Unknown(f"{found.prefix} has no site-packages folder"),
        "python.base_missing": Known(base_missing, source),
        "python.made_for": _made_for(system, join(found.prefix, MADE_FOR)),
    }
