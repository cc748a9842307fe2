"""How long the commands take, whole process, beside what users would run instead.

    python -m tests.benchmarks.speed --venv /path/to/an/environment/with/torch/and/sglang

Prints the median of ten runs and the peak memory (of the process and its children) for each command, after one
run to warm the caches.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

RUNS = 10


def measured(command: list[str]) -> tuple[float, float]:
    """Return seconds (median) and MiB (largest) of a command."""
    seconds: list[float] = []
    memory = 0.0
    for number in range(RUNS + 1):
        with tempfile.NamedTemporaryFile() as note:
            start = time.perf_counter()
            subprocess.run(
                [sys.executable, "-c", _WRAPPER, note.name, *command], check=True, capture_output=True, cwd=Path.home(),
            )  # fmt: skip
            whole = time.perf_counter() - start
            took, kib = map(float, Path(note.name).read_text().split())
        if number and whole >= took:
            seconds.append(took)
            memory = max(memory, kib / 1024)
    return statistics.median(seconds), memory


# The wrapper's own start is not counted; its children's peak is what the kernel reports.
_WRAPPER = (
    "import resource,subprocess,sys,time;start=time.perf_counter();"
    "subprocess.run(sys.argv[2:],stdout=subprocess.DEVNULL,stderr=subprocess.DEVNULL);"
    "took=time.perf_counter()-start;"
    "open(sys.argv[1],'w').write(f'{took} {resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss}')"
)


def commands(venv: Path) -> dict[str, list[str]]:
    """Return what is measured: ours, the two imports that the terminal needs, and the alternatives that are here."""
    own = str(Path(sys.executable).parent / "sgldoctor")
    python = str(venv / "bin/python")
    rows = {
        "import typer, rich.console": [sys.executable, "-c", "import typer, rich.console"],
        "sgldoctor --help": [own, "--help"],
        "sgldoctor check": [own, "check", "--venv", str(venv)],
        "sgldoctor check --json": [own, "check", "--venv", str(venv), "--json"],
        "torch.utils.collect_env": [python, "-m", "torch.utils.collect_env"],
    }
    if uv := shutil.which("uv"):
        rows["uv pip check"] = [uv, "pip", "check", "--python", python]
    if env_doctor := shutil.which("env-doctor"):
        rows["env-doctor check"] = [env_doctor, "check"]
    return rows


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description="How long the commands take.")
    parser.add_argument("--venv", type=Path, required=True, help="an environment with torch, sglang and kernels")
    rows = commands(parser.parse_args().venv.absolute())
    print(f"Python {sys.version.split()[0]}, {os.cpu_count()} cores, median of {RUNS}")  # noqa: T201 - a table for people
    for name, command in rows.items():
        seconds, memory = measured(command)
        print(f"{name:<28} {seconds:7.3f} s {memory:7.1f} MiB")  # noqa: T201


if __name__ == "__main__":
    main()
