"""How fast `explain` is, beside `grep -F -f` with the literals of the same patterns.

    python -m tests.benchmarks.explain --megabytes 1024

Writes a log of that size to a temporary folder: telemetry, requests and bodies of several releases, and one error at
its end. Prints MB/s and peak memory of both, each a whole process, and the time from start to answer for one line.
"""

from __future__ import annotations

import argparse
import os
import random
import re
import shutil
import sys
import tempfile
from pathlib import Path

from sgldoctor.explain.scan import patterns_of
from sgldoctor.rules.book import open_book
from tests.benchmarks.speed import measured

_WORDS = ("the", "model", "error", "memory", "cuda", "failed", "usage", "not", "found", "version", "library", "kernel")
_LAST = "ImportError: libnuma.so.1: cannot open shared object file: No such file or directory\n"


def write_log(path: Path, size: int) -> None:
    """Write a server's log of so many bytes."""
    chance = random.Random(7)
    with path.open("w", encoding="utf-8") as file:
        second = 0
        while file.tell() < size:
            lines = []
            for _ in range(5000):
                second += 1
                stamp = f"[2026-11-{1 + second // 86400 % 28:02d} {second // 3600 % 24:02d}:{second // 60 % 60:02d}:{second % 60:02d}"
                lines.append(f"{stamp}{_line(chance, chance.random())}\n")
            file.write("".join(lines))
        file.write(_LAST)


def _line(chance: random.Random, kind: float) -> str:
    many = chance.randrange(90000)
    if kind < 0.6:
        return (
            f" TP0] Decode batch, #running-req: {many % 60}, #token: {many}, token usage: 0.{many % 90 + 10}, cuda graph: "
            f"True, gen throughput (token/s): {many / 30:.2f}, #queue-req: {many % 9}"
        )
    if kind < 0.8:
        return (
            f" TP0] Prefill batch, #new-seq: 1, #new-token: {many % 8192}, #cached-token: {many % 4096}, token usage: "
            f"0.{many % 90 + 10}, #running-req: {many % 60}, #queue-req: {many % 9}"
        )
    if kind < 0.97:
        return f'] INFO:     10.0.{many % 255}.7:{many} - "POST /v1/chat/completions HTTP/1.1" 200 OK'
    text = " ".join(chance.choice(_WORDS) for _ in range(40))
    return f"] Receive: obj=GenerateReqInput(rid='{many:032x}', text='{text}')"


def literals() -> list[str]:
    """Return the longest literal of each pattern."""
    found = {
        max(re.split(r"\\[wWdDsSbB]|\\.(?<![\\][.()\[\]{}+*?|/^$'\"-])|[.*+?()\[\]{}|^$]", pattern), key=len)
        for outline in open_book().outlines.values()
        for signature in outline.signatures
        for pattern in patterns_of(signature)
    }
    return sorted(plain for text in found if len(plain := text.replace("\\", "")) >= 4)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--megabytes", type=int, default=1024)
    size = parser.parse_args().megabytes << 20
    own = str(Path(sys.executable).parent / "sgldoctor")
    folder = Path(tempfile.mkdtemp())
    try:
        log, words = folder / "server.log", folder / "literals"
        write_log(log, size)
        words.write_text("\n".join(literals()) + "\n", encoding="utf-8")
        rows = {
            "sgldoctor explain LOG": [own, "explain", str(log)],
            f"grep -F, {len(literals())} literals": ["sh", "-c", f"grep -c -F -f {words} {log} | cat"],
        }
        for name, command in rows.items():
            seconds, memory = measured(command)
            print(f"{name:<28} {seconds:8.2f} s {log.stat().st_size / seconds / 1e6:8.0f} MB/s {memory:6.0f} MiB")  # noqa: T201
        seconds, memory = measured([own, "explain", _LAST.strip()])
        print(f"{'sgldoctor explain TEXT':<28} {seconds:8.2f} s {'':>13} {memory:6.0f} MiB")  # noqa: T201
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    os.environ["LC_ALL"] = "C.UTF-8"
    main()
