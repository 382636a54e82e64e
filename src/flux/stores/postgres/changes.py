"""The Changes port: local commits wake at once, those of other processes by LISTEN, and a poll is behind both.

What this process commits it tells the others with NOTIFY, at most once in 50 ms and on a connection of its own: within
the transactions of claims and outcomes it would let them commit only one after the other.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import logging
from typing import Any

from flux.domain.errors import FluxError
from flux.stores.postgres.database import Database
from flux.stores.postgres.errors import DRIVER
from flux.stores.postgres.sql import Statement

logger = logging.getLogger("flux.postgres")

CHANNEL = "flux_changes"
QUIET = 0.05
"""Seconds between two notifications of one process."""

_LISTENED_POLL = 5.0
_BUSY_POLL = 0.05
_IDLE_POLL = 0.25
_BUSY_FOR = 2.0
"""Seconds since the last change that still count as busy, where nothing can be listened to."""
_COME_BACK = 1.0

_LAST = Statement("last_change", "SELECT last_value FROM flux.event_order")
"""Every change writes an event, and so moves this."""


class PostgresChanges:
    """Wake-ups for waiters of the store's event loop."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._version = 0
        self._bell: asyncio.Future[None] | None = None
        self._task: asyncio.Task[None] | None = None
        self._connection: Any = None
        self._unsaid = asyncio.Event()
        self._closed = False
        self._changed_at = 0.0
        database.hub.subscribe(self._committed)

    def version(self) -> int:
        """See the port."""
        return self._version

    async def wait(self, seen: int, timeout: float) -> int:
        """See the port."""
        if self._version > seen or timeout <= 0 or self._closed:
            return self._version
        if self._bell is None:
            self._bell = asyncio.get_running_loop().create_future()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout):
                await asyncio.shield(self._bell)
        return self._version

    def open(self) -> None:
        """Begin to listen and to tell."""
        if self._task is None and not self._closed:
            self._unsaid = asyncio.Event()  # of the loop that opens it
            # In a context of its own: it works for all, whoever opened the store.
            self._task = asyncio.get_running_loop().create_task(
                self._run(), name="flux-postgres-changes", context=contextvars.Context()
            )

    async def close(self) -> None:
        """Let every waiter go and stop listening."""
        self._closed = True
        self._changed()
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    def reopen(self) -> None:
        """Be as new, after ``close``."""
        self._closed = False

    def _committed(self) -> None:
        self._changed()
        self._unsaid.set()

    def _changed(self) -> None:
        self._version += 1
        bell, self._bell = self._bell, None
        if bell is not None and not bell.done():
            bell.set_result(None)

    # --- other processes --------------------------------------------------------------------------------------

    async def _run(self) -> None:
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._tell())
                group.create_task(self._hear())
        finally:
            self._hang_up()

    def _hang_up(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.terminate()

    async def _tell(self) -> None:
        """Say what this process has committed, once for all that came together."""
        while True:
            await self._unsaid.wait()
            self._unsaid.clear()
            try:
                await self._notify()
            except (FluxError, *DRIVER) as error:
                # The others poll as well.
                logger.debug("a change could not be told: %s", error)
            await asyncio.sleep(QUIET)

    async def _notify(self) -> None:
        connection = self._connection
        if connection is not None:
            await connection.execute(f"NOTIFY {CHANNEL}")
        elif self._database.place.pooler:
            await self._database.calm(
                lambda session: session.script(
                    f"SET LOCAL synchronous_commit = off; NOTIFY {CHANNEL}", quiet=True
                )
            )

    async def _hear(self) -> None:
        """Listen, or where that is not possible ask; and ask now and then in any case."""
        loop = asyncio.get_running_loop()
        last: int | None = None
        failures = 0
        while True:
            if self._connection is None or self._connection.is_closed():
                self._connection = None
                try:
                    await self._listen()
                    failures = 0
                    # What was said before it listened was said to nobody.
                    self._changed()
                except (FluxError, *DRIVER) as error:
                    failures += 1
                    logger.debug("changes cannot be listened to: %s", error)
            if self._connection is not None:
                pause = _LISTENED_POLL
            elif failures:
                pause = _COME_BACK
            else:
                pause = _BUSY_POLL if loop.time() - self._changed_at < _BUSY_FOR else _IDLE_POLL
            await asyncio.sleep(pause)
            if self._bell is None and self._connection is None:
                continue  # nobody waits
            try:
                [(now,)] = await self._database.statement(_LAST)
            except FluxError:
                continue
            if now != last:
                last = now
                self._changed_at = loop.time()
                self._changed()

    async def _listen(self) -> None:
        connection = await self._database.connect_directly()
        if connection is None:
            return
        try:
            mine = connection.get_server_pid()

            def heard(_: Any, pid: int, channel: str, payload: Any) -> None:
                if pid != mine:
                    self._changed()

            await connection.add_listener(CHANNEL, heard)
        except BaseException:
            connection.terminate()
            raise
        self._connection = connection
