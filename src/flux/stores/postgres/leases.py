"""The Leases port: who is alive, and until when."""

from __future__ import annotations

from collections.abc import Sequence

from flux.domain.errors import LeaseLost
from flux.engine.ports import Renewal, WorkerInfo
from flux.stores.postgres.database import Database
from flux.stores.postgres.session import Record, Session
from flux.stores.postgres.sql import Statements

SQL = Statements("leases.sql")


class PostgresLeases:
    """Leases in PostgreSQL."""

    def __init__(self, database: Database, *, own: bool = False) -> None:
        """``own``: the connection is this object's, opened at its first use and closed with it."""
        self._database = database
        self._namespace = database.namespace
        self._own = own

    async def register(self, worker: WorkerInfo, lease: int) -> None:
        """See the port. Repeated, it is the same lease."""

        async def work(session: Session) -> None:
            await session.run(
                SQL["register"],
                namespace=self._namespace,
                now=self._database.now(),
                id=worker.id,
                host=worker.host,
                pid=worker.pid,
                version=worker.version,
                queues=worker.queues,
                types=worker.types,
                slots=worker.slots,
                lease=lease,
            )

        self._ready()
        await self._database.calm(work)

    async def renew(self, worker_id: str, lease: int) -> Renewal:
        """See the port."""
        self._ready()
        rows = await self._database.statement(
            SQL["renew"],
            namespace=self._namespace,
            now=self._database.now(),
            id=worker_id,
            lease=lease,
        )
        return self._renewal(worker_id, rows)

    async def orders(self, worker_id: str) -> Renewal:
        """See the port. Raises ``LeaseLost`` as ``renew`` would."""
        self._ready()
        rows = await self._database.statement(
            SQL["orders"], namespace=self._namespace, now=self._database.now(), id=worker_id
        )
        return self._renewal(worker_id, rows)

    def _renewal(self, worker_id: str, rows: Sequence[Record]) -> Renewal:
        if not rows:
            raise LeaseLost(f"The lease of worker {worker_id} has lapsed.")
        drain, cancels = rows[0]
        return Renewal(tuple(str(id) for id in cancels), drain)

    async def leave(self, worker_id: str) -> None:
        """See the port."""

        async def work(session: Session) -> None:
            await session.run(SQL["leave"], namespace=self._namespace, now=self._database.now(), id=worker_id)

        self._ready()
        await self._database.calm(work)

    async def close(self) -> None:
        """See the port. Leases of the store itself end with the store."""
        if self._own:
            await self._database.close()

    def _ready(self) -> None:
        if self._own:
            self._database.open()
