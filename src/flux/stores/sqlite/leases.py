"""The Leases port: who is alive, and until when."""

from __future__ import annotations

import sqlite3

from flux.domain.errors import LeaseLost
from flux.engine.ports import Renewal, WorkerInfo
from flux.stores.sqlite.database import Database
from flux.stores.sqlite.events import EventLog
from flux.stores.sqlite.sql import Statements, decoder, json_text

SQL = Statements("leases.sql")

_ids = decoder(list[str])


class SqliteLeases:
    """Leases in one SQLite file."""

    def __init__(self, database: Database, *, own: bool = False) -> None:
        """``own``: the connection is this object's, opened at its first use and closed with it."""
        self._database = database
        self._namespace = database.namespace
        self._own = own

    async def register(self, worker: WorkerInfo, lease: int) -> None:
        """See the port. Repeated, it is the same lease."""

        def work(connection: sqlite3.Connection) -> None:
            now = self._database.now()
            types = json_text(worker.types)
            connection.execute(
                SQL["register"],
                (
                    self._namespace,
                    worker.id,
                    worker.host,
                    worker.pid,
                    worker.version,
                    worker.queues,
                    types,
                    worker.slots,
                    now,
                    now + lease,
                ),
            )
            events = EventLog(self._namespace, now)
            events.other("worker", worker.id, "alive")
            events.write(connection)

        await self._ready()
        await self._database.write(work)

    async def renew(self, worker_id: str, lease: int) -> Renewal:
        """See the port."""

        def work(connection: sqlite3.Connection) -> Renewal:
            now = self._database.now()
            connection.execute(SQL["renew"], (self._namespace, worker_id, now, lease))
            return self._orders(connection, worker_id, now)

        await self._ready()
        return await self._database.write(work)

    async def orders(self, worker_id: str) -> Renewal:
        """See the port. Raises ``LeaseLost`` as ``renew`` would."""
        await self._ready()
        return await self._database.read(
            lambda connection: self._orders(connection, worker_id, self._database.now())
        )

    def _orders(self, connection: sqlite3.Connection, worker_id: str, now: int) -> Renewal:
        row = connection.execute(SQL["read_orders"], (self._namespace, worker_id, now)).fetchone()
        if row is None:
            raise LeaseLost(f"The lease of worker {worker_id} has lapsed.")
        return Renewal(tuple(_ids(row[1])), bool(row[0]))

    async def leave(self, worker_id: str) -> None:
        """See the port."""

        def work(connection: sqlite3.Connection) -> None:
            now = self._database.now()
            values = (self._namespace, worker_id, now)
            if connection.execute(SQL["leave"], values).rowcount:
                events = EventLog(self._namespace, now)
                events.other("worker", worker_id, "left")
                events.write(connection)

        await self._ready()
        await self._database.write(work)

    async def close(self) -> None:
        """See the port. Leases of the store itself end with the store."""
        if self._own:
            await self._database.close()

    async def _ready(self) -> None:
        if self._own:
            await self._database.open()
