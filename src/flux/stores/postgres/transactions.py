"""Transactions of handlers: what a handler wrote and its job's success are committed together, or neither.

They have connections of their own, so that handlers that take their time hold up no claim and no outcome: at most
``MOST`` in a process, opened when they are first needed.
"""

from __future__ import annotations

import asyncio
from typing import Any

from flux.domain.errors import InDoubt
from flux.engine.ports import Topic, Transaction
from flux.stores.postgres.database import Database
from flux.stores.postgres.ending import SQL, end_succeeded, standing
from flux.stores.postgres.errors import DRIVER, is_lost
from flux.stores.postgres.pool import Connection, Pool
from flux.stores.postgres.session import Session

MOST = 20
"""Handlers of one process that are in a transaction at the same time; more wait for their turn."""

_GOODBYE = 2.0
"""Seconds that a rollback may take before the connection is cut, which has the same effect."""

_LAST_STATEMENTS = 30.0

_PLANNED = (
    "SET LOCAL enable_seqscan = off; SET LOCAL plan_cache_mode = force_generic_plan; SET LOCAL jit = off"
)
"""As on our own connections: whatever the handler has set, the job is found by its key."""


class PostgresTransactions:
    """Transactions for the handlers of one process."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._pool: Pool | None = None

    async def begin(self, isolation: str) -> Transaction:
        """See the port."""
        pool = self._pool
        if pool is None:
            pool = self._pool = Pool(self._database.connect_for_handlers, MOST)
        connection = await pool.take()
        begun = PostgresTransaction(self._database, pool, connection, isolation)
        try:
            await begun.start()
        except BaseException:
            begun.cut()
            raise
        return begun

    async def kept(self, job_id: str, claim_id: int) -> bool | None:
        """See the port. A commit under way holds the job's row: whoever wants to lock that waits for its end."""
        namespace = self._database.namespace

        async def work(session: Session) -> bool | None:
            job = (await standing(session, namespace, [job_id])).get(job_id)
            if job is not None:
                return False if job.claim_id == claim_id else None
            done = await session.value(SQL["kept"], namespace=namespace, job_id=job_id, claim_id=claim_id)
            return True if done else None

        return await self._database.calm(work)

    async def close(self) -> None:
        """Cut what is open."""
        pool, self._pool = self._pool, None
        if pool is not None:
            await pool.close()


class PostgresTransaction:
    """One transaction, begun by the driver's own means, so that the handler can have savepoints in it."""

    def __init__(self, database: Database, pool: Pool, connection: Connection, isolation: str) -> None:
        self._database = database
        self._pool = pool
        self._transaction = connection.transaction(isolation=isolation)
        self._given = False
        self.connection: Any = connection

    async def start(self) -> None:
        """Begin."""
        await self._transaction.start()

    async def complete(self, job_id: str, claim_id: int, result: bytes) -> bool:
        """See the port."""
        connection = self.connection
        if not connection.is_in_transaction():
            raise RuntimeError(
                "the handler has ended the transaction itself: Flux commits it, with the job's success"
            )
        async with asyncio.timeout(_LAST_STATEMENTS):
            await connection.execute(_PLANNED)
            ours = await end_succeeded(Session(connection), self._database, [job_id], [claim_id], [result])
        if not ours:
            await self.rollback()
            return False
        await self._commit()
        self._database.told(Topic.ENDED | Topic.AVAILABLE)  # of a workflow, it may have released others
        return True

    async def _commit(self) -> None:
        try:
            async with asyncio.timeout(_LAST_STATEMENTS):
                await self._transaction.commit()
        except DRIVER as error:
            if not is_lost(error):
                raise
            self.cut()
            raise InDoubt(
                f"the connection was lost at the commit ({error or type(error).__name__})"
            ) from error
        await self._give_back()

    async def rollback(self) -> None:
        """See the port."""
        if self._given:
            return
        try:
            async with asyncio.timeout(_GOODBYE):
                await self._transaction.rollback()
        except BaseException as error:
            self.cut()
            if not isinstance(error, Exception):
                raise
            return
        await self._give_back()

    async def _give_back(self) -> None:
        """To the next handler, without what this one has set on it."""
        try:
            if not self._database.place.pooler:
                async with asyncio.timeout(_GOODBYE):
                    await self.connection.reset()
        except BaseException as error:
            self.cut()
            if not isinstance(error, Exception):
                raise
            return
        self._given = True
        self._pool.give(self.connection, sound=True)

    def cut(self) -> None:
        """End the connection, which undoes what is open on it."""
        if not self._given:
            self._given = True
            self._pool.give(self.connection, sound=False)
