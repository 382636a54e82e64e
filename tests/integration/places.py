"""Where processes that a test starts live: a free port, and an environment that says nothing to Flux by accident."""

from __future__ import annotations

import os
import socket

_OURS = ("FLUX_", "WORKER_", "API_", "DASHBOARD_", "DATABASE_", "REDIS_", "SMTP_", "SCHEDULER_")


def free_port() -> str:
    """A port that nobody uses now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return str(probe.getsockname()[1])


def clean_environment(**more: str) -> dict[str, str]:
    """This process's environment without any setting of Flux, and with ``more``."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(_OURS)}
    return {**kept, **more}
