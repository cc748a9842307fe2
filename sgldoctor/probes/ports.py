"""The TCP ports that a server would listen on: free, or held by whom."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sgldoctor.snapshot import Facts, Known, Unknown

if TYPE_CHECKING:
    from sgldoctor.system import System

_NOT_VISIBLE: dict[str, Any] = {"pid": None, "name": None, "user": None}


def probe(system: System, asked: dict[int, str]) -> Facts:
    """Return one record for each port and address family; a family that the machine lacks is left out.

    Args:
        system: the machine.
        asked: what each port is for, such as ``{30000: "server"}``.
    """
    try:
        records = [record for port, use in sorted(asked.items()) for record in _records(system, port, use)]
    except OSError as error:
        return {"ports": Unknown(f"ports: {error.strerror or error}")}
    return {"ports": Known(records, "bind")}


def _records(system: System, port: int, use: str) -> list[dict[str, Any]]:
    problems = {family: system.port_error(port, family) for family in ("ipv4", "ipv6")}
    if problems["ipv6"] == "address family not supported":
        del problems["ipv6"]
    holder = _holder(system, port) if "in use" in problems.values() else _NOT_VISIBLE
    return [
        {
            "port": port,
            "family": family,
            "free": problem is None,
            "problem": problem,
            "use": use,
            "holder": holder["name"] if problem == "in use" else None,
            "pid": holder["pid"] if problem == "in use" else None,
            "user": holder["user"] if problem == "in use" else None,
        }
        for family, problem in problems.items()
    ]


def _holder(system: System, port: int) -> dict[str, Any]:
    """Return the first process that can be named; another user's needs more rights."""
    try:
        holders = system.port_holders(port)
    except OSError:
        return _NOT_VISIBLE
    return next((holder for holder in holders if holder["pid"] is not None), _NOT_VISIBLE)
