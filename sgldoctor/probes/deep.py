"""What only an import can show: each module in a child process of the target, with a time-out (``--deep``)."""

from __future__ import annotations

import json
import re
import sys
from typing import TYPE_CHECKING, Any

from sgldoctor.probes.engine import folder_of
from sgldoctor.probes.packages import canonical
from sgldoctor.snapshot import Facts, Known, Unknown

if TYPE_CHECKING:
    from sgldoctor.probes.packages import Environment
    from sgldoctor.system import System

MODULES = ("torch", "flashinfer", "sgl_kernel", "sglang")
TIMEOUT = 180.0
"""Seconds for one import; a cold import of torch from a network disk takes a minute."""

_MARK = "sgldoctor-imported-in"
_IMPORT = (
    "import sys,time;start=time.monotonic();import importlib;importlib.import_module(sys.argv[1]);"
    f"sys.stderr.flush();print('\\n{_MARK}',round(time.monotonic()-start,2))"
)
_PIP = (
    "import json,pip_api;print(json.dumps([pip_api.version(),"
    "{name:str(d.version) for name,d in pip_api.installed_distributions().items()}]))"
)
_ERROR_LINE = re.compile(r"^(?:[\w.]+\.)?\w*(?:Error|Exception|Interrupt|Exit)\b", re.MULTILINE)


def probe(system: System, environment: Environment, executable: str, folders: list[str]) -> Facts:
    """Return which imports work in the target, and where pip sees other distributions than the doctor."""
    records = [_imported(system, executable, name) for name in MODULES if folder_of(system, folders, name)]
    return {
        "imports": Known(records, f"{executable} -c 'import ...'"),
        **_pip_view(system, environment, executable),
    }


def _imported(system: System, executable: str, module: str) -> dict[str, Any]:
    record: dict[str, Any] = {"module": module, "ok": False, "seconds": None, "error": None}
    try:
        done = system.run([executable, "-c", _IMPORT, module], timeout=TIMEOUT)
    except OSError as error:
        return record | {"error": error.strerror or str(error)}
    if done.code == 0 and (match := re.search(rf"{_MARK} ([\d.]+)", done.out)):
        return record | {"ok": True, "seconds": float(match[1])}
    return record | {"error": error_of(done.err, done.code)}


def error_of(text: str, code: int) -> str:
    """Return the last error of a traceback as one line of at most 300 characters; never the whole output.

    Such as ``ImportError: libnuma.so.1: cannot open shared object file: No such file or directory``; what kernels
    from 0.3.13 on say goes over many lines, of which the first is ``ImportError:`` alone.
    """
    if code < 0:
        return f"killed by signal {-code}"
    found = list(_ERROR_LINE.finditer(text))
    return " ".join(text[found[-1].start() :].split())[:300] if found else f"exit code {code}"


def _pip_view(system: System, environment: Environment, executable: str) -> Facts:
    names = ("pip.version", "pip.differences")
    if environment.get("pip") is None:
        return dict.fromkeys(names, Known(None, "the environment holds no pip"))
    try:
        done = system.run([sys.executable, "-c", _PIP], timeout=60, env={"PIPAPI_PYTHON_LOCATION": executable})
        version, listed = json.loads(done.out)
    except OSError as error:
        return dict.fromkeys(names, Unknown(f"pip-api did not answer: {error.strerror or error}"))
    except ValueError:
        return dict.fromkeys(names, Unknown(f"pip-api did not answer: {error_of(done.err, done.code)}"))
    seen = {name: found.version for name in environment.names() if (found := environment.get(name))}
    told = {canonical(name): text for name, text in listed.items()}
    differences = [
        {"name": name, "pip": told.get(name), "seen": seen.get(name)}
        for name in sorted(seen.keys() | told.keys())
        if told.get(name) != seen.get(name)
    ]
    return {"pip.version": Known(version, "pip-api"), "pip.differences": Known(differences, "pip-api")}
