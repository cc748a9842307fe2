"""The command as a user meets it: first lines, exit codes, pipes, and hostile input."""

from __future__ import annotations

import gzip
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from sgldoctor.cli.app import run
from sgldoctor.schema import schema_text
from tests.environments import add, make_venv

NUMA = "ImportError: libnuma.so.1: cannot open shared object file: No such file or directory"
FIRST = "FAIL: libnuma.so.1 is not on this machine."
COMMAND = [sys.executable, "-m", "sgldoctor", "explain"]


def explained(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, dict[str, Any]]:
    code = run(["explain", "--json", *arguments])
    document = json.loads(capsys.readouterr().out)
    jsonschema.validate(document, json.loads(schema_text("explain")))
    return code, document


def first_line(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str]:
    code = run(["explain", *arguments])
    return code, capsys.readouterr().out.partition("\n")[0]


def test_the_cause_is_the_first_line_and_the_command_stands_alone(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["explain", NUMA]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == FIRST
    assert "  apt-get install -y libnuma1" in lines
    assert f"Seen: line 1: {NUMA}" in lines


def test_files_gzip_and_unquoted_words_say_the_same(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    log, packed = tmp_path / "server.log", tmp_path / "server.log.gz"
    log.write_text(f"start\n{NUMA}\n")
    packed.write_bytes(gzip.compress(log.read_bytes()))
    for words in ([str(log)], [str(packed)], NUMA.split(), ["--text", NUMA]):
        assert first_line(capsys, *words) == (0, FIRST)


def test_json_keeps_its_schema_and_names_lines_and_captures(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "a.log").write_text("nothing\n")
    (tmp_path / "b.log").write_text(f"start\n{NUMA}\n")
    code, document = explained(capsys, str(tmp_path / "a.log"), str(tmp_path / "b.log"))
    match = document["matches"][0]
    assert (code, document["verdict"], match["id"]) == (0, "explained", "kernel-needs-libnuma")
    assert match["lines"] == [{"number": 2, "text": NUMA, "source": str(tmp_path / "b.log")}]
    assert match["captures"]["library"] == "libnuma.so.1"


def test_what_is_unknown_exits_6_and_says_how_to_report(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["explain", "Error: the flux capacitor is empty"]) == 6
    text = capsys.readouterr().out
    assert text.startswith(
        "?: This text is not known to sgldoctor.\nSeen: line 1: Error: the flux capacitor is empty\n"
    )
    assert "sgldoctor explain --format markdown FILE" in text
    assert explained(capsys, "the flux capacitor is empty")[1] == {
        "schema_version": 1, "verdict": "unknown", "matches": [], "nearest": [],
    }  # fmt: skip


def test_telemetry_is_harmless(capsys: pytest.CaptureFixture[str]) -> None:
    line = (
        "[2025-11-06 10:00:00 TP0] Decode batch, #running-req: 12, #token: 900, token usage: 0.55, cuda graph: True, "
        "gen throughput (token/s): 800.50, #queue-req: 3, "
    )
    code, text = first_line(capsys, line)
    assert (code, text.startswith("ok: Harmless. ")) == (0, True)
    assert explained(capsys, line)[1]["verdict"] == "benign"


def test_everything_is_told_on_demand(capsys: pytest.CaptureFixture[str]) -> None:
    text = f"{NUMA}\n[2025-11-11 11:11:15] Received sigquit from a child process. It usually means the child failed."
    run(["explain", text])
    short = capsys.readouterr().out
    run(["explain", "--all", text])
    assert short.count("\nWhy: ") == 1
    assert "Also in this text:" in short
    assert capsys.readouterr().out.count("\nWhy: ") >= 2


def test_markdown_hides_homes_and_tokens(capsys: pytest.CaptureFixture[str]) -> None:
    text = f"{NUMA.replace('libnuma', '/home/jane/x/libnuma', 1)}\nError: token=hf_abcdefghijklmnopqrstuvwxyz at /home/jane/x"
    run(["explain", "--format", "markdown", text.replace("/home/jane/x/libnuma", "libnuma") + " libnuma"])
    out = capsys.readouterr().out
    assert out.startswith("### sgldoctor ")
    assert "jane" not in out
    assert "hf_abc" not in out


def test_a_pipe_is_read_to_its_end() -> None:
    for arguments in ([], ["-"]):
        done = subprocess.run([*COMMAND, *arguments], input=NUMA, capture_output=True, text=True, check=False)
        assert (done.returncode, done.stdout.partition("\n")[0], done.stderr) == (0, FIRST, "")


def test_a_reader_that_leaves_early_causes_no_complaint() -> None:
    command = f"'{sys.executable}' -m sgldoctor explain --json '{NUMA}' | head -n 1"
    done = subprocess.run(["bash", "-c", command], capture_output=True, check=False, text=True)
    assert (done.stdout, done.stderr) == ("{\n", "")


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["{tmp}/nowhere.log"], 3, "There is no file {tmp}/nowhere.log."),
        (["{tmp}"], 3, "{tmp} is a folder. Name the log file in it."),
        (["server.log.gz"], 3, "There is no file server.log.gz."),
        (["{tmp}/cut.gz"], 3, "Cannot read {tmp}/cut.gz: Compressed file ended"),
        (["--follow", "some text"], 2, "--follow goes with one log that grows"),
        (["--env", "--from", "b", "text"], 2, "--env, --venv, --python and --from name one place."),
        (["--venv", "a", "--from", "b", "text"], 2, "--env, --venv, --python and --from name one place."),
        (["--venv", "{tmp}/none", NUMA], 3, "{tmp}/none does not exist."),
        (["--rules", "{tmp}/bomb.yaml", "text"], 3, "invalid repetition size: {1000}"),
        (["--telemetry", "no telemetry"], 6, 'no "Decode batch" or "Prefill batch" line was found'),
    ],
)
def test_bad_input_is_one_clear_line_and_its_exit_code(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
    arguments: list[str], code: int, message: str,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    (tmp_path / "cut.gz").write_bytes(gzip.compress(os.urandom(9000))[:4000])
    (tmp_path / "bomb.yaml").write_text(
        "id: bomb\ntitle: x\nseverity: info\nsubject: torch\nsignatures:\n  - all: ['(a{1000}){1000}']\ncause: x\nfix: []\n"
        'references: []\nevidence: {level: report, date: "2026-11-21"}\nexamples: {match: [{name: a, text: a}]}\n'
    )
    given = [argument.replace("{tmp}", str(tmp_path)) for argument in arguments]
    assert run(["explain", *given]) == code
    error = capsys.readouterr().err
    assert message.replace("{tmp}", str(tmp_path)) in error
    assert "Traceback" not in error


def test_of_a_damaged_archive_what_could_be_read_is_explained(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    packed = gzip.compress(NUMA.encode() + b"\n" + os.urandom(200_000))
    (tmp_path / "cut.gz").write_bytes(packed[:150_000])
    assert run(["explain", str(tmp_path / "cut.gz")]) == 3
    told = capsys.readouterr()
    assert told.out.partition("\n")[0] == FIRST
    assert "Compressed file ended" in told.err


@pytest.fixture
def interruptible() -> Iterator[None]:
    """Let children hear SIGINT, which those of a background job inherit as ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("interruptible")
def test_ctrl_c_on_a_pipe_that_never_ends_gives_what_was_found(tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    with (
        subprocess.Popen([*COMMAND, str(fifo)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as doctor,
        fifo.open("w") as pipe,
    ):
        pipe.write(f"{NUMA}\n" + "[x] noise\n" * 1000)
        pipe.flush()
        _wait_until_read(doctor.pid, fifo)
        doctor.send_signal(signal.SIGINT)
        out, err = doctor.communicate(timeout=60)
    assert (doctor.returncode, out.partition("\n")[0]) == (0, FIRST)
    assert err == "sgldoctor: interrupted; this is what was seen until then.\n"


def _wait_until_read(pid: int, fifo: Path) -> None:
    """Wait until a process has opened a pipe and sleeps on it, empty."""
    for _ in range(600):
        links = [os.readlink(entry) for entry in Path(f"/proc/{pid}/fd").iterdir()]
        if str(fifo) in links and Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "S":
            time.sleep(0.2)
            return
        time.sleep(0.05)


def test_a_giant_line_of_noise_is_searched_in_pieces(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    log = tmp_path / "giant"
    with log.open("wb") as file:
        for _ in range(24):
            file.write(b"\xff\x00abc" * 200_000)
        file.write(f" {NUMA} ".encode())
        file.write(b"z" * 5_000_000)
    code, document = explained(capsys, str(log))
    assert (code, document["matches"][0]["id"]) == (0, "kernel-needs-libnuma")
    assert document["matches"][0]["lines"][0]["number"] == 1


def test_the_environment_confirms_and_the_cure_is_for_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    site = make_venv(tmp_path / "env")
    add(site, "torch", "2.7.0", module="torch")
    add(site, "sgl-kernel", "0.3.5", module="sgl_kernel")
    text = "sgl_kernel/common_ops.abi3.so: undefined symbol: _ZN3c104cuda9SetDeviceEab"
    _, alone = explained(capsys, text)
    _, here = explained(capsys, "--venv", str(tmp_path / "env"), text)
    assert (alone["matches"][0]["id"], alone["matches"][0]["confirmed"]) == ("kernel-does-not-fit-torch", None)
    match = here["matches"][0]
    assert (match["id"], match["confirmed"]) == ("kernel-does-not-fit-torch", True)
    assert match["message"].startswith("torch 2.7.0 is too old for sgl-kernel 0.3.5")
    assert any("/env/bin/python" in (fix["command"] or "") for fix in match["fixes"])


def test_an_environment_that_the_text_names_and_that_is_here_is_asked(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    site = make_venv(tmp_path / "env")
    add(site, "torch", "2.7.0", module="torch")
    add(site, "sgl-kernel", "0.3.5", module="sgl_kernel")
    text = f"ImportError: {site}/sgl_kernel/common_ops.abi3.so: undefined symbol: _ZN3c104cuda9SetDeviceEab"
    _, document = explained(capsys, text)
    assert document["matches"][0]["confirmed"] is True
    _, elsewhere = explained(capsys, text.replace("sgl_kernel/", "not_installed/"))
    assert elsewhere["matches"][0]["confirmed"] is None


def test_an_environment_that_is_named_but_cannot_be_judged_is_left_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    site = tmp_path / "lib/python3.12/site-packages/sgl_kernel"
    site.mkdir(parents=True)
    _, document = explained(
        capsys, f"ImportError: {site}/common_ops.abi3.so: undefined symbol: _ZN3c104cuda9SetDeviceEab"
    )
    assert document["matches"][0]["confirmed"] is None


def test_telemetry_is_summed_up(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    line = (
        "[2025-11-06 10:00:{:02d} TP0] Decode batch, #running-req: 12, #token: 900, token usage: 0.99, cuda graph: True, "
        "gen throughput (token/s): {}.50, #queue-req: 3, \n"
    )
    (tmp_path / "server.log").write_text("".join(line.format(n, n) for n in range(60)))
    assert run(["explain", "--telemetry", str(tmp_path / "server.log"), "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    jsonschema.validate(document, json.loads(schema_text("telemetry")))
    assert (document["lines"], document["seconds"]) == ({"decode": 60, "prefill": 0}, 59)
    assert document["throughput"] == [n + 0.5 for n in range(60)]
    assert run(["explain", "--telemetry", str(tmp_path / "server.log")]) == 0
    assert capsys.readouterr().out.startswith("60 decode and 0 prefill lines in 59 s\n")


@pytest.mark.usefixtures("interruptible")
def test_a_followed_log_tells_as_soon_as_something_is_wrong(tmp_path: Path) -> None:
    log = tmp_path / "server.log"
    log.write_text("[x] all is well\n")
    with subprocess.Popen(
        [*COMMAND, "--follow", str(log)], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as doctor:
        assert doctor.stdout is not None
        with log.open("a") as file:
            file.write(f"{NUMA}\n")
        assert doctor.stdout.readline() == f"{FIRST}\n"
        doctor.send_signal(signal.SIGINT)
        rest, _ = doctor.communicate(timeout=60)
    assert FIRST not in rest
    assert doctor.returncode == 0


def test_rules_show_tells_what_a_text_must_hold(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["rules", "show", "kernel-needs-libnuma"]) == 0
    assert "Seen in a text that holds\n" in capsys.readouterr().out
    assert run(["rules", "show", "kernel-needs-libnuma", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["signatures"][0]["all"]


def test_help_shows_examples_and_exit_codes(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["explain", "--help"]) == 0
    text = capsys.readouterr().out
    assert "  kubectl logs pod | sgldoctor explain -\n" in text
    assert "6 nothing is known about this text." in text
