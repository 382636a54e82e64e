"""All ports on one database."""

from __future__ import annotations

from typing import Protocol

import msgspec

from flux.domain.schema import Phase
from flux.engine.ports.changes import Changes
from flux.engine.ports.duties import Duties
from flux.engine.ports.jobs import Jobs
from flux.engine.ports.leases import Leases
from flux.engine.ports.queries import Queries
from flux.engine.ports.queues import Queues
from flux.engine.ports.schedules import Schedules
from flux.engine.ports.transactions import Transactions
from flux.engine.ports.workflows import Workflows


class StoreHealth(msgspec.Struct, kw_only=True):
    """What ``/health/db`` and ``flux doctor`` tell.

    ``durable``: what was accepted survives a crash of the machine. ``replicated``: it survives the loss of the machine
    too, since each commit waits for a standby; None where there can be none.
    """

    ok: bool
    detail: str
    durable: bool
    replicated: bool | None = None
    size: int | None = None


class Store(Protocol):
    """The truth: all ports on one database."""

    jobs: Jobs
    duties: Duties
    schedules: Schedules
    queues: Queues
    queries: Queries
    leases: Leases
    changes: Changes
    transactions: Transactions
    workflows: Workflows

    parallel: bool
    """Whether it works on a claim and on outcomes side by side. Where it takes one after the other it is best asked for
    as much at once as there is room for."""

    async def open(self) -> None:
        """Connect and check the schema. Raises ``SchemaMismatch``, ``Unavailable``."""
        ...

    async def close(self) -> None:
        """Finish what is under way and disconnect."""
        ...

    async def now(self) -> int:
        """The store's clock."""
        ...

    async def health(self) -> StoreHealth:
        """Try a real write path check; never raises."""
        ...

    def lease_connection(self) -> Leases:
        """Leases on a connection of their own, for the heartbeat's thread and its event loop (opened lazily there)."""
        ...

    async def migrate(self, target: int | None = None, phase: Phase | None = None) -> list[str]:
        """Bring the schema to ``target`` (None: newest), safe with several starters; the names of what ran.

        Upwards, only what is of ``phase`` (None: of both). Raises ``Invalid``, ``SchemaMismatch``.
        """
        ...

    async def schema(self) -> list[tuple[str, bool]]:
        """(migration, applied) in order."""
        ...
