"""The store's clock within a transaction."""

from __future__ import annotations

from flux.stores.postgres.database import Database
from flux.stores.postgres.session import Session
from flux.stores.postgres.sql import Statements

SQL = Statements("duties.sql")


async def clock(session: Session, database: Database) -> int:
    """The server's time, or what stands for it."""
    steered = database.now()
    if steered is not None:
        return steered
    now: int = await session.value(SQL["clock"], now=None)
    return now
