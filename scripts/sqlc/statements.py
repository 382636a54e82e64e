"""The statements of the PostgreSQL store, as the server describes them."""

from __future__ import annotations

from typing import NamedTuple

import asyncpg

from flux.stores.postgres.sql import Statements
from scripts.sqlc.sources import Source, sources
from scripts.sqlc.wrong import Wrong


class Described(NamedTuple):
    """A statement, the types of its parameters by name, and those of the columns of its rows."""

    source: Source
    parameters: dict[str, str]
    columns: dict[str, str]


async def describe(connection: asyncpg.Connection) -> list[Described]:
    """Every statement. Raises ``Wrong`` for those that the server refuses."""
    found: list[Described] = []
    wrong: list[str] = []
    for source in sources("postgres"):
        statement = Statements(source.file.name)[source.name]
        try:
            prepared = await connection.prepare(statement.text)
        except asyncpg.PostgresError as error:
            before = statement.text[: int(getattr(error, "position", None) or 1) - 1]
            wrong.append(source.wrong(str(error), newlines=before.count("\n")))
            continue
        types = [type.name for type in prepared.get_parameters()]
        columns = [(column.name, column.type.name) for column in prepared.get_attributes()]
        if len(dict(columns)) < len(columns):
            wrong.append(source.wrong("two columns of its rows have one name"))
        parameters = dict(zip(statement.parameters, types, strict=True))
        found.append(Described(source, parameters, dict(columns)))
    if wrong:
        raise Wrong(wrong)
    return found
