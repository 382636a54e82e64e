"""Enqueue in the transaction of a caller's own ``sqlite3.Connection`` to the same file."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Sequence
from functools import partial

from flux.domain.errors import FluxError, Invalid
from flux.domain.job import Inserted, NewJob
from flux.engine.ports import Here
from flux.stores.sqlite.database import Database
from flux.stores.sqlite.inserting import SQL, Inserter
from flux.stores.watching import Watcher


class Joiner:
    """Joins callers' transactions, for one file."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._watcher = Watcher()

    async def insert(
        self,
        connection: object,
        jobs: Sequence[NewJob],
        ended: Callable[[list[Inserted]], None],
        here: Here | None,
    ) -> list[Inserted]:
        """See the port."""
        if not isinstance(connection, sqlite3.Connection):
            name = f"{type(connection).__module__}.{type(connection).__qualname__}"
            raise _refuse(f"is a {name}; with SQLite it may be a sqlite3.Connection to the file of Flux")
        work = partial(self._insert, connection, jobs)
        answer: list[Inserted] = work() if here is None else await here(work)

        def over() -> None:
            self._database.hub.notify()
            ended(answer)

        self._watcher.watch(lambda: not connection.in_transaction, over)
        return answer

    def _insert(self, connection: sqlite3.Connection, jobs: Sequence[NewJob]) -> list[Inserted]:
        # Ours are read as plain tuples of texts, whatever the caller makes of his.
        row_factory, text_factory = connection.row_factory, connection.text_factory
        connection.row_factory, connection.text_factory = None, str
        try:
            self._check(connection)
            # The driver begins a transaction by itself only before what it knows as a change.
            alone = not connection.in_transaction
            if alone:
                connection.execute("BEGIN IMMEDIATE")
            mine = alone and _commits_by_itself(connection)
            try:
                answer = self._store(connection, jobs)
            except BaseException:
                if alone:
                    connection.execute("ROLLBACK")
                raise
            if mine:
                connection.execute("COMMIT")
            return answer
        finally:
            connection.row_factory, connection.text_factory = row_factory, text_factory

    def _store(self, connection: sqlite3.Connection, jobs: Sequence[NewJob]) -> list[Inserted]:
        inserter = Inserter(self._database.namespace, self._database.now())
        [answer] = inserter.careful(connection, [jobs])
        if isinstance(answer, FluxError):
            raise answer
        queues = sorted({job.queue for job in jobs})
        SQL.many["insert_queues"].run(connection, (self._database.namespace,), [(name,) for name in queues])
        inserter.events.write(connection)
        return answer

    def _check(self, connection: sqlite3.Connection) -> None:
        if self._database.in_memory:
            raise _refuse("cannot be joined: the database of Flux is in memory, where only Flux reaches it")
        files = {name: file for _, name, file in connection.execute("PRAGMA database_list")}
        file: str = files.get("main") or ""
        try:
            same = file != "" and os.path.samefile(file, self._database.path)
        except OSError:
            same = False
        if not same:
            raise _refuse(
                f"leads to {file or 'a database in memory'} and not to the file of Flux, {self._database.path}"
            )


def _commits_by_itself(connection: sqlite3.Connection) -> bool:
    """Whether the caller leaves commits to SQLite; else what was begun is his to commit."""
    autocommit = getattr(
        connection, "autocommit", -1
    )  # since Python 3.12; -1: as before, by the isolation level
    return autocommit is True or (autocommit == -1 and connection.isolation_level is None)


def _refuse(why: str) -> Invalid:
    return Invalid.one("connection", why)
