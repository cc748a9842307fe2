"""The interface that programs use and the commands stand on: observe, check, explain, save, load."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from sgldoctor import __version__
from sgldoctor.derive import derive
from sgldoctor.diagnose import diagnose
from sgldoctor.errors import SnapshotError
from sgldoctor.report.model import Report
from sgldoctor.rules.load import load_problems, rules_digest
from sgldoctor.snapshot import Snapshot, from_json, to_json
from sgldoctor.system.files import write_text

if TYPE_CHECKING:
    from collections.abc import Callable

    from sgldoctor.explain.model import Explanation
    from sgldoctor.rules.model import Problem

JSON_SIZE_LIMIT = 64 << 20


def observe(*, venv: str | None = None, python: str | None = None, root: str | None = None) -> Snapshot:
    """Return the facts about this machine and one Python environment, which is never imported.

    Args:
        venv: the environment's folder; without it and `python` the order of `sgldoctor check` holds.
        python: the environment's interpreter.
        root: an unpacked image to look at instead of the running system.

    Raises:
        TargetError: there is no such environment.
    """
    from sgldoctor.probes.run import Scope  # noqa: PLC0415 - `check` of a saved snapshot needs no probe
    from sgldoctor.probes.run import observe as probe_all  # noqa: PLC0415
    from sgldoctor.system import RealSystem  # noqa: PLC0415

    return probe_all(RealSystem(root), Scope(python=python, venv=venv, rooted=root is not None))


def check(
    snapshot: Snapshot,
    *,
    rules: tuple[str, ...] = (),
    keep: Callable[[Problem], bool] | None = None,
) -> Report:
    """Return what the rule database says about a snapshot. Pure but for reading the rules.

    Args:
        snapshot: facts of a machine, from `observe` or `load_snapshot`.
        rules: further rule files or folders.
        keep: which problems to look for; None: all.

    Raises:
        RulesError: a rule file holds errors; all are listed.
    """
    problems = load_problems(tuple(Path(path) for path in rules))
    judged = derive(snapshot)
    diagnosis = diagnose(judged, [problem for problem in problems if keep is None or keep(problem)])
    return Report(__version__, rules_digest(), judged, diagnosis.checks, diagnosis.findings)


def explain_text(text: str, *, here: Snapshot | None = None, rules: tuple[str, ...] = ()) -> Explanation:
    """Return what an error text or a log means, the most likely root cause first.

    Args:
        text: as a program printed it; colours and prefixes do not matter.
        here: the machine and environment that it comes from, from `observe`, to confirm a cause by.
        rules: further rule files or folders.

    Raises:
        RulesError: a rule file holds errors; all are listed.
    """
    from sgldoctor.explain.answer import Explainer  # noqa: PLC0415 - `check` needs no patterns
    from sgldoctor.rules.book import open_book  # noqa: PLC0415

    explainer = Explainer(open_book(tuple(Path(path) for path in rules)))
    return explainer.explain(explainer.scan_text(text), here)


def save_snapshot(snapshot: Snapshot, path: str) -> None:
    """Write a snapshot that `load_snapshot` reads back unchanged.

    Raises:
        OutputError: the file cannot be written.
    """
    write_text(Path(path), to_json(snapshot))


def load_snapshot(path: str) -> Snapshot:
    """Return a saved snapshot, or the facts of a saved JSON report.

    Raises:
        SnapshotError: the file is missing, too large, or no snapshot.
    """
    try:
        with Path(path).open("rb") as file:
            data = file.read(JSON_SIZE_LIMIT + 1)
    except OSError as error:
        raise SnapshotError(
            f"Cannot read {path}: {error.strerror}. Name a file made by: sgldoctor check --save FILE"
        ) from None
    if len(data) > JSON_SIZE_LIMIT:
        raise SnapshotError(f"{path} is larger than {JSON_SIZE_LIMIT >> 20} MiB; a snapshot never is.")
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise SnapshotError(f"{path} is no snapshot: {error}. Make one with: sgldoctor check --save FILE") from None
    return from_json(text, path)
