"""``python -m sgldoctor.refresh`` writes the generated tables anew."""

from __future__ import annotations

import argparse
import sys
from datetime import datetime, timezone
from pathlib import Path

from sgldoctor.errors import ExitCode, SgldoctorError
from sgldoctor.refresh import sglang
from sgldoctor.refresh.index import PackageIndex, find_index
from sgldoctor.rules.load import rules_folder
from sgldoctor.system import RealSystem


def main() -> int:
    """Read the package index, write the tables, and return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m sgldoctor.refresh", description=__doc__)
    parser.add_argument("--index-url", help="simple index; the one configured for pip or uv by default")
    parser.add_argument("--out", type=Path, help="folder of the tables; by default the installed ones")
    options = parser.parse_args()
    system = RealSystem()
    try:
        url = options.index_url or find_index(system)
        index = PackageIndex(url, sglang.CONNECTIONS, system.environ().get("PIP_CERT"))
        now = datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
        path = sglang.refresh(index, options.out or rules_folder() / "knowledge", now)
    except (SgldoctorError, OSError) as error:
        sys.stderr.write(f"{error}\n")
        return error.exit_code if isinstance(error, SgldoctorError) else ExitCode.CANNOT
    sys.stdout.write(f"wrote {path}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
