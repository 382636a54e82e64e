"""Who is alive, and until when."""

from __future__ import annotations

from typing import Protocol

import msgspec


class WorkerInfo(msgspec.Struct, kw_only=True):
    """A worker as it registers."""

    id: str
    host: str
    pid: int
    version: str
    queues: str
    types: tuple[str, ...]
    slots: int


class Renewal(msgspec.Struct, frozen=True):
    """The answer to a heartbeat: jobs of this worker whose cancel is wanted, and whether it should leave."""

    cancels: tuple[str, ...] = ()
    drain: bool = False


class Leases(Protocol):
    """Who is alive, and until when."""

    async def register(self, worker: WorkerInfo, lease: int) -> None:
        """Begin a lease of ``lease`` microseconds under a new id."""
        ...

    async def renew(self, worker_id: str, lease: int) -> Renewal:
        """Extend the lease. Raises ``LeaseLost`` when it is over."""
        ...

    async def orders(self, worker_id: str) -> Renewal:
        """What ``renew`` would answer, read without renewing: so that a cancel arrives before the next heartbeat."""
        ...

    async def leave(self, worker_id: str) -> None:
        """End the lease at once; jobs still under it are rescued without waiting."""
        ...

    async def close(self) -> None:
        """Give back the connection."""
        ...
