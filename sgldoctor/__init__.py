"""The environment doctor for SGLang.

Four calls make up the interface; the commands stand on the same::

    import sgldoctor

    snapshot = sgldoctor.observe(venv="/opt/venv")   # facts about this machine and one environment
    report = sgldoctor.check(snapshot)               # judged by the rule database; pure
    print(report.verdict, [finding.title for finding in report.findings])
    print(sgldoctor.explain_text("a text").matches)  # what an error text means, the root first

Everything is imported on first use, so that ``import sgldoctor`` costs nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sgldoctor.api import check, explain_text, load_snapshot, observe, save_snapshot
    from sgldoctor.errors import SgldoctorError
    from sgldoctor.explain.model import Explanation
    from sgldoctor.report.model import Finding, Report
    from sgldoctor.snapshot import Known, Snapshot, Unknown

__version__ = "0.1.0"

__all__ = [
    "Explanation",
    "Finding",
    "Known",
    "Report",
    "SgldoctorError",
    "Snapshot",
    "Unknown",
    "__version__",
    "check",
    "explain_text",
    "load_snapshot",
    "observe",
    "save_snapshot",
]

_HOMES = {
    "check": "sgldoctor.api",
    "explain_text": "sgldoctor.api",
    "Explanation": "sgldoctor.explain.model",
    "load_snapshot": "sgldoctor.api",
    "observe": "sgldoctor.api",
    "save_snapshot": "sgldoctor.api",
    "SgldoctorError": "sgldoctor.errors",
    "Finding": "sgldoctor.report.model",
    "Report": "sgldoctor.report.model",
    "Known": "sgldoctor.snapshot",
    "Snapshot": "sgldoctor.snapshot",
    "Unknown": "sgldoctor.snapshot",
}


def __getattr__(name: str) -> object:
    """Return a public name, importing its module on first use."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module  # noqa: PLC0415 - the point of this function

    return getattr(import_module(_HOMES[name]), name)
