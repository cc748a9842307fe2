"""The only door to the machine: files, variables, commands, sockets, NVML, the clock.

Probes hold a `System` and ask it questions. `RealSystem` answers from this machine (or from an unpacked
image), `RecordingSystem` notes every answer, `RecordedSystem` repeats such notes anywhere else.
"""

from sgldoctor.system.base import Completed, NotObservableError, System
from sgldoctor.system.real import RealSystem
from sgldoctor.system.recording import RecordedSystem, RecordingSystem

__all__ = ["Completed", "NotObservableError", "RealSystem", "RecordedSystem", "RecordingSystem", "System"]
