"""Which GPU runs which compiled code: NVIDIA's rules of binary and PTX compatibility.

Source: CUDA C++ Programming Guide, "Binary Compatibility", "PTX Compatibility" and "Architecture-Specific and
Family-Specific Features".
"""

from __future__ import annotations

import re

_TARGET = re.compile(r"^(sm|compute)_(\d+)(\d)([af]?)$")


def runs(target: str, capability: str) -> bool | None:
    """Return whether code for a target runs on a GPU of a compute capability; None: one of them is unreadable.

    A cubin ``sm_XY`` runs on X.Z with Z >= Y; ``sm_XYa`` on X.Y alone; ``sm_XYf`` on its family, which is the same
    major with minor >= Y; PTX ``compute_XY`` is compiled by the driver for anything that is not older.

    Args:
        target: ``sm_90``, ``sm_100f``, ``compute_80``.
        capability: ``9.0``.
    """
    match = _TARGET.match(target)
    have = re.match(r"^(\d+)\.(\d+)$", capability)
    if not match or not have:
        return None
    wanted, gpu = (int(match[2]), int(match[3])), (int(have[1]), int(have[2]))
    if match[4] == "a":
        return wanted == gpu
    if match[1] == "compute" and not match[4]:
        return gpu >= wanted
    return wanted[0] == gpu[0] and gpu[1] >= wanted[1]


def any_runs(targets: list[str], capability: str) -> bool | None:
    """Return whether some of the code runs on a GPU; None where that cannot be told."""
    answers = [runs(target, capability) for target in targets]
    if True in answers:
        return True
    return None if None in answers or not targets else False


def running(targets: list[str], capability: str) -> str | None:
    """Return the code that a GPU would run: of machine code the nearest, else PTX; None where none runs."""
    fitting = [target for target in targets if runs(target, capability)]
    return max(fitting, key=_nearness, default=None)


def _nearness(target: str) -> tuple[bool, int, str]:
    match = _TARGET.match(target)
    return (match[1] == "sm", int(match[2] + match[3]), match[4]) if match else (False, 0, "")
