"""What this process hears from Redis: that a worker of it should look, that the dispatcher should."""

from __future__ import annotations

import asyncio
import contextvars
from contextlib import suppress
from typing import Final

from redis.asyncio.client import PubSub

from flux.brokers.redis.link import TROUBLES, Link, cancellations

SILENCE: Final = 10.0
"""Seconds without a word after which the connection is asked whether it is still there."""

LONG: Final = 60.0
MOST_WORKERS: Final = 64


class Bell:
    """Rings for one who waits; what rings while nobody waits is heard by the next wait."""

    def __init__(self) -> None:
        self._event = asyncio.Event()
        self.words: set[str] = set()

    def ring(self, word: str) -> None:
        """Say something."""
        self.words.add(word)
        self._event.set()

    def quiet(self) -> set[str]:
        """What was said; from now on it is news again."""
        words, self.words = self.words, set()
        self._event.clear()
        return words

    async def wait(self, timeout: float) -> None:
        """Until it rings, or for ``timeout`` seconds."""
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout):
                await self._event.wait()


class Wakes:
    """One connection that listens for the whole process, from the first one who waits on."""

    def __init__(self, link: Link, process: str) -> None:
        self._link = link
        self._own = link.prefix + "wake:" + process
        self._pokes = link.prefix + "poke"
        self._workers: dict[str, Bell] = {}
        self._dispatcher: Bell | None = None
        self._pubsub: PubSub | None = None
        self._task: asyncio.Task[None] | None = None
        self._subscribing = asyncio.Lock()
        """Two at once on a connection not made yet would make two, and one of them would be heard by nobody."""

    def worker(self, worker_id: str) -> Bell:
        """The bell of a worker of this process."""
        bell = self._workers.get(worker_id)
        if bell is None:
            # A worker has a new id after each lapse of its lease.
            for stale in list(self._workers)[:-MOST_WORKERS]:
                del self._workers[stale]
            bell = self._workers[worker_id] = Bell()
        self._start()
        return bell

    async def dispatcher(self) -> Bell:
        """The bell of the dispatcher: it says "" for a poke, and a lane's name when that runs low."""
        if self._dispatcher is None:
            self._dispatcher = Bell()
            async with self._subscribing:
                if self._pubsub is not None and self._pokes.encode() not in self._pubsub.channels:
                    try:
                        await self._pubsub.subscribe(self._pokes)
                    except TROUBLES as error:
                        self._link.lost(error)
        self._start()
        return self._dispatcher

    async def close(self) -> None:
        """Listen no more."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    def _start(self) -> None:
        if self._task is None or self._task.done():
            # In a context of its own: it listens for all, whoever waited first.
            self._task = asyncio.get_running_loop().create_task(
                self._listen(), name="flux-redis-wakes", context=contextvars.Context()
            )

    async def _listen(self) -> None:
        while not cancellations():
            while not self._link.up:
                await self._link.change(LONG)
            self._pubsub = self._link.listener()
            try:
                async with self._subscribing:
                    channels = [self._own] if self._dispatcher is None else [self._own, self._pokes]
                    await self._pubsub.subscribe(*channels)
                await self._hear(self._pubsub)
            except TROUBLES as error:
                self._link.lost(error)
            finally:
                pubsub, self._pubsub = self._pubsub, None
                with suppress(*TROUBLES):
                    await pubsub.aclose()  # type: ignore[no-untyped-call]

    async def _hear(self, pubsub: PubSub) -> None:
        asked = False
        while not cancellations():
            message = await pubsub.get_message(timeout=SILENCE)
            if message is None:
                if asked:
                    raise TimeoutError("it has fallen silent")
                await pubsub.ping()
                asked = True
                continue
            asked = False
            if message["type"] == "subscribe":
                # What was said before this was not heard.
                self._ring_all()
            elif message["type"] == "message":
                word = message["data"].decode()
                if message["channel"].decode() == self._pokes:
                    if self._dispatcher is not None:
                        self._dispatcher.ring(word)
                elif (bell := self._workers.get(word)) is not None:
                    bell.ring("")

    def _ring_all(self) -> None:
        for bell in self._workers.values():
            bell.ring("")
        if self._dispatcher is not None:
            self._dispatcher.ring("")
