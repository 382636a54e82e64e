"""How a worker is set up, and why it ends."""

from __future__ import annotations

from enum import StrEnum

import msgspec

from flux.domain.duration import SECOND
from flux.domain.shares import QueueShares


class WorkerOptions(msgspec.Struct, kw_only=True, frozen=True):
    """How a worker works. ``grace``: how long running jobs may go on after a stop before they are handed back (µs)."""

    concurrency: int = 10
    queues: QueueShares = QueueShares()
    lease: int = 30 * SECOND
    grace: int = 30 * SECOND
    max_jobs: int | None = None
    max_memory: int | None = None
    version: str = ""


class Left(StrEnum):
    """Why a worker ended."""

    STOPPED = "stopped"
    DRAINED = "drained"
    RECYCLE = "recycle"
