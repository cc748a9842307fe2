"""What every test stands on: a fixed terminal and no variables that steer the doctor."""

from __future__ import annotations

import pytest


@pytest.fixture(autouse=True)
def _plain_surroundings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.setenv("TERM", "dumb")
    for name in ("VIRTUAL_ENV", "CONDA_PREFIX", "PYTHONPATH", "NO_COLOR", "FORCE_COLOR", "SGLDOCTOR_DRIVER_VERSION"):
        monkeypatch.delenv(name, raising=False)
