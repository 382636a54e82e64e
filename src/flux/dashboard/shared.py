"""Many viewers, one query: answers are shared for a quarter of a second, and kept for when the store is away."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar, cast

from flux.domain.errors import Unavailable
from flux.engine.ports import Clock

FRESH = 250_000
"""Microseconds for which an answer is given again."""

MOST_KEPT = 128
"""Answers kept for bad days; a job's page may hold two megabytes."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Shot(Generic[T]):
    """An answer and when it was true (µs). ``away`` says why there is no newer one."""

    value: T
    at: int
    away: str | None = None


class Shared:
    """Answers by key. At most one query per key is under way, however many ask."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._kept: OrderedDict[str, tuple[int, Shot[Any]]] = OrderedDict()
        self._asking: dict[str, asyncio.Task[Any]] = {}
        self._tasks: set[asyncio.Task[Any]] = set()
        self._epoch = 0

    async def get(self, key: str, load: Callable[[], Awaitable[T]]) -> Shot[T]:
        """The answer, at most 250 ms old, or an older one marked so. Raises what ``load`` raises."""
        kept = self._kept.get(key)
        if kept is not None and self._clock.monotonic() - kept[0] < FRESH:
            return cast("Shot[T]", kept[1])
        task = self._asking.get(key)
        if task is None:
            # A task of its own, because the first to ask may leave before the others have their answer.
            task = asyncio.ensure_future(self._ask(key, load))
            self._asking[key] = task
            self._tasks.add(task)
            task.add_done_callback(lambda done: self._asked(key, done))
        return cast("Shot[T]", await asyncio.shield(task))

    def forget(self) -> None:
        """Something was changed from here: whoever looks next must see it."""
        self._epoch += 1
        self._asking.clear()
        self._kept = OrderedDict((key, (-FRESH, shot)) for key, (_, shot) in self._kept.items())

    async def close(self) -> None:
        """End what is under way."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _asked(self, key: str, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if self._asking.get(key) is task:
            del self._asking[key]
        if not task.cancelled():
            task.exception()  # looked at here too, in case everybody who asked has left

    async def _ask(self, key: str, load: Callable[[], Awaitable[T]]) -> Shot[T]:
        epoch = self._epoch
        began, at = self._clock.monotonic(), self._clock.now()
        try:
            value = await load()
        except Unavailable as error:
            kept = self._kept.get(key)
            if kept is None:
                raise
            shot: Shot[T] = Shot(kept[1].value, kept[1].at, str(error))
        else:
            shot = Shot(value, at)
        if epoch == self._epoch:
            self._kept[key] = (began, shot)
            self._kept.move_to_end(key)
            if len(self._kept) > MOST_KEPT:
                self._kept.popitem(last=False)
        return shot
