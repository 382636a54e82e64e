"""A bounded number of connections, opened when they are needed and opened again when they were lost."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from flux.domain.errors import FluxError, Unavailable

Connection = Any
"""asyncpg's; its calls are typed where they are made, in ``session.py``."""

_FIRST_PAUSE = 0.05
_LONGEST_PAUSE = 1.0


class Pool:
    """At most ``size`` connections; who finds none waits his turn.

    After a failure to connect the answer is the same for a moment (50 ms, then doubled up to a second), so that a
    server that comes back is not met by everybody at once.
    """

    def __init__(self, connect: Callable[[], Awaitable[Connection]], size: int) -> None:
        self._connect = connect
        self._turns = asyncio.Semaphore(size)
        self._idle: list[Connection] = []
        self._taken: set[Connection] = set()
        self._pause = 0.0
        self._until = 0.0
        self._error: FluxError | None = None
        self._closed = False

    async def take(self) -> Connection:
        """A connection, to be given back. Raises ``Unavailable``."""
        await self._turns.acquire()
        try:
            while self._idle:
                connection = self._idle.pop()
                if not connection.is_closed():
                    break
            else:
                connection = await self._open()
        except BaseException:
            self._turns.release()
            raise
        self._taken.add(connection)
        return connection

    def give(self, connection: Connection, *, sound: bool) -> None:
        """Give one back; one that is not ``sound`` is cut, which undoes what was open on it."""
        self._taken.discard(connection)
        if sound and not self._closed and not connection.is_closed():
            self._idle.append(connection)
        else:
            connection.terminate()
        self._turns.release()

    def doubt(self) -> None:
        """Cut the idle ones: what silenced another may have silenced all, and each would be waited for as long."""
        idle, self._idle = self._idle, []
        for connection in idle:
            connection.terminate()

    async def _open(self) -> Connection:
        now = asyncio.get_running_loop().time()
        if self._closed:
            raise Unavailable("The database is closed.")
        if self._error is not None and now < self._until:
            raise Unavailable(str(self._error))
        try:
            connection = await self._connect()
        except Unavailable as error:
            self._pause = min(_LONGEST_PAUSE, self._pause * 2 or _FIRST_PAUSE)
            self._until = asyncio.get_running_loop().time() + self._pause
            self._error = error
            raise
        self._pause, self._error = 0.0, None
        return connection

    async def close(self) -> None:
        """Say goodbye to the idle ones and cut the others."""
        self._closed = True
        idle, self._idle = self._idle, []
        for connection in idle:
            try:
                await connection.close(timeout=1.0)
            except Exception:
                connection.terminate()
        for connection in list(self._taken):
            connection.terminate()
