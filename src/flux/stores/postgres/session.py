"""A transaction on one connection, as the ports' works use it: named statements with named values."""

from __future__ import annotations

from typing import Any

from flux.stores.postgres.pool import Connection
from flux.stores.postgres.sql import Statement

Record = Any
"""A row: by name and by place."""


_COPY = 60.0
"""Seconds that it may take: it may be many megabytes over a slow network."""


class Session:
    """Runs statements in a transaction that somebody else begins and ends."""

    __slots__ = ("_connection", "wrote")

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self.wrote = False
        """Whether anything was changed."""

    async def fetch(self, statement: Statement, **values: Any) -> list[Record]:
        """All rows."""
        rows: list[Record] = await self._connection.fetch(statement.text, *statement.bind(values))
        return rows

    async def row(self, statement: Statement, **values: Any) -> Record | None:
        """The first row."""
        return await self._connection.fetchrow(statement.text, *statement.bind(values))

    async def value(self, statement: Statement, **values: Any) -> Any:
        """The first column of the first row; None when there is none."""
        return await self._connection.fetchval(statement.text, *statement.bind(values))

    async def run(self, statement: Statement, **values: Any) -> int:
        """How many rows a statement changed."""
        tag: str = await self._connection.execute(statement.text, *statement.bind(values))
        count = int(tag.rpartition(" ")[2])
        if count:
            self.wrote = True
        return count

    async def copy(self, table: str, columns: list[str], rows: list[tuple[Any, ...]]) -> None:
        """Append many rows to a table of Flux's."""
        await self._connection.copy_records_to_table(
            table, schema_name="flux", columns=columns, records=rows, timeout=_COPY
        )
        self.wrote = True

    async def count(self, text: str) -> int:
        """How many rows a statement without values changed; for what depends on the name of a table."""
        tag: str = await self._connection.execute(text)
        count = int(tag.rpartition(" ")[2])
        self.wrote = self.wrote or count > 0
        return count

    async def script(self, text: str, *, quiet: bool = False) -> None:
        """Run statements that have no values; ``quiet`` when they change nothing that anybody waits for."""
        await self._connection.execute(text)
        self.wrote = self.wrote or not quiet
