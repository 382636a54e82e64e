"""Ports on 127.0.0.1."""

from __future__ import annotations

import random
import socket

HOST = "127.0.0.1"

# Below the ports that the system gives to outgoing connections, so that a server which is down for a
# moment finds its port free when it comes back.
_RANGE = range(15000, 32000)


def free_port() -> int:
    """A port that nobody uses now."""
    for port in random.sample(_RANGE, 100):
        if is_free(port):
            return port
    raise OSError("no free port found between 15000 and 32000")


def is_free(port: int) -> bool:
    """Whether a server could listen there."""
    with socket.socket() as client:
        # Not every system refuses an address that somebody listens on as 0.0.0.0.
        if client.connect_ex((HOST, port)) == 0:
            return False
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True
