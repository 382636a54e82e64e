"""The Changes port: local commits wake at once, those of other processes by LISTEN, and a poll is behind both.

What this process commits it tells the others with NOTIFY, on a connection of its own: within the transactions of claims
and outcomes it would let them commit only one after the other. It is told at once when somebody may be waiting for it
and little is going on, and the more commits come together, the longer it keeps silent then.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import logging
from typing import Any

from flux.domain.errors import FluxError
from flux.engine.ports import Topic
from flux.stores.postgres.database import Database
from flux.stores.postgres.errors import DRIVER, is_lost
from flux.stores.postgres.sql import Statement

logger = logging.getLogger("flux.postgres")

CHANNEL = "flux_changes"
QUIET = 0.05
"""Seconds that this process keeps silent after a notification, at most; and that what is not urgent waits for one."""
STEP = 0.01
"""Seconds of silence for each commit that was told: below a hundred a second each is told at once, above that a
notification is rare."""

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

    def __init__(self, database: Database, *, hinted: bool = False) -> None:
        """``hinted``: something else wakes workers, so that what became available is not urgent."""
        self._database = database
        self._urgent = Topic.DUE | Topic.ENDED | Topic.ORDERS | (Topic(0) if hinted else Topic.AVAILABLE)
        self._version = 0
        self._versions = dict.fromkeys(Topic.ANY, 0)
        self._bells: dict[Topic, asyncio.Future[None]] = {}
        self._task: asyncio.Task[None] | None = None
        self._connection: Any = None
        self._unsaid = Topic(0)
        self._commits = 0
        """How many of the unsaid were urgent."""
        self._something = asyncio.Event()
        self._pressing = asyncio.Event()
        self._closed = False
        self._changed_at = 0.0
        database.hub.subscribe(self._committed)

    def version(self, about: Topic = Topic.ANY) -> int:
        """See the port."""
        return self._version if about is Topic.ANY else max(self._versions[topic] for topic in about)

    async def wait(self, seen: int, timeout: float, about: Topic = Topic.ANY) -> int:
        """See the port."""
        version = self.version(about)
        if version > seen or timeout <= 0 or self._closed:
            return version
        bell = self._bells.get(about)
        if bell is None:
            bell = self._bells[about] = asyncio.get_running_loop().create_future()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout):
                await asyncio.shield(bell)
        return self.version(about)

    def open(self) -> None:
        """Begin to listen and to tell."""
        if self._task is None and not self._closed:
            self._something, self._pressing = asyncio.Event(), asyncio.Event()  # of the loop that opens it
            # In a context of its own: it works for all, whoever opened the store.
            self._task = asyncio.get_running_loop().create_task(
                self._run(), name="flux-postgres-changes", context=contextvars.Context()
            )

    async def close(self) -> None:
        """Let every waiter go and stop listening."""
        self._closed = True
        self._changed(Topic.ANY)
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    def reopen(self) -> None:
        """Be as new, after ``close``."""
        self._closed = False

    def _committed(self, about: Topic) -> None:
        self._changed(about)
        self._unsaid |= about
        self._something.set()
        if about & self._urgent:
            self._commits += 1
            self._pressing.set()

    def _changed(self, about: Topic) -> None:
        self._version += 1
        for topic in about:
            self._versions[topic] = self._version
        for wanted in [wanted for wanted in self._bells if wanted & about]:
            bell = self._bells.pop(wanted)
            if not bell.done():
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
            await self._something.wait()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(QUIET):
                    await self._pressing.wait()
            self._something.clear()
            self._pressing.clear()
            (unsaid, commits), self._unsaid, self._commits = (self._unsaid, self._commits), Topic(0), 0
            try:
                await self._notify(unsaid)
            except (FluxError, *DRIVER) as error:
                # The others poll as well.
                logger.debug("a change could not be told: %s", error)
                if is_lost(error):
                    self._hang_up()  # what does not carry what is said carries nothing to be heard either
            await asyncio.sleep(min(QUIET, STEP * commits))

    async def _notify(self, about: Topic) -> None:
        connection = self._connection
        told = f"NOTIFY {CHANNEL}, '{about.value}'"
        if connection is not None:
            await connection.execute(told)
        elif self._database.place.pooler:
            await self._database.calm(
                lambda session: session.script(f"SET LOCAL synchronous_commit = off; {told}", quiet=True)
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
                    self._changed(Topic.ANY)
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
            if not self._bells and self._connection is None:
                continue  # nobody waits
            try:
                [(now,)] = await self._database.statement(_LAST)
            except FluxError:
                continue
            if now != last:
                last = now
                self._changed_at = loop.time()
                self._changed(Topic.ANY)

    async def _listen(self) -> None:
        connection = await self._database.connect_directly()
        if connection is None:
            return
        try:
            mine = connection.get_server_pid()

            def heard(_: Any, pid: int, channel: str, payload: Any) -> None:
                if pid != mine:
                    self._changed(_about(payload))

            await connection.add_listener(CHANNEL, heard)
        except BaseException:
            connection.terminate()
            raise
        self._connection = connection


def _about(payload: str) -> Topic:
    """What a notification is about; one of another version may say what this one does not know."""
    try:
        return Topic(int(payload))
    except ValueError:
        return Topic.ANY
