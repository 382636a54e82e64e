"""The Changes port: local commits wake at once, those of other processes by a poll of ``PRAGMA data_version``."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import os
import sqlite3
import threading

from flux.stores.sqlite.database import Database

BUSY_POLL = 0.007
IDLE_POLL = 0.05
_LOOKS_A_STAT = 20
"""Looks for each question whether the file is still the same one: at rest, once a second."""

_BUSY_FOR = 1.0
"""Seconds since the last change that still count as busy."""


class SqliteChanges:
    """Wake-ups for waiters of any event loop.

    A loop with waiters has one poller, however many they are; a loop without any has none. Inline databases have no
    poller at all: what their hub tells is all there is, and other waits time out.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._polls = not database.inline and not database.in_memory
        self._lock = threading.Lock()
        self._version = 0
        self._rooms: dict[asyncio.AbstractEventLoop, _Room] = {}
        self._closed = False
        self._unsubscribe = database.hub.subscribe(self._changed)

    def version(self) -> int:
        """See the port."""
        return self._version

    async def wait(self, seen: int, timeout: float) -> int:
        """See the port."""
        if self._version > seen or timeout <= 0 or self._closed:
            return self._version
        loop = asyncio.get_running_loop()
        room = self._enter(loop)
        try:
            # Between the look at the version above and the entry something may have been committed.
            if self._version <= seen:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(timeout):
                        await room.wait()
        finally:
            self._leave(loop, room)
        return self._version

    async def close(self) -> None:
        """Let every waiter go and end this loop's poller."""
        self._unsubscribe()
        self._closed = True
        self._changed()
        with self._lock:
            rooms, self._rooms = self._rooms, {}
        for room in rooms.values():
            await room.close()

    def _enter(self, loop: asyncio.AbstractEventLoop) -> _Room:
        with self._lock:
            room = self._rooms.get(loop)
            if room is None:
                room = self._rooms[loop] = _Room(loop)
            room.waiters += 1
        if self._polls and room.poller is None:
            # In a context of its own: it works for all, whoever waited first.
            room.poller = loop.create_task(
                self._poll(room), name="flux-sqlite-changes", context=contextvars.Context()
            )
        return room

    def _leave(self, loop: asyncio.AbstractEventLoop, room: _Room) -> None:
        with self._lock:
            room.waiters -= 1
            if room.waiters == 0 and room.poller is None:
                self._rooms.pop(loop, None)

    def _changed(self) -> None:
        with self._lock:
            self._version += 1
            rooms = list(self._rooms.values())
        for room in rooms:
            room.wake()

    async def _poll(self, room: _Room) -> None:
        """Look for commits of others while anybody of this loop waits."""
        watch = _Watch(self._database.path)
        clock = room.loop.time
        changed_at = clock()
        try:
            while True:
                if watch.changed():
                    changed_at = clock()
                    self._changed()
                busy = clock() - changed_at < _BUSY_FOR
                await asyncio.sleep(BUSY_POLL if busy else IDLE_POLL)
                if room.waiters == 0 and not busy:
                    return
        finally:
            watch.close()
            # No await between the look at the waiters and this: nobody of this loop can have come in between.
            room.poller = None
            with self._lock:
                if room.waiters == 0:
                    self._rooms.pop(room.loop, None)


class _Room:
    """Those who wait in one event loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self.waiters = 0
        self.poller: asyncio.Task[None] | None = None
        self.closing = False
        self._bell: asyncio.Future[None] = loop.create_future()
        self._ringing = False

    async def wait(self) -> None:
        """Until the next wake."""
        await asyncio.shield(self._bell)

    def wake(self) -> None:
        """From any thread; many wakes before the loop gets to it are one."""
        if self._ringing or self.waiters == 0:
            return
        self._ringing = True
        try:
            self.loop.call_soon_threadsafe(self._ring)
        except RuntimeError:
            self._ringing = False  # the loop was closed: nobody waits there any more

    def _ring(self) -> None:
        self._ringing = False
        bell, self._bell = self._bell, self.loop.create_future()
        if not bell.done():
            bell.set_result(None)

    async def close(self) -> None:
        """End the poller, when this is its loop."""
        self.closing = True
        poller = self.poller
        if poller is None:
            return
        if self.loop is asyncio.get_running_loop():
            poller.cancel()
            await asyncio.gather(poller, return_exceptions=True)
        elif not self.loop.is_closed():
            self.loop.call_soon_threadsafe(poller.cancel)


class _Watch:
    """A connection that only asks whether others have committed since the last time (9 µs)."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._connection: sqlite3.Connection | None = None
        self._file: tuple[int, int] | None = None
        self._seen: int | None = None
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
                self._connection = sqlite3.connect(self._path, isolation_level=None, timeout=0.0)
                self._file = (status.st_dev, status.st_ino)
                self._seen = None
            version: int = self._connection.execute("PRAGMA data_version").fetchone()[0]
        except (OSError, sqlite3.Error):
            self.close()
            return False
        seen, self._seen = self._seen, version
        # The first look says nothing of what came before it, so it counts as a change.
        return seen != version

    def close(self) -> None:
        """Give the connection back."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None
