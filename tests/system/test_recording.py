from __future__ import annotations

from pathlib import Path

import pytest

from sgldoctor.errors import SnapshotError
from sgldoctor.redact import Redactor
from sgldoctor.system import NotObservableError, RealSystem, RecordedSystem, RecordingSystem


def test_a_recording_repeats_answers_and_errors(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("hello")
    system = RecordingSystem(RealSystem())
    system.read_text(f"{tmp_path}/a")
    system.kind(f"{tmp_path}/a")
    with pytest.raises(FileNotFoundError):
        system.read_text(f"{tmp_path}/b")
    system.save(str(tmp_path / "rec"), Redactor())

    again = RecordedSystem(str(tmp_path / "rec"))
    assert (again.read_text(f"{tmp_path}/a"), again.kind(f"{tmp_path}/a")) == ("hello", "file")
    with pytest.raises(FileNotFoundError):
        again.read_text(f"{tmp_path}/b")
    with pytest.raises(NotObservableError, match="not in this recording"):
        again.read_text(f"{tmp_path}/c")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "cannot be read"),
        ("{", "is damaged"),
        ("[]", "no recording of schema version 1"),
        ('{"schema_version": 1}', "holds no questions and answers"),
        ('{"schema_version": 1, "questions": {"environ": {"[]": {}}}}', "holds no questions and answers"),
    ],
)
def test_a_damaged_recording_is_named_with_its_reason(tmp_path: Path, text: str | None, message: str) -> None:
    if text is not None:
        (tmp_path / "recording.json").write_text(text)
    with pytest.raises(SnapshotError, match=message):
        RecordedSystem(str(tmp_path))
