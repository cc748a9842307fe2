"""The commands that change the examined environment, written for the tools that are there."""

from __future__ import annotations

import shlex

from sgldoctor.snapshot import Facts, Known, Snapshot


def derive(snapshot: Snapshot) -> Facts:
    """Return the install and uninstall commands for the target: its own pip, else uv from outside."""
    python = snapshot.get("python.executable")
    if not isinstance(python, Known) or python.value is None:
        source = "no environment was examined"
        return {
            "command.install": Known("pip install", source),
            "command.uninstall": Known("pip uninstall -y", source),
        }
    path = shlex.quote(str(python.value))
    if snapshot.value("package.pip") is not None:
        managed = " --break-system-packages" if snapshot.value("python.externally_managed") is True else ""
        return {
            "command.install": Known(f"{path} -m pip install{managed}", "pip is in the environment"),
            "command.uninstall": Known(f"{path} -m pip uninstall -y{managed}", "pip is in the environment"),
        }
    return {
        "command.install": Known(f"uv pip install --python {path}", "the environment holds no pip"),
        "command.uninstall": Known(f"uv pip uninstall --python {path}", "the environment holds no pip"),
    }
