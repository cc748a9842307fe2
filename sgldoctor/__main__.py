"""``python -m sgldoctor`` is the same program as the console script."""

from sgldoctor.cli.app import main

main()
