"""One question to a PostgreSQL."""

from __future__ import annotations

import asyncpg


async def ask(url: str, statement: str) -> object:
    """The first value that a statement answers, over a connection of its own."""
    connection = await asyncpg.connect(url)
    try:
        return await connection.fetchval(statement)
    finally:
        await connection.close()
