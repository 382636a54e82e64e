"""Django's connections: ``django.db.connection``, ``connections["other"]``."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from django.db import connections, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.utils.connection import ConnectionProxy

from flux.stores.postgres.foreign.session import ForeignSession, Joined, Work, in_python_format, refuse
from flux.stores.postgres.session import Record
from flux.stores.postgres.sql import Statement


def join(connection: object) -> Joined | None:
    """What joins it; None when it is something else of Django's."""
    if isinstance(connection, ConnectionProxy):
        connection = connections[connection.alias]
    if not isinstance(connection, BaseDatabaseWrapper):
        return None
    if connection.vendor != "postgresql":
        raise refuse(f"leads to {connection.display_name}, and the jobs are in PostgreSQL")
    return ByDjango(connection)


class _Session(ForeignSession):
    __slots__ = ()

    async def execute(self, statement: Statement, values: Mapping[str, Any]) -> tuple[Sequence[Record], int]:
        with self._connection.cursor() as cursor:
            cursor.execute(in_python_format(statement), values)
            return cursor.fetchall() if cursor.description else (), cursor.rowcount


class ByDjango:
    """A connection of the thread that calls."""

    asynchronous = False

    def __init__(self, connection: BaseDatabaseWrapper) -> None:
        self._connection = connection

    async def run(self, work: Work) -> Any:
        """See ``Joined``."""
        if self._connection.in_atomic_block or not self._connection.get_autocommit():
            return await work(_Session(self._connection))
        with transaction.atomic(using=self._connection.alias):
            return await work(_Session(self._connection))

    def follow(self, ended: Callable[[], None]) -> Callable[[], bool] | None:
        """See ``Joined``. Django itself says when it has committed."""
        connection = self._connection
        if connection.in_atomic_block or connection.get_autocommit():
            transaction.on_commit(ended, using=connection.alias)
            return None
        driver: Any = connection.connection
        return lambda: int(driver.info.transaction_status) == 0
