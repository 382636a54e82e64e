"""asyncpg: our own driver, on somebody else's connection."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import Any

import asyncpg
from asyncpg.pool import PoolConnectionProxy

from flux.stores.postgres.foreign.session import Joined, Work
from flux.stores.postgres.session import Session


def join(connection: object) -> Joined | None:
    """What joins it; None when it is something else of asyncpg's (a pool, say)."""
    return ByAsyncpg(connection) if isinstance(connection, asyncpg.Connection | PoolConnectionProxy) else None


class ByAsyncpg:
    """An asyncpg connection, or one of its pool's."""

    asynchronous = True

    def __init__(self, connection: Any) -> None:
        self._connection = connection

    async def run(self, work: Work) -> Any:
        """See ``Joined``."""
        if self._connection.is_in_transaction():
            return await work(Session(self._connection))
        async with self._connection.transaction():
            return await work(Session(self._connection))

    def follow(self, ended: Callable[[], None]) -> Callable[[], bool] | None:
        """See ``Joined``."""
        if isinstance(self._connection, PoolConnectionProxy):
            proxy = self._connection  # raises once it is back in its pool, which is an end too
            return lambda: not proxy.is_in_transaction()
        known: weakref.ref[Any] = weakref.ref(self._connection)
        return lambda: (connection := known()) is None or not connection.is_in_transaction()
