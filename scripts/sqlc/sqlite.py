"""The SQLite store: its statements against a fresh database, and its migrations both ways."""

from __future__ import annotations

import re
import sqlite3
from typing import Final

from flux.stores.migrations import known_migrations
from flux.stores.sqlite.migrating import PACKAGE, migrate
from flux.stores.sqlite.sql import Statements
from scripts.sqlc.sources import sources
from scripts.sqlc.wrong import Wrong

_NUMBER: Final = re.compile(r"\?(\d+)")


def check() -> None:
    """Raise ``Wrong`` for every statement that SQLite refuses, and for a migration that does not go back."""
    connection = sqlite3.connect(":memory:", isolation_level=None)
    try:
        _migrate(connection)
        _explain(connection)
    finally:
        connection.close()


def _migrate(connection: sqlite3.Connection) -> None:
    steps = known_migrations(PACKAGE)
    seen = {}
    for step in steps:
        migrate(connection, step.number - 1, 0)
        seen[step.number] = _schema(connection)
        migrate(connection, step.number, 0)
    newest = _schema(connection)
    for step in reversed(steps):
        migrate(connection, step.number - 1, 0)
        if _schema(connection) != seen[step.number]:
            raise Wrong([f"SQLite: {step.name}.down.sql does not undo {step.name}.up.sql"])
    migrate(connection, None, 0)
    if _schema(connection) != newest:
        raise Wrong(["SQLite: the schema is another one after going down and up again"])


def _schema(connection: sqlite3.Connection) -> list[tuple[str, ...]]:
    # SQLite keeps a table of its own for AUTOINCREMENT once there was one, and Flux that of what was applied.
    kept = "('sqlite_sequence', 'flux_migrations')"
    text = f"SELECT type, name, tbl_name, sql FROM sqlite_master WHERE name NOT IN {kept} ORDER BY 1, 2"
    return connection.execute(text).fetchall()


def _explain(connection: sqlite3.Connection) -> None:
    wrong = []
    for source in sources("sqlite"):
        statements = Statements(source.file.name)
        many = statements.many.get(source.name)
        text = statements[source.name] if many is None else many.explained()
        values = [None] * max((int(number) for number in _NUMBER.findall(text)), default=0)
        try:
            connection.execute(f"EXPLAIN {text}", values)
        except sqlite3.Error as error:
            wrong.append(source.wrong(str(error)))
    if wrong:
        raise Wrong(wrong)
