"""Notes of what a machine answered: made here, repeated anywhere."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from sgldoctor.errors import OutputError, SnapshotError
from sgldoctor.redact import Redactor
from sgldoctor.system.base import NotObservableError, System
from sgldoctor.system.files import write_text

FILE_NAME = "recording.json"
SCHEMA_VERSION = 1


class RecordingSystem(System):
    """Passes every question on and notes its answer; `save` writes the notes, redacted."""

    def __init__(self, inner: System) -> None:
        self._inner = inner
        self._notes: dict[str, dict[str, Any]] = {}

    def ask(self, question: str, *args: Any) -> Any:  # noqa: ANN401
        """Return the inner system's answer after noting it."""
        notes = self._notes.setdefault(question, {})
        try:
            answer = self._inner.ask(question, *args)
        except OSError as error:
            notes[_key(args)] = {"error": error.strerror or str(error), "errno": error.errno}
            raise
        notes[_key(args)] = {"answer": answer}
        return answer

    def save(self, folder: str, redactor: Redactor, scope: dict[str, Any] | None = None) -> Path:
        """Write the notes below a folder, which is made if need be, and return the file's path.

        Args:
            folder: where the recording goes.
            redactor: knows the secrets of the machine.
            scope: what was looked at, so that a repetition looks at the same.

        Raises:
            OutputError: the folder cannot be written.
        """
        document = {
            "schema_version": SCHEMA_VERSION,
            "kind": "recording",
            "scope": scope or {},
            "questions": self._notes,
        }
        clean = redactor.recording(document)
        path = Path(folder) / FILE_NAME
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OutputError(f"Cannot make the folder {folder}: {error.strerror}. Name another folder.") from error
        write_text(path, json.dumps(clean, indent=1, sort_keys=True, ensure_ascii=False) + "\n")
        return path


class RecordedSystem(System):
    """Repeats the notes of another machine."""

    def __init__(self, folder: str) -> None:
        path = Path(folder) / FILE_NAME
        try:
            document = json.loads(path.read_text(encoding="utf-8"))
        except OSError as error:
            raise SnapshotError(
                f"{folder} is no recording: {FILE_NAME} cannot be read ({error.strerror}). "
                "Make one with: sgldoctor check --record DIR"
            ) from None
        except ValueError as error:
            raise SnapshotError(
                f"{path} is damaged: {error}. Make a new one with: sgldoctor check --record DIR"
            ) from None
        if not isinstance(document, dict) or document.get("schema_version") != SCHEMA_VERSION:
            raise SnapshotError(
                f"{path} is no recording of schema version {SCHEMA_VERSION}. "
                "Make a new one with: sgldoctor check --record DIR"
            )
        questions, scope = document.get("questions"), document.get("scope", {})
        if not isinstance(scope, dict) or not isinstance(questions, dict) or not _are_notes(questions):
            raise SnapshotError(
                f"{path} is damaged: it holds no questions and answers. "
                "Make a new one with: sgldoctor check --record DIR"
            )
        self._notes: dict[str, dict[str, Any]] = questions
        self.scope: dict[str, Any] = scope

    def ask(self, question: str, *args: Any) -> Any:  # noqa: ANN401
        """Return the noted answer, or raise the noted error.

        Raises:
            NotObservableError: this was never asked on the recorded machine.
        """
        note = self._notes.get(question, {}).get(_key(args))
        if note is None:
            raise NotObservableError("not in this recording")
        if "error" in note:
            if note["errno"] is None:
                raise NotObservableError(note["error"])
            raise OSError(note["errno"], os.strerror(note["errno"]))
        return note["answer"]


def _are_notes(questions: dict[str, Any]) -> bool:
    """Return whether every note is an answer or an error with its number."""
    return all(
        isinstance(notes, dict)
        and all(isinstance(note, dict) and ("answer" in note or "errno" in note) for note in notes.values())
        for notes in questions.values()
    )


def _key(args: tuple[Any, ...]) -> str:
    return args[0] if len(args) == 1 and isinstance(args[0], str) else json.dumps(args, ensure_ascii=False)
