from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from sgldoctor.system.children import Child


def child(program: str) -> Child:
    return Child([sys.executable, "-c", program], env=os.environ)


def test_lines_come_as_one_stream_and_the_code_is_told() -> None:
    lines: list[str] = []
    program = "import sys;print('out',flush=True);print('err',file=sys.stderr,flush=True);print('é');sys.exit(7)"
    assert child(program).wait(lines.append, 30) == 7
    assert lines == ["out", "err", "é"]


def test_a_child_can_stand_back_for_others() -> None:
    lines: list[str] = []
    program = "import os;print(os.nice(0))"
    assert Child([sys.executable, "-c", program], env=os.environ, nice=7).wait(lines.append, 30) == 0
    assert lines == [str(min(os.nice(0) + 7, 19))]


def test_what_takes_too_long_is_stopped() -> None:
    slow = child("import time;time.sleep(600)")
    assert slow.wait(lambda _line: None, 0.5) == -signal.SIGTERM
    assert slow.timed_out


def test_what_the_child_started_is_stopped_too(tmp_path: Path) -> None:
    program = (
        "import subprocess,sys;"
        "p=subprocess.Popen([sys.executable,'-c','import time;time.sleep(600)']);print(p.pid,flush=True);p.wait()"
    )
    started = child(program)
    pids: list[int] = []

    def hear(line: str) -> None:
        pids.append(int(line))
        started.stop()

    started.wait(hear, 30)
    assert pids
    assert gone(pids[0])


def test_a_program_that_is_not_there_ends_with_an_error() -> None:
    lines: list[str] = []
    assert Child(["/nowhere/uv"], env=os.environ).wait(lines.append, 30) == 1
    assert "FileNotFoundError" in lines[-1]


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel's help is Linux's")
def test_no_child_outlives_a_doctor_that_is_killed(tmp_path: Path) -> None:
    program = (
        "import os,sys;from sgldoctor.system.children import Child;"
        "Child([sys.executable,'-c','import os,time;print(os.getpid(),flush=True);time.sleep(600)'],env=os.environ)"
        ".wait(lambda line: print(line,flush=True), 600)"
    )
    doctor = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    assert doctor.stdout
    pid = int(doctor.stdout.readline())
    doctor.kill()
    doctor.wait()
    doctor.stdout.close()
    assert gone(pid)


def gone(pid: int) -> bool:
    """Return whether a process ends within ten seconds; one that nobody waits for counts as ended."""
    for _ in range(200):
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0]
        except OSError:
            return True
        if state in {"Z", "X"}:
            return True
        time.sleep(0.05)
    return False
