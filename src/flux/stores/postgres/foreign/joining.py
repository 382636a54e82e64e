"""Enqueue in a caller's own transaction: the jobs exist if and only if that commits.

No NOTIFY is in it: that would let such transactions commit only one after the other. What wakes workers is said once
the transaction is seen to be over; their own poll is behind it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from functools import partial
from importlib import import_module
from typing import Any

from flux.domain.errors import FluxError
from flux.domain.job import Inserted, NewJob
from flux.engine.ports import Here, Topic
from flux.stores.postgres.clock import clock
from flux.stores.postgres.database import Database
from flux.stores.postgres.foreign.session import Joined, refuse, without_waiting
from flux.stores.postgres.inserting import SQL, Inserter, created, is_plain, plain_values
from flux.stores.postgres.session import Session
from flux.stores.watching import Watcher

_DRIVERS = ("asyncpg", "psycopg", "sqlalchemy", "django")

ACCEPTED = (
    "an asyncpg Connection, a psycopg 3 Connection or AsyncConnection, an SQLAlchemy Connection, Session, "
    "AsyncConnection or AsyncSession, or django.db.connection"
)

Place = tuple[str, int, int]
"""The database's name, its table of jobs, and the start of its server."""


class Joiner:
    """Joins callers' transactions, for one database."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._home: Place | None = None
        self._watcher = Watcher()

    async def join(self, connection: object, here: Here | None) -> Joined:
        """What speaks for a connection, once it is sure that it leads to our database. Raises ``Invalid``."""
        joined = adapt(connection)
        if joined.asynchronous and here is not None:
            raise refuse("is asynchronous: `await` enqueue() or enqueue_many() in place of the *_sync method")
        there: Place = await _run(joined, _where, here)
        if there != self._home:
            # Not known yet, or the server was started again meanwhile.
            [row] = await self._database.statement(SQL["where"])
            self._home = tuple(row)
        if there != self._home:
            raise refuse(
                f"leads to the database {there[0]!r} and not to that of Flux, {self._database.shown}"
            )
        return joined

    async def insert(
        self,
        joined: Joined,
        jobs: Sequence[NewJob],
        ended: Callable[[list[Inserted]], None],
        here: Here | None,
    ) -> list[Inserted]:
        """See the port."""
        loop = asyncio.get_running_loop()
        answer: list[Inserted] = []

        def over() -> None:
            self._database.told(Topic.AVAILABLE | Topic.DUE)
            ended(answer)

        def from_any_thread() -> None:
            with suppress(RuntimeError):  # the loop is closed: a poll finds them
                loop.call_soon_threadsafe(over)

        def follow() -> Callable[[], bool] | None:
            return joined.follow(from_any_thread)

        answer += await _run(joined, partial(self._store, jobs), here)
        is_over = follow() if here is None else await here(follow)
        if is_over is not None:
            self._watcher.watch(is_over, over)
        return answer

    async def _store(self, jobs: Sequence[NewJob], session: Session) -> list[Inserted]:
        namespace, steered = self._database.namespace, self._database.now()
        if all(is_plain(job) for job in jobs):
            rows = await session.fetch(
                SQL["insert_plain"], namespace=namespace, now=steered, unseen=[], **plain_values(jobs)
            )
            if rows:
                return [created(job, rows[0][0]) for job in jobs]
        inserter = ForeignInserter(session, namespace, await clock(session, self._database))
        [answer] = await inserter.store([jobs])
        if isinstance(answer, FluxError):
            raise answer
        await inserter.events.write(session)
        return answer


class ForeignInserter(Inserter):
    """Inserts without COPY, which not every driver has, and without locks that unrelated keys share: a caller's
    transaction may take its time."""

    copy_from = 1 << 62

    async def _take_keys(self, idempotent: Collection[str], unique: Collection[str]) -> None:
        """Have the keys' rows to oneself until the commit; where there was none, one that stands for nothing.

        Whoever has taken the same key is waited for. What is read afterwards is as he left it.
        """
        for statement, keys in (("take_idempotency", idempotent), ("take_unique", unique)):
            if keys:
                await self._session.run(SQL[statement], namespace=self._namespace, keys=list(keys))


def adapt(connection: object) -> Joined:
    """What speaks for a caller's connection. Raises ``Invalid`` for what is none."""
    origins = {cls.__module__.partition(".")[0] for cls in type(connection).__mro__}
    for driver in _DRIVERS:
        if driver in origins:
            joined: Joined | None = import_module(f"{__package__}.by_{driver}").join(connection)
            if joined is not None:
                return joined
    name = f"{type(connection).__module__}.{type(connection).__qualname__}"
    raise refuse(f"is a {name}, which cannot be joined; it may be {ACCEPTED}, to the database of Flux")


async def _where(session: Session) -> Place:
    row = await session.row(SQL["where"])
    assert row is not None
    return (row[0], row[1], row[2])


async def _run(joined: Joined, work: Callable[[Session], Any], here: Here | None) -> Any:
    if joined.asynchronous:
        return await joined.run(work)

    def together() -> Any:
        return without_waiting(joined.run(work))

    return together() if here is None else await here(together)
