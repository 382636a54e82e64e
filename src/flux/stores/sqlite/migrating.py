"""The schema in the file: which migrations it has, and bringing it to another."""

from __future__ import annotations

import sqlite3

from flux.domain.errors import SchemaMismatch
from flux.domain.schema import Phase
from flux.stores.migrations import known_migrations, mismatch, steps_to

PACKAGE = "flux.stores.sqlite"

_TABLE = """CREATE TABLE IF NOT EXISTS flux_migrations (
    number     INTEGER PRIMARY KEY,
    name       TEXT    NOT NULL,
    applied_at INTEGER NOT NULL
)"""


def applied(connection: sqlite3.Connection) -> dict[int, str]:
    """Number and name of what the file has."""
    exists = connection.execute(
        "SELECT count(*) FROM sqlite_master WHERE type = 'table' AND name = 'flux_migrations'"
    ).fetchone()[0]
    if not exists:
        return {}
    return dict(connection.execute("SELECT number, name FROM flux_migrations ORDER BY number").fetchall())


def migrate(
    connection: sqlite3.Connection, target: int | None, now: int, phase: Phase | None = None
) -> list[str]:
    """Go to ``target`` (None: the newest), inside the caller's transaction; the names of what ran."""
    steps = steps_to(known_migrations(PACKAGE), applied(connection), target, phase)
    if not steps:
        return []
    connection.execute(_TABLE)
    for step in steps:
        _run(connection, step.script)
        if step.up:
            connection.execute("INSERT INTO flux_migrations VALUES (?, ?, ?)", (step.number, step.name, now))
        else:
            connection.execute("DELETE FROM flux_migrations WHERE number = ?", (step.number,))
    return [step.name for step in steps]


def check(connection: sqlite3.Connection) -> None:
    """Raise ``SchemaMismatch`` unless this program can work with what the file has."""
    wrong = mismatch(known_migrations(PACKAGE), applied(connection))
    if wrong is not None:
        raise SchemaMismatch(wrong)


def _run(connection: sqlite3.Connection, script: str) -> None:
    """Run a script statement by statement: executescript() would commit first."""
    statement = ""
    for line in script.splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            connection.execute(statement)
            statement = ""
