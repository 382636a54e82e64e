"""A fresh PostgreSQL database for the moment: in the server that DATABASE_URL names, or in one that is started."""

from __future__ import annotations

import asyncio
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import asyncpg

from scripts.servers.postgres import PostgresServer
from scripts.sqlc.wrong import Wrong


@contextmanager
def scratch_database() -> Iterator[str]:
    """Its URL. Nothing of it is left, and no other database of the server is touched."""
    given = os.environ.get("DATABASE_URL", "")
    if given.startswith(("postgres://", "postgresql://")):
        with _database_of(given) as url:
            yield url
        return
    with tempfile.TemporaryDirectory(prefix="flux-") as folder:
        Path(folder).chmod(0o711)  # PostgreSQL's user must be able to pass through
        with PostgresServer(Path(folder) / "postgres", durable=False) as server:
            yield server.url


@contextmanager
def _database_of(server: str) -> Iterator[str]:
    name = f"flux_sqlc_{os.getpid()}"
    _execute(server, f'CREATE DATABASE "{name}" TEMPLATE template0')
    try:
        yield urlsplit(server)._replace(path=f"/{name}").geturl()
    finally:
        _execute(server, f'DROP DATABASE "{name}" WITH (FORCE)')


def _execute(url: str, statement: str) -> None:
    async def run() -> None:
        connection = await asyncpg.connect(url)
        try:
            await connection.execute(statement)
        finally:
            await connection.close()

    try:
        asyncio.run(run())
    except asyncpg.PostgresError as error:
        raise Wrong([f"DATABASE_URL: {error}"]) from error
