"""Which TCP ports are free, and which processes listen on the others."""

from __future__ import annotations

import errno
import os
import socket
from typing import Any

_WORDS = {
    errno.EADDRINUSE: "in use",
    errno.EACCES: "permission denied",
    errno.EPERM: "permission denied",
    errno.EAFNOSUPPORT: "address family not supported",
    errno.EADDRNOTAVAIL: "address family not supported",
}


def listen_error(port: int, family: str) -> str | None:
    """Return why nothing can listen on this port, or None where it is free.

    It binds as SGLang itself does before it starts (all addresses, SO_REUSEADDR) and lets go at once.
    """
    kind = socket.AF_INET6 if family == "ipv6" else socket.AF_INET
    try:
        with socket.socket(kind, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == "ipv6":
                probe.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            probe.bind(("", port))
            probe.listen(1)
    except OSError as error:
        return _WORDS.get(error.errno or 0, os.strerror(error.errno or 0))
    return None


def holders(port: int) -> list[dict[str, Any]]:
    """Return ``{pid, name, user}`` for each process that listens on the port; pid None: not visible."""
    import psutil  # noqa: PLC0415 - heavy, and needed only when a port is held

    try:
        links = psutil.net_connections(kind="tcp")
    except psutil.AccessDenied as error:
        raise PermissionError(errno.EPERM, "the sockets of other processes need more rights") from error
    pids = {link.pid for link in links if link.status == psutil.CONN_LISTEN and link.laddr and link.laddr.port == port}
    return [
        process(pid) if pid is not None else {"pid": None, "name": None, "user": None}
        for pid in sorted(pids, key=lambda pid: pid or 0)
    ]


def process(pid: int) -> dict[str, Any]:
    """Return ``{pid, name, user}``; name and user are None where the process is gone or not visible."""
    import psutil  # noqa: PLC0415 - heavy, and needed only for processes that are in the way

    answer: dict[str, Any] = {"pid": pid, "name": None, "user": None}
    try:
        found = psutil.Process(pid)
        answer["name"] = found.name()
        answer["user"] = found.username()
    except psutil.Error:
        return answer
    return answer
