"""The schema in the database: which migrations it has, and bringing it to another."""

from __future__ import annotations

from flux.domain.errors import SchemaMismatch
from flux.domain.schema import Phase
from flux.stores.migrations import known_migrations, mismatch, steps_to
from flux.stores.postgres.session import Session
from flux.stores.postgres.sql import Statement

PACKAGE = "flux.stores.postgres"

_EXISTS = Statement("exists", "SELECT to_regclass('flux.migrations') IS NOT NULL")
_APPLIED = Statement("applied", "SELECT number, name FROM flux.migrations ORDER BY number")
_LOCK = Statement("lock", "SELECT pg_advisory_xact_lock(1180463448, 1 << 20)")
_NOTE = Statement("note", "INSERT INTO flux.migrations (number, name) VALUES (@number, @name)")
_UNDO = Statement("undo", "DELETE FROM flux.migrations WHERE number = @number")

_TABLE = """CREATE SCHEMA IF NOT EXISTS flux;
CREATE TABLE IF NOT EXISTS flux.migrations (
    number     integer     PRIMARY KEY,
    name       text        NOT NULL,
    applied_at timestamptz NOT NULL DEFAULT clock_timestamp()
)"""


async def applied(session: Session) -> dict[int, str]:
    """Number and name of what the database has."""
    if not await session.value(_EXISTS):
        return {}
    return dict(await session.fetch(_APPLIED))


async def migrate(session: Session, target: int | None, phase: Phase | None = None) -> list[str]:
    """Go to ``target`` (None: the newest); the names of what ran.

    Several starters wait for each other, however long that takes. For a table none waits long, since whoever else wants
    it waits behind him.
    """
    await session.script("SET LOCAL lock_timeout = 0", quiet=True)
    await session.value(_LOCK)
    await session.script("SET LOCAL lock_timeout = '10s'", quiet=True)
    steps = steps_to(known_migrations(PACKAGE), await applied(session), target, phase)
    if not steps:
        return []
    await session.script(_TABLE)
    for step in steps:
        await session.script(step.script)
        if step.up:
            await session.run(_NOTE, number=step.number, name=step.name)
        else:
            await session.run(_UNDO, number=step.number)
    return [step.name for step in steps]


async def check(session: Session) -> None:
    """Raise ``SchemaMismatch`` unless this program can work with what the database has."""
    wrong = mismatch(known_migrations(PACKAGE), await applied(session))
    if wrong is not None:
        raise SchemaMismatch(wrong)
