"""psycopg 3, synchronous and asynchronous."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import psycopg
from psycopg.pq import TransactionStatus
from psycopg.rows import tuple_row

from flux.stores.postgres.foreign.session import ForeignSession, Joined, Work, in_python_format
from flux.stores.postgres.session import Record
from flux.stores.postgres.sql import Statement


def join(connection: object) -> Joined | None:
    """What joins it; None when it is something else of psycopg's (a cursor, say)."""
    if isinstance(connection, psycopg.AsyncConnection):
        return ByAsyncPsycopg(connection)
    return ByPsycopg(connection) if isinstance(connection, psycopg.Connection) else None


class _Session(ForeignSession):
    __slots__ = ()

    async def execute(self, statement: Statement, values: Mapping[str, Any]) -> tuple[Sequence[Record], int]:
        # A cursor of psycopg's own kind, whichever the caller's connection makes.
        with psycopg.Cursor(self._connection, row_factory=tuple_row) as cursor:
            cursor.execute(in_python_format(statement).encode(), values)
            return cursor.fetchall() if cursor.description else (), cursor.rowcount


class _AsyncSession(ForeignSession):
    __slots__ = ()

    async def execute(self, statement: Statement, values: Mapping[str, Any]) -> tuple[Sequence[Record], int]:
        async with psycopg.AsyncCursor(self._connection, row_factory=tuple_row) as cursor:
            await cursor.execute(in_python_format(statement).encode(), values)
            return await cursor.fetchall() if cursor.description else (), cursor.rowcount


class ByPsycopg:
    """A synchronous connection. Where it does not commit by itself, the first statement begins its transaction."""

    asynchronous = False

    def __init__(self, connection: psycopg.Connection[Any]) -> None:
        self._connection = connection

    async def run(self, work: Work) -> Any:
        """See ``Joined``."""
        if not commits_by_itself(self._connection):
            return await work(_Session(self._connection))
        with self._connection.transaction():
            return await work(_Session(self._connection))

    def follow(self, ended: Callable[[], None]) -> Callable[[], bool] | None:
        """See ``Joined``."""
        return follow(self._connection)


class ByAsyncPsycopg:
    """An asynchronous connection."""

    asynchronous = True

    def __init__(self, connection: psycopg.AsyncConnection[Any]) -> None:
        self._connection = connection

    async def run(self, work: Work) -> Any:
        """See ``Joined``."""
        if not commits_by_itself(self._connection):
            return await work(_AsyncSession(self._connection))
        async with self._connection.transaction():
            return await work(_AsyncSession(self._connection))

    def follow(self, ended: Callable[[], None]) -> Callable[[], bool] | None:
        """See ``Joined``."""
        return follow(self._connection)


def commits_by_itself(connection: psycopg.Connection[Any] | psycopg.AsyncConnection[Any]) -> bool:
    """Whether each statement on it is its own transaction now."""
    return connection.autocommit and connection.info.transaction_status == TransactionStatus.IDLE


def follow(connection: Any) -> Callable[[], bool]:
    """Whether its transaction is over; without keeping alive what nobody uses any more."""
    known: weakref.ref[Any] = weakref.ref(connection)

    def over() -> bool:
        connection = known()
        if connection is None:
            return True
        return connection.info.transaction_status in (TransactionStatus.IDLE, TransactionStatus.UNKNOWN)

    return over
