"""The Changes port: local commits wake at once, those of other processes as soon as the lookout sees them."""

from __future__ import annotations

import asyncio
import contextlib
import threading

from flux.engine.ports import Topic
from flux.stores.sqlite.database import Database
from flux.stores.sqlite.lookout import Lookout


class SqliteChanges:
    """Wake-ups for waiters of any event loop, each of which is woken once however many wait there.

    The file says only that it has changed, so that every change may be about anything.

    Inline databases have no lookout: what their hub tells is all there is, and other waits time out.
    """

    def __init__(self, database: Database) -> None:
        watched = not database.inline and not database.in_memory
        self._lookout = Lookout(database.path, self._changed) if watched else None
        self._lock = threading.Lock()
        self._version = 0
        self._rooms: dict[asyncio.AbstractEventLoop, _Room] = {}
        self._closed = False
        self._unsubscribe = database.hub.subscribe(self._changed)

    def version(self, about: Topic = Topic.ANY) -> int:
        """See the port."""
        return self._version

    async def wait(self, seen: int, timeout: float, about: Topic = Topic.ANY) -> int:
        """See the port."""
        if self._version > seen or timeout <= 0 or self._closed:
            return self._version
        room = self._enter(asyncio.get_running_loop())
        try:
            # Between the look at the version above and the entry something may have been committed.
            if self._version <= seen:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(timeout):
                        await room.wait()
        finally:
            self._leave(room)
        return self._version

    async def close(self) -> None:
        """Let every waiter go and end the lookout."""
        self._unsubscribe()
        self._closed = True
        self._changed()
        if self._lookout is not None:
            self._lookout.close()

    def _enter(self, loop: asyncio.AbstractEventLoop) -> _Room:
        with self._lock:
            room = self._rooms.get(loop)
            if room is None:
                room = self._rooms[loop] = _Room(loop)
            room.waiters += 1
        if self._lookout is not None:
            self._lookout.enter()
        return room

    def _leave(self, room: _Room) -> None:
        if self._lookout is not None:
            self._lookout.leave()
        with self._lock:
            room.waiters -= 1
            if room.waiters == 0:
                del self._rooms[room.loop]

    def _changed(self) -> None:
        with self._lock:
            self._version += 1
            rooms = list(self._rooms.values())
        for room in rooms:
            room.wake()


class _Room:
    """Those who wait in one event loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self.waiters = 0
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
