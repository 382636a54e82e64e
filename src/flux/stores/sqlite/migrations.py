"""Numbered schema files, applied in one transaction each way, so that any number of starters may do it at once."""

from __future__ import annotations

import sqlite3
from importlib.resources import files

import msgspec

from flux.domain.errors import Invalid, SchemaMismatch

_TABLE = """CREATE TABLE IF NOT EXISTS flux_migrations (
    number     INTEGER PRIMARY KEY,
    name       TEXT    NOT NULL,
    applied_at INTEGER NOT NULL
)"""


class Migration(msgspec.Struct, frozen=True):
    """One step of the schema, and back."""

    number: int
    name: str
    up: str
    down: str


def known() -> list[Migration]:
    """The migrations of this program, in order."""
    folder = files("flux.stores.sqlite").joinpath("migrations")
    found: list[Migration] = []
    for file in folder.iterdir():
        if file.name.endswith(".up.sql"):
            name = file.name.removesuffix(".up.sql")
            down = folder.joinpath(f"{name}.down.sql")
            found.append(
                Migration(int(name.partition("_")[0]), name, file.read_text("utf-8"), down.read_text("utf-8"))
            )
    return sorted(found, key=lambda migration: migration.number)


def applied(connection: sqlite3.Connection) -> dict[int, str]:
    """Number and name of what the file has."""
    exists = connection.execute(
        "SELECT count(*) FROM sqlite_master WHERE type = 'table' AND name = 'flux_migrations'"
    ).fetchone()[0]
    if not exists:
        return {}
    return dict(connection.execute("SELECT number, name FROM flux_migrations ORDER BY number").fetchall())


def migrate(connection: sqlite3.Connection, target: int | None, now: int) -> list[str]:
    """Go to ``target`` (None: the newest), inside the caller's transaction; the names of what ran."""
    migrations = known()
    newest = migrations[-1].number
    if target is not None and not 0 <= target <= newest:
        raise Invalid.one("target", f"must be a migration from 0 (none) to {newest}, not {target}")
    wanted = newest if target is None else target
    have = applied(connection)
    newer = [name for number, name in have.items() if number > newest]
    if newer:
        raise SchemaMismatch(_too_new(newer))
    connection.execute(_TABLE)
    ran: list[str] = []
    for migration in migrations:
        if migration.number <= wanted and migration.number not in have:
            _run(connection, migration.up)
            connection.execute(
                "INSERT INTO flux_migrations VALUES (?, ?, ?)", (migration.number, migration.name, now)
            )
            ran.append(migration.name)
    for migration in reversed(migrations):
        if migration.number > wanted and migration.number in have:
            _run(connection, migration.down)
            connection.execute("DELETE FROM flux_migrations WHERE number = ?", (migration.number,))
            ran.append(migration.name)
    return ran


def check(connection: sqlite3.Connection) -> None:
    """Raise ``SchemaMismatch`` unless the file has exactly what this program knows."""
    have = applied(connection)
    numbers = {migration.number for migration in known()}
    newer = [name for number, name in have.items() if number not in numbers]
    if newer:
        raise SchemaMismatch(_too_new(newer))
    missing = [migration.name for migration in known() if migration.number not in have]
    if missing:
        raise SchemaMismatch(
            f"The database lacks {', '.join(missing)}: run `flux migrate up` to bring its schema up to this program."
        )


def _too_new(names: list[str]) -> str:
    return (
        f"The database has migrations that this program does not know ({', '.join(names)}): "
        "use a Flux at least as new as the one that made them."
    )


def _run(connection: sqlite3.Connection, script: str) -> None:
    """Run a script statement by statement: executescript() would commit first."""
    statement = ""
    for line in script.splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            connection.execute(statement)
            statement = ""
