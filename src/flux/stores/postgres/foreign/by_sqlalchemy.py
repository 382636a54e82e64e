"""SQLAlchemy 2: connections and sessions, synchronous and asynchronous, over whichever driver."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession, async_scoped_session
from sqlalchemy.orm import Session as OrmSession
from sqlalchemy.orm import scoped_session

from flux.stores.postgres.foreign.session import (
    ForeignSession,
    Joined,
    Work,
    refuse,
    with_colons,
    without_waiting,
)
from flux.stores.postgres.session import Record
from flux.stores.postgres.sql import Statement


def join(connection: object) -> Joined | None:
    """What joins it; None when it is something else of SQLAlchemy's (an engine, say)."""
    if isinstance(connection, scoped_session | async_scoped_session):
        connection = connection()
    if isinstance(connection, AsyncConnection | AsyncSession):
        return ByAsyncSqlalchemy(connection)
    return BySqlalchemy(connection) if isinstance(connection, Connection | OrmSession) else None


class _Session(ForeignSession):
    __slots__ = ()

    async def execute(self, statement: Statement, values: Mapping[str, Any]) -> tuple[Sequence[Record], int]:
        result = self._connection.execute(text(with_colons(statement)), dict(values))
        return result.fetchall() if result.returns_rows else (), result.rowcount


class BySqlalchemy:
    """A connection or an ORM session, which is not flushed."""

    asynchronous = False

    def __init__(self, given: Connection | OrmSession) -> None:
        self._given = given
        self._over: Callable[[], bool] | None = None

    async def run(self, work: Work) -> Any:
        """See ``Joined``. SQLAlchemy begins the transaction where none is open."""
        given = self._given
        connection = given if isinstance(given, Connection) else given.connection()
        if connection.dialect.name != "postgresql":
            raise refuse(f"leads to {connection.dialect.name}, and the jobs are in PostgreSQL")
        alone = _commits_by_itself(connection)
        if alone:
            connection.exec_driver_sql("BEGIN")
        try:
            answer = await work(_Session(connection))
        except BaseException:
            if alone:
                connection.exec_driver_sql("ROLLBACK")
            raise
        if alone:
            connection.exec_driver_sql("COMMIT")
        transaction = connection.get_transaction()
        if alone or transaction is None:
            self._over = lambda: True
        else:
            known = weakref.ref(transaction)
            self._over = lambda: (open := known()) is None or not open.is_active
        return answer

    def follow(self, ended: Callable[[], None]) -> Callable[[], bool] | None:
        """See ``Joined``."""
        return self._over


class ByAsyncSqlalchemy:
    """The same behind asyncio."""

    asynchronous = True

    def __init__(self, given: AsyncConnection | AsyncSession) -> None:
        self._given = given
        self._joined: BySqlalchemy | None = None

    async def run(self, work: Work) -> Any:
        """See ``Joined``. SQLAlchemy does its waiting below the synchronous calls."""

        def together(given: Any) -> Any:
            self._joined = BySqlalchemy(given)
            return without_waiting(self._joined.run(work))

        return await self._given.run_sync(together)

    def follow(self, ended: Callable[[], None]) -> Callable[[], bool] | None:
        """See ``Joined``."""
        assert self._joined is not None
        return self._joined.follow(ended)


def _commits_by_itself(connection: Connection) -> bool:
    pooled = connection.connection
    if not getattr(pooled.dbapi_connection, "autocommit", False):
        return False
    # Somebody may have said BEGIN by hand.
    driver: Any = pooled.driver_connection
    if hasattr(driver, "is_in_transaction"):
        return not driver.is_in_transaction()
    return int(driver.info.transaction_status) == 0
