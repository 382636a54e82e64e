"""Programs that use a database of their own accord, each with its driver."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from flux import Flux

T = TypeVar("T")


class Caller:
    """One connection in the hands of a program. A subclass says what its driver does."""

    name: str

    def __init__(self, url: str) -> None:
        self.url = url
        self.connection: Any = None

    async def open(self) -> None:
        raise NotImplementedError

    async def begin(self) -> None:
        """Where a driver does not begin by itself."""

    async def execute(self, statement: str) -> None:
        raise NotImplementedError

    async def commit(self) -> None:
        await self.connection.commit()

    async def rollback(self) -> None:
        await self.connection.rollback()

    async def close(self) -> None:
        await self.connection.close()

    async def enqueue(self, flux: Flux, type: str, payload: dict[str, Any], **options: Any) -> Any:
        return await flux.enqueue(type, payload, connection=self.connection, **options)

    async def enqueue_many(self, flux: Flux, requests: list[Any]) -> list[Any]:
        return await flux.enqueue_many(requests, connection=self.connection)


class Asyncpg(Caller):
    name = "asyncpg"

    async def open(self) -> None:
        import asyncpg

        self.connection = await asyncpg.connect(self.url)

    async def begin(self) -> None:
        self._transaction = self.connection.transaction()
        await self._transaction.start()

    async def execute(self, statement: str) -> None:
        await self.connection.execute(statement)

    async def commit(self) -> None:
        await self._transaction.commit()

    async def rollback(self) -> None:
        await self._transaction.rollback()


class AsyncpgPool(Asyncpg):
    name = "asyncpg-pool"

    async def open(self) -> None:
        import asyncpg

        self._pool = await asyncpg.create_pool(self.url, min_size=1, max_size=1)
        self.connection = await self._pool.acquire()

    async def commit(self) -> None:
        await super().commit()
        await self._pool.release(self.connection)
        self.connection = await self._pool.acquire()

    async def close(self) -> None:
        self._pool.terminate()


class AsyncPsycopg(Caller):
    name = "psycopg-async"

    async def open(self) -> None:
        import psycopg
        from psycopg.rows import dict_row

        self.connection = await psycopg.AsyncConnection.connect(self.url, row_factory=dict_row)

    async def execute(self, statement: str) -> None:
        await self.connection.execute(statement)


class AsyncSqlalchemy(Caller):
    """``session``: one of the ORM in place of a connection."""

    driver = "psycopg"
    session = False

    async def open(self) -> None:
        from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine

        self._engine = create_async_engine(f"postgresql+{self.driver}://{self.url.partition('://')[2]}")
        self.connection = AsyncSession(self._engine) if self.session else await self._engine.connect()

    async def execute(self, statement: str) -> None:
        from sqlalchemy import text

        await self.connection.execute(text(statement))

    async def close(self) -> None:
        await self.connection.close()
        await self._engine.dispose()


class AsyncSqlalchemyCorePsycopg(AsyncSqlalchemy):
    name = "sqlalchemy-async-core-psycopg"


class AsyncSqlalchemyOrmAsyncpg(AsyncSqlalchemy):
    name = "sqlalchemy-async-orm-asyncpg"
    driver, session = "asyncpg", True


class AsyncSqlalchemyCoreAsyncpg(AsyncSqlalchemy):
    name = "sqlalchemy-async-core-asyncpg"
    driver = "asyncpg"


class SyncCaller(Caller):
    """A synchronous program: everything of it happens in one thread of its own."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self._thread = ThreadPoolExecutor(1)

    async def there(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)

    async def open(self) -> None:
        await self.there(self.open_there)

    def open_there(self) -> None:
        raise NotImplementedError

    async def commit(self) -> None:
        await self.there(self.connection.commit)

    async def rollback(self) -> None:
        await self.there(self.connection.rollback)

    async def close(self) -> None:
        await self.there(self.close_there)
        self._thread.shutdown()

    def close_there(self) -> None:
        self.connection.close()

    async def enqueue(self, flux: Flux, type: str, payload: dict[str, Any], **options: Any) -> Any:
        return await self.there(
            lambda: flux.enqueue_sync(type, payload, connection=self.connection, **options)
        )

    async def enqueue_many(self, flux: Flux, requests: list[Any]) -> list[Any]:
        return await self.there(lambda: flux.enqueue_many_sync(requests, connection=self.connection))


class Psycopg(SyncCaller):
    name = "psycopg"

    def open_there(self) -> None:
        import psycopg

        self.connection = psycopg.connect(self.url)

    async def execute(self, statement: str) -> None:
        await self.there(lambda: self.connection.execute(statement))


class SqlalchemyCore(SyncCaller):
    name = "sqlalchemy-core"
    session = False

    def open_there(self) -> None:
        from sqlalchemy import create_engine
        from sqlalchemy.orm import Session

        self._engine = create_engine(f"postgresql+psycopg://{self.url.partition('://')[2]}")
        self.connection = Session(self._engine) if self.session else self._engine.connect()

    async def execute(self, statement: str) -> None:
        from sqlalchemy import text

        await self.there(lambda: self.connection.execute(text(statement)))

    def close_there(self) -> None:
        self.connection.close()
        self._engine.dispose()


class SqlalchemyOrm(SqlalchemyCore):
    name = "sqlalchemy-orm"
    session = True


class Django(SyncCaller):
    name = "django"

    def open_there(self) -> None:
        from urllib.parse import urlsplit

        import django
        from django.conf import settings

        if not settings.configured:
            settings.configure(
                DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}}
            )
            django.setup()
        from django.db import connections

        parts = urlsplit(self.url)
        self._alias = f"caller_{id(self)}"
        given = {
            "ENGINE": "django.db.backends.postgresql",
            "NAME": parts.path.lstrip("/"),
            "USER": parts.username or "",
            "PASSWORD": parts.password or "",
            "HOST": parts.hostname or "",
            "PORT": str(parts.port or ""),
        }
        connections.settings[self._alias] = connections.configure_settings(
            {"default": connections.settings["default"], self._alias: given}
        )[self._alias]
        self.connection = connections[self._alias]

    async def begin(self) -> None:
        from django.db import transaction

        self._atomic = transaction.atomic(using=self._alias)
        await self.there(self._atomic.__enter__)

    async def execute(self, statement: str) -> None:
        def work() -> None:
            with self.connection.cursor() as cursor:
                cursor.execute(statement)

        await self.there(work)

    async def commit(self) -> None:
        await self.there(lambda: self._atomic.__exit__(None, None, None))

    async def rollback(self) -> None:
        error = RuntimeError("changed our mind")
        await self.there(lambda: self._atomic.__exit__(RuntimeError, error, None))


CALLERS = (
    Asyncpg,
    AsyncpgPool,
    AsyncPsycopg,
    AsyncSqlalchemyCorePsycopg,
    AsyncSqlalchemyCoreAsyncpg,
    AsyncSqlalchemyOrmAsyncpg,
    Psycopg,
    SqlalchemyCore,
    SqlalchemyOrm,
    Django,
)
