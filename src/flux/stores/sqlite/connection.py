"""One connection to the file: opened, watched, explained and opened again when it must be."""

from __future__ import annotations

import os
import sqlite3
import time
from random import Random
from typing import NoReturn

from flux.domain.errors import Unavailable

LOOK_ROUND = 0.02
"""Seconds between looks at the file and at other writers: each look gives the GIL away, so not on every batch."""

_IMPATIENT = 20
"""A lock that was just waited for in vain is waited for a twentieth as long, until it was had again: what queued up
behind the first refusal has waited already, and would otherwise be refused after twice or three times the patience."""

_FIRST_PAUSE = 0.0005
_LONGEST_PAUSE = 0.02

_BUSY = frozenset({sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_PROTOCOL})
_AWAY = {
    sqlite3.SQLITE_READONLY: "is read-only",
    sqlite3.SQLITE_FULL: "cannot grow: the disk is full",
    sqlite3.SQLITE_CANTOPEN: "cannot be opened",
    sqlite3.SQLITE_IOERR: "had a disk I/O error",
    sqlite3.SQLITE_PERM: "may not be accessed",
    sqlite3.SQLITE_NOTADB: "is not an SQLite database",
    sqlite3.SQLITE_CORRUPT: "is damaged",
    sqlite3.SQLITE_NOMEM: "could not be used for want of memory",
}


def _primary(error: Exception) -> int:
    """The primary result code; 0 where the error came from the Python side."""
    if isinstance(error, MemoryError):  # what the driver makes of SQLITE_NOMEM
        return sqlite3.SQLITE_NOMEM
    return int(getattr(error, "sqlite_errorcode", 0)) & 0xFF


def is_busy(error: Exception) -> bool:
    """Whether somebody else holds the lock."""
    return _primary(error) in _BUSY


def is_away(error: Exception) -> bool:
    """Whether the file itself cannot be used now, so that this says nothing about the data of a statement."""
    return _primary(error) in _AWAY or is_busy(error)


class Link:
    """A connection that comes back by itself. Used by one thread at a time."""

    def __init__(self, path: str, *, reading: bool, patience: float, jitter: Random) -> None:
        self.path = path
        self._reading = reading
        self._patience = patience
        self._jitter = jitter
        self._connection: sqlite3.Connection | None = None
        self._file: tuple[int, int] | None = None
        self._known = False
        self._looked = 0.0
        self._data_version = -1
        self.contended_until = 0.0
        self._blocked_since: float | None = None
        self._refused_at = float("-inf")

    @property
    def in_memory(self) -> bool:
        """Whether there is no file, and so nothing to wait for or to lose."""
        return self.path == ":memory:" or "mode=memory" in self.path

    # --- opening ----------------------------------------------------------------------------------------------

    def ready(self) -> sqlite3.Connection:
        """The connection, opened when there is none and opened anew when the file under it was changed."""
        connection = self._connection
        if connection is None:
            return self._open()
        now = time.monotonic()
        if now - self._looked > LOOK_ROUND:
            self._looked = now
            # A connection to a deleted file goes on writing without any error, into nothing.
            if not self.in_memory and self._identity() != self._file:
                self.drop()
                return self._open()
            if not self._reading:
                self._notice_others(connection, now)
        return connection

    def _notice_others(self, connection: sqlite3.Connection, now: float) -> None:
        try:
            version = connection.execute("PRAGMA data_version").fetchone()[0]
        except sqlite3.Error as error:
            self._raise(error)
        if version != self._data_version and self._data_version != -1:
            self.contended_until = now + 0.1
        self._data_version = version

    def _identity(self) -> tuple[int, int]:
        try:
            status = os.stat(self.path)
        except OSError as error:
            self.drop()
            raise Unavailable(f"The database {self.path} is missing ({error.strerror}).") from error
        return status.st_dev, status.st_ino

    def _open(self) -> sqlite3.Connection:
        directory = os.path.dirname(self.path) or "."
        if not self.in_memory and not self.path.startswith("file:"):
            if not os.path.isdir(directory):
                raise Unavailable(f"The directory {directory} of the database {self.path} does not exist.")
            if self._known:
                # The first opening may create the file; a later one must not put an empty one in its place.
                self._identity()
        deadline = time.monotonic() + self._patience
        pause = _FIRST_PAUSE
        while True:
            try:
                connection = self._connect()
                break
            except sqlite3.Error as error:
                # Switching to WAL wants the file for itself for a moment, which several starters want at once.
                if not is_busy(error) or time.monotonic() > deadline:
                    self._raise(error)
            pause = self._sleep(pause)
        self._connection = connection
        self._looked = time.monotonic()
        self._data_version = -1
        if not self.in_memory:
            self._file = None if self.path.startswith("file:") else self._identity()
        return connection

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(
            self.path,
            timeout=2.0 if self._reading else 0.0,  # the writer waits by itself, in begin()
            isolation_level=None,
            check_same_thread=False,
            cached_statements=256,
            uri=self.path.startswith("file:"),
        )
        try:
            if not self.in_memory:
                connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = FULL")
            connection.execute("PRAGMA temp_store = MEMORY")
            # A drain writes a page of log for each few jobs: checkpoints four times as rare cost it a sixth less.
            connection.execute("PRAGMA wal_autocheckpoint = 4000")
            connection.execute("PRAGMA cache_size = -32768")
            if self._reading:
                connection.execute("PRAGMA query_only = ON")
            if self._known and not self.in_memory:
                row = connection.execute(
                    "SELECT count(*) FROM sqlite_master WHERE type = 'table' AND name = 'flux_migrations'"
                ).fetchone()
                if not row[0]:
                    raise Unavailable(
                        f"The database {self.path} was replaced by a file without Flux's tables."
                    )
        except BaseException:
            connection.close()
            raise
        return connection

    def schema_seen(self) -> None:
        """From now on the file must exist and have Flux's tables when it is opened again."""
        self._known = True

    def drop(self) -> None:
        """Close; the next use opens anew."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    # --- transactions -----------------------------------------------------------------------------------------

    def begin(self, connection: sqlite3.Connection) -> None:
        """BEGIN IMMEDIATE, tried again with jitter: SQLite's own waiting sleeps up to 100 ms and starves."""
        deadline = 0.0
        pause = _FIRST_PAUSE
        while True:
            try:
                connection.execute("BEGIN IMMEDIATE")
                self._blocked_since, self._refused_at = None, float("-inf")
                return
            except sqlite3.OperationalError as error:
                if not is_busy(error):
                    self._blocked_since = None
                    self._raise(error)
                now = time.monotonic()
                self.contended_until = now + 0.1
                if not deadline:
                    again = now - self._refused_at < self._patience
                    deadline = now + (self._patience / _IMPATIENT if again else self._patience)
                    self._blocked_since = (self._blocked_since if again else None) or now
                if now >= deadline:
                    self._refused_at = now
                    self._raise(error)
            pause = self._sleep(pause)

    def blocked(self) -> Unavailable | None:
        """What keeps the writer waiting right now; from any thread, for whoever cannot wait as long."""
        since = self._blocked_since
        return None if since is None else self._locked(time.monotonic() - since)

    def _locked(self, seconds: float) -> Unavailable:
        return Unavailable(
            f"The database {self.path} is locked by another process (tried for {seconds:.3g} s)."
        )

    def _sleep(self, pause: float) -> float:
        time.sleep(pause * self._jitter.uniform(0.5, 1.5))
        return min(pause * 1.5, _LONGEST_PAUSE)

    def rollback(self) -> None:
        """Undo what is open; a connection that cannot even do that is closed."""
        connection = self._connection
        if connection is None:
            return
        try:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
        except Exception:
            self.drop()

    def _raise(self, error: sqlite3.Error) -> NoReturn:
        raise self.explain(error) from error

    def explain(self, error: Exception) -> Unavailable:
        """One sentence with the file and the cause. The connection is opened anew unless it was only locked."""
        if is_busy(error):
            since = self._blocked_since
            return self._locked(self._patience if since is None else time.monotonic() - since)
        self.rollback()
        self.drop()
        # "disk I/O error" is all that SQLite says; the name tells a read from a write from a lock.
        name = (
            f", {getattr(error, 'sqlite_errorname', '')}" if _primary(error) == sqlite3.SQLITE_IOERR else ""
        )
        cause = str(error) or type(error).__name__
        return Unavailable(
            f"The database {self.path} {_AWAY.get(_primary(error), 'cannot be used')} ({cause}{name})."
        )

    def truncate_wal(self) -> None:
        """Give the space of the write-ahead log back. Whoever is in the way has precedence."""
        if self._connection is None or self.in_memory:
            return
        try:
            self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        except sqlite3.Error as error:
            if not is_busy(error):
                self.drop()
