from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from sgldoctor.system import NotObservableError, RealSystem


def test_links_in_an_image_never_lead_out_of_it(tmp_path: Path) -> None:
    root = tmp_path / "image"
    (root / "etc").mkdir(parents=True)
    (root / "etc/os-release").write_text("ID=inside\n")
    (root / "absolute").symlink_to("/etc/os-release")
    (root / "upwards").symlink_to("../../../../etc/os-release")
    (root / "loop").symlink_to("loop")
    system = RealSystem(str(root))
    assert [system.read_text(path) for path in ("/etc/os-release", "/absolute", "/upwards")] == ["ID=inside\n"] * 3
    assert system.real_path("/absolute") == "/etc/os-release"
    assert system.kind("/loop") == "unreadable"


def test_an_image_runs_nothing(tmp_path: Path) -> None:
    system = RealSystem(str(tmp_path))
    with pytest.raises(NotObservableError, match="an unpacked image does not run"):
        system.run(["true"])
    with pytest.raises(NotObservableError):
        system.environ()


def test_a_command_that_hangs_is_ended() -> None:
    with pytest.raises(TimeoutError, match="took longer than 0.2 s"):
        RealSystem().run(["sleep", "60"], timeout=0.2)


def test_a_command_answers_with_both_streams_and_its_code() -> None:
    done = RealSystem().run([sys.executable, "-c", "import sys; print('out'); sys.stderr.write('err'); sys.exit(3)"])
    assert (done.code, done.out, done.err) == (3, "out\n", "err")


def test_pipes_and_sockets_are_no_text(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(OSError, match="not a regular file"):
        RealSystem().read_text(f"{tmp_path}/pipe")


def test_headers_end_at_the_first_empty_line_whatever_the_line_ends(tmp_path: Path) -> None:
    text = b"Name: x\r\nLicense: much\r\n  Version: 3\r\nRequires-Dist: a;\r\n  extra == 'b'\r\nRequires-Dist: c\r\n\r\nVersion: 2\r\n"
    (tmp_path / "METADATA").write_bytes(text)
    assert RealSystem().headers(f"{tmp_path}/METADATA", ["Name", "Version", "Requires-Dist"]) == {
        "Name": ["x"], "Requires-Dist": ["a; extra == 'b'", "c"],
    }  # fmt: skip


def test_words_of_the_sources_are_found_with_the_first_file_that_holds_them(tmp_path: Path) -> None:
    (tmp_path / "b").mkdir()
    (tmp_path / "a.py").write_text("x = os.environ['SGLANG_PORT']; MY_SGLANG_OTHER = 1")
    (tmp_path / "b/c.py").write_text("SGLANG_PORT, SGL_X")
    (tmp_path / "b/d.txt").write_text("SGLANG_NEVER")
    found = RealSystem().words_in_sources(str(tmp_path), ["SGLANG_", "SGL_"])
    assert found == {"SGLANG_PORT": "a.py", "SGL_X": "b/c.py"}


def test_the_longest_match_in_a_binary_file_is_found(tmp_path: Path) -> None:
    (tmp_path / "lib.so").write_bytes(b"\0sm_80\0\xffsm_80 sm_90 sm_100\0sm_90 sm_75")
    assert RealSystem().longest_match(f"{tmp_path}/lib.so", r"sm_\d+(?: sm_\d+)+") == "sm_80 sm_90 sm_100"


@pytest.mark.enable_socket
def test_a_port_in_use_is_told_with_its_holder() -> None:
    import socket

    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen(1)
        port = server.getsockname()[1]
        system = RealSystem()
        assert system.port_error(port, "ipv4") == "in use"
        assert [holder["pid"] for holder in system.port_holders(port)] == [os.getpid()]
    assert system.port_error(port, "ipv4") is None
