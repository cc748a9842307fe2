from __future__ import annotations

from pathlib import Path

import pytest

import sgldoctor
from tests.environments import add, make_venv

pytestmark = pytest.mark.enable_socket  # observe binds ports of this machine to see whether they are free


def test_a_program_observes_judges_saves_and_loads(tmp_path: Path) -> None:
    site = make_venv(tmp_path / "env")
    add(site, "torch", "2.7.0")
    add(site, "sgl-kernel", "0.3.5")
    snapshot = sgldoctor.observe(venv=str(tmp_path / "env"))
    report = sgldoctor.check(snapshot)
    assert (report.verdict, "kernel-does-not-fit-torch" in {f.id for f in report.found}) == ("error", True)
    sgldoctor.save_snapshot(snapshot, str(tmp_path / "snapshot.json"))
    assert sgldoctor.load_snapshot(str(tmp_path / "snapshot.json")) == snapshot


def test_errors_carry_their_exit_code() -> None:
    with pytest.raises(sgldoctor.SgldoctorError) as caught:
        sgldoctor.observe(venv="/nowhere")
    assert caught.value.exit_code == 3


def test_a_name_that_does_not_exist_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'chekc'"):
        sgldoctor.chekc  # noqa: B018


def test_a_text_is_explained_by_one_call() -> None:
    explanation = sgldoctor.explain_text(
        "ImportError: libnuma.so.1: cannot open shared object file: No such file or directory"
    )
    assert [match.id for match in explanation.matches[:1]] == ["kernel-needs-libnuma"]
    assert explanation.meaning.value == "explained"
