"""Reading requirements files as pip does: nested -r and -c, markers, extras; nothing is fetched."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sgldoctor.errors import TargetError


def read(path: str) -> list[dict[str, Any]]:
    """Return ``{name, extras, specifier, marker, constraint, where}`` for each requirement.

    Args:
        path: a requirements file.

    Raises:
        TargetError: it or a nested file cannot be read, or a line is no requirement.
    """
    from pip_requirements_parser import (  # noqa: PLC0415 - 0.3 s, and only for -r
        InstallationError,
        RequirementsFile,
    )  # fmt: skip

    if Path(path).exists() and not Path(path).is_file():
        raise TargetError(f"Cannot read {path}: it is no regular file. Name a requirements file.")
    try:
        parsed = RequirementsFile.from_file(path, include_nested=True)
    except (InstallationError, OSError) as error:
        reason = " ".join(str(error).replace("|n", " ").split())
        if "://" in reason:
            reason = f"{reason} (nested files are not fetched from the network)"
        raise TargetError(f"Cannot read {path}: {reason}. Name a requirements file.") from None
    except UnicodeError as error:
        raise TargetError(f"Cannot read {path}: {error}. Save it as UTF-8.") from None
    if parsed.invalid_lines:
        bad = parsed.invalid_lines[0]
        if "recursion" in bad.error_message:
            raise TargetError(f"Cannot read {path}: its -r lines go in a circle. Take one of them out.")
        where = f"{bad.requirement_line.filename}, line {bad.requirement_line.line_number}"
        raise TargetError(f"{where}: {bad.requirement_line.line!r} is no requirement. Mend the line and run again.")
    return [
        {
            "name": str(item.name),
            "extras": sorted(item.extras),
            "specifier": str(item.specifier or ""),
            "marker": str(item.marker) if item.marker else None,
            "constraint": bool(item.is_constraint),
            "where": f"{item.requirement_line.filename}, line {item.requirement_line.line_number}",
        }
        for item in parsed.requirements
        if item.name
    ]
