"""The lookout: a thread that notices what other processes commit, by a poll of ``PRAGMA data_version``."""

from __future__ import annotations

import os
import sqlite3
import threading
import time
from collections.abc import Callable
from pathlib import Path

BUSY_POLL = 0.007
IDLE_POLL = 0.05

_BUSY_FOR = 1.0
"""Seconds since something last happened that still count as busy."""

_LOOKS_A_STAT = 20
"""Looks for each question whether the file is still the same one: at rest, once a second."""

_PATIENCE = 1.0
"""Seconds that the end waits for the thread, which only a disk that stands still can hold up."""


class Lookout:
    """Looks while anybody waits: often while something happens, else every 50 ms.

    In a thread of its own and not in an event loop, because a worker at rest does nothing but this, and a timer, a
    task and a turn of the loop cost more than twice of what a thread's sleep does. It starts with the first one who
    waits, and is parked while nobody does.
    """

    def __init__(self, path: str, changed: Callable[[], None]) -> None:
        """``changed`` is called in the thread, after each look that found something new."""
        self._path = path
        self._changed = changed
        self._lock = threading.Lock()
        self._bell = threading.Lock()
        self._bell.acquire()
        self._thread: threading.Thread | None = None
        self._waiters = 0
        self._parked = False
        self._over = False

    def enter(self) -> None:
        """One more waits."""
        with self._lock:
            self._waiters += 1
            if self._over:
                return
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="flux-sqlite-lookout", daemon=True)
                self._thread.start()
            elif self._parked:
                self._ring()

    def leave(self) -> None:
        """One less."""
        with self._lock:
            self._waiters -= 1

    def close(self) -> None:
        """End the thread."""
        with self._lock:
            self._over = True
            self._ring()
        if self._thread is not None:
            self._thread.join(_PATIENCE)

    def _ring(self) -> None:
        # Under the lock: only the thread itself may come in between, and that makes it no worse than rung twice.
        self._parked = False
        if self._bell.locked():
            self._bell.release()

    def _run(self) -> None:
        glass = Glass(self._path)
        busy_until = time.monotonic() + _BUSY_FOR
        try:
            while not self._over:
                if glass.changed():
                    self._changed()
                    if glass.eventful():
                        busy_until = time.monotonic() + _BUSY_FOR
                pause = BUSY_POLL if time.monotonic() < busy_until else IDLE_POLL
                with self._lock:
                    # Not while busy: it would be woken for each wait.
                    self._parked = not self._waiters and pause == IDLE_POLL and not self._over
                self._bell.acquire(timeout=-1 if self._parked else pause)
        finally:
            glass.close()


class Glass:
    """A connection that only asks whether others have committed since the last time."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._connection: sqlite3.Connection | None = None
        self._file: tuple[int, int] | None = None
        self._seen: int | None = None
        self._newest: int | None = None
        self._looks = 0

    def changed(self) -> bool:
        """Whether the file was committed to. A file that cannot be read has not changed: waits time out then."""
        try:
            self._looks += 1
            if self._looks % _LOOKS_A_STAT == 0 and self._connection is not None:
                status = os.stat(self._path)
                if (status.st_dev, status.st_ino) != self._file:
                    self.close()
            if self._connection is None:
                status = os.stat(self._path)
                # Not to make a file where one went away meanwhile: SQLite would take its log for another's.
                there = f"{Path(self._path).absolute().as_uri()}?mode=rw"
                self._connection = sqlite3.connect(there, uri=True, isolation_level=None, timeout=0.0)
                self._file = (status.st_dev, status.st_ino)
                self._seen = None
            version: int = self._connection.execute("PRAGMA data_version").fetchone()[0]
        except (OSError, sqlite3.Error):
            self.close()
            return False
        seen, self._seen = self._seen, version
        # The first look says nothing of what came before it, so it counts as a change.
        return seen != version

    def eventful(self) -> bool:
        """Whether there is an event that was not there last time. Heartbeats and renewed leaderships are commits
        without any: a store where nothing else happens is at rest, however many keep their leases there."""
        if self._connection is None:
            return False
        try:
            newest: int | None = self._connection.execute("SELECT max(sequence) FROM events").fetchone()[0]
        except sqlite3.Error:  # busy, or not a store of ours (yet): nobody knows
            return True
        before, self._newest = self._newest, newest
        return before != newest

    def close(self) -> None:
        """Give the connection back."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None
