"""Connections whose other end has fallen silent: a host that is gone, a network that drops what it carries.

Nobody says that they are dead, and left alone a system hopes for a quarter of an hour, or for two hours. Both ends are
told to hope for less: we see it before a lease is over, and the server lets go of what a lost client has locked.
"""

from __future__ import annotations

import socket
from typing import Any

LONGEST = 8
"""Seconds without a sign of the other end after which a connection of ours counts as dead. A short break of a network
does not."""

LONGEST_OF_HANDLERS = 60
"""The same for one of a handler's. It also ends one whose other end lives and does not read what it is sent, and a
handler may copy many rows into a table that somebody else holds."""


def watch(sock: Any, longest: int) -> None:
    """Tell the system how long to hope for the other end of a socket, in seconds, as far as it can be told."""
    if sock.family not in (socket.AF_INET, socket.AF_INET6):
        return
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in (
        ("TCP_KEEPIDLE", longest // 2),
        ("TCP_KEEPINTVL", longest // 4),
        ("TCP_KEEPCNT", 2),
        ("TCP_USER_TIMEOUT", longest * 1000),
    ):
        if hasattr(socket, name):
            sock.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)


def of_server(longest: int) -> dict[str, str]:
    """The same for the server's end, as settings of a session."""
    return {
        "tcp_keepalives_idle": str(longest // 2),
        "tcp_keepalives_interval": str(longest // 4),
        "tcp_keepalives_count": "2",
        "tcp_user_timeout": str(longest * 1000),
    }
