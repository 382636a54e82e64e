"""Works on a connection: how they share a transaction, what of it fails, and how their answers come home."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeVar

from flux.domain.errors import DataRefused, Unavailable
from flux.stores.sqlite.connection import Link, is_away

T = TypeVar("T")

DRIVER = (sqlite3.Error, MemoryError, OverflowError, UnicodeError)
"""What the driver raises, for a value already when it is bound. Nobody outside knows these: they leave as our own."""
Work = Callable[[sqlite3.Connection], T]


class Entry:
    """A work on its way, and where its answer is awaited (nowhere when it runs in the calling task)."""

    __slots__ = ("error", "future", "loop", "value", "work")

    def __init__(
        self,
        work: Work[Any],
        loop: asyncio.AbstractEventLoop | None = None,
        future: asyncio.Future[Any] | None = None,
    ) -> None:
        self.work = work
        self.loop = loop
        self.future = future
        self.value: Any = None
        self.error: BaseException | None = None

    @property
    def abandoned(self) -> bool:
        """Whether nobody waits for it any more."""
        return self.future is not None and self.future.cancelled()


def transact(link: Link, entries: Sequence[Entry]) -> bool:
    """One transaction; every entry has its value or its error afterwards. True when something was changed."""
    try:
        connection = link.ready()
        before = connection.total_changes
        link.begin(connection)
        if len(entries) == 1:
            _run_alone(connection, entries[0])
        else:
            for entry in entries:
                _run_beside(connection, entry)
        if connection.in_transaction:
            connection.execute("COMMIT")
        return connection.total_changes != before
    except Unavailable as error:
        _fail(entries, error)
    except (sqlite3.Error, MemoryError) as error:
        _fail(entries, link.explain(error))
    except BaseException as error:  # a thread that died would leave every caller waiting
        _fail(entries, error)
    link.rollback()
    return False


def look(link: Link, entry: Entry) -> None:
    """Run a work on one snapshot, which is given back whatever happens."""
    try:
        connection = link.ready()
        connection.execute("BEGIN")
        try:
            entry.value = entry.work(connection)
        finally:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
    except DRIVER as error:
        if is_away(error):
            entry.error = link.explain(error)
        else:
            entry.error = Unavailable(f"The database {link.path} could not answer: {error}.")
            entry.error.__cause__ = error
    except BaseException as error:
        entry.error = error


def answer(entries: Sequence[Entry]) -> None:
    """Hand the answers over, with one wake-up for each event loop."""
    loops = {entry.loop for entry in entries if entry.loop is not None}
    for loop in loops:
        mine = entries if len(loops) == 1 else [entry for entry in entries if entry.loop is loop]
        with contextlib.suppress(RuntimeError):  # the loop was closed: nobody waits there any more
            loop.call_soon_threadsafe(_resolve, mine)


def _resolve(entries: Iterable[Entry]) -> None:
    for entry in entries:
        if entry.future is None or entry.future.done():
            continue
        if entry.error is not None:
            entry.future.set_exception(entry.error)
        else:
            entry.future.set_result(entry.value)


def _run(connection: sqlite3.Connection, entry: Entry) -> None:
    try:
        entry.value = entry.work(connection)
    except DRIVER as error:
        if is_away(error):
            raise
        # Whatever else a statement fails for is in what it was given, or in the rows that it met.
        entry.error = DataRefused(f"The database refused a row: {error}.")
        entry.error.__cause__ = error
    except BaseException as error:
        entry.error = error


def _run_alone(connection: sqlite3.Connection, entry: Entry) -> None:
    _run(connection, entry)
    if entry.error is not None and connection.in_transaction:
        connection.execute("ROLLBACK")


def _run_beside(connection: sqlite3.Connection, entry: Entry) -> None:
    connection.execute("SAVEPOINT work")
    _run(connection, entry)
    if entry.error is not None:
        connection.execute("ROLLBACK TO work")
    connection.execute("RELEASE work")


def _fail(entries: Sequence[Entry], error: BaseException) -> None:
    for entry in entries:
        # One each: an exception that several callers raise would gather all their tracebacks.
        entry.error = Unavailable(str(error)) if isinstance(error, Unavailable) else error
