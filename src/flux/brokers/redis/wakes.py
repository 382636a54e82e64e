"""What this process hears from Redis: that a worker of it should look, that the dispatcher should."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Final

from flux.brokers.redis.link import Link

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
    """The bells of a process; it listens from the first one on."""

    def __init__(self, link: Link, process: str) -> None:
        self._link = link
        self._own = link.prefix + "wake:" + process
        self._pokes = link.prefix + "poke"
        self._workers: dict[str, Bell] = {}
        self._dispatcher: Bell | None = None

    def worker(self, worker_id: str) -> Bell:
        """The bell of a worker of this process: it says "" when there is something to find, or hands a hint over."""
        bell = self._workers.get(worker_id)
        if bell is None:
            # A worker has a new id after each lapse of its lease.
            for stale in list(self._workers)[:-MOST_WORKERS]:
                del self._workers[stale]
            bell = self._workers[worker_id] = Bell()
            self._link.listen(self._own, self._wake)
        return bell

    def dispatcher(self) -> Bell:
        """The bell of the dispatcher: it says "" for a poke, and a lane's name when that runs low."""
        if self._dispatcher is None:
            self._dispatcher = Bell()
            self._link.listen(self._pokes, self._dispatcher.ring)
            # What was said before this was not heard.
            self._dispatcher.ring("")
        return self._dispatcher

    def ring_all(self) -> None:
        """Whoever waits looks for himself."""
        for bell in self._workers.values():
            bell.ring("")
        if self._dispatcher is not None:
            self._dispatcher.ring("")

    def _wake(self, text: str) -> None:
        worker_id, _, given = text.partition(" ")
        if (bell := self._workers.get(worker_id)) is not None:
            bell.ring(given)
