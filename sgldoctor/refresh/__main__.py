"""``python -m sgldoctor.refresh`` writes the generated tables anew."""

from __future__ import annotations

import argparse
import sys
import tempfile
from datetime import datetime, timezone
from pathlib import Path

from sgldoctor.errors import ExitCode, SgldoctorError
from sgldoctor.refresh import abi, sglang
from sgldoctor.refresh.index import PackageIndex, find_index
from sgldoctor.rules.load import rules_folder
from sgldoctor.system import RealSystem


def main() -> int:
    """Read the package index, write the tables, and return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m sgldoctor.refresh", description=__doc__)
    parser.add_argument("table", nargs="?", choices=("sglang", "abi", "all"), default="all", help="which to write")
    parser.add_argument("--index-url", help="simple index; the one configured for pip or uv by default")
    parser.add_argument("--out", type=Path, help="folder of the tables; by default the installed ones")
    parser.add_argument("--cache", type=Path, help="folder for what each wheel said, so that none is read twice")
    options = parser.parse_args()
    system = RealSystem()
    try:
        url = options.index_url or find_index(system)
        index = PackageIndex(url, sglang.CONNECTIONS, system.environ().get("PIP_CERT"))
        now = datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
        folder = options.out or rules_folder() / "knowledge"
        if options.table != "abi":
            sys.stdout.write(f"wrote {sglang.refresh(index, folder, now)}\n")
        if options.table != "sglang":
            with tempfile.TemporaryDirectory() as passing:
                sys.stdout.write(f"wrote {abi.refresh(index, folder, now, options.cache or Path(passing))}\n")
    except (SgldoctorError, OSError) as error:
        sys.stderr.write(f"{error}\n")
        return error.exit_code if isinstance(error, SgldoctorError) else ExitCode.CANNOT
    return 0


if __name__ == "__main__":
    sys.exit(main())
