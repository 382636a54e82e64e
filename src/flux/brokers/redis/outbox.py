"""Hints on their way to Redis: those that come while others are being sent go together."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Sequence
from typing import Final

from flux.brokers.redis.link import Call, Link
from flux.brokers.redis.names import lane_name
from flux.domain.errors import Unavailable
from flux.engine.ports import Hint

TOGETHER: Final = 1000
"""The most hints of one call."""

MOST: Final = 100_000
"""The most hints that wait; the dispatcher repeats what is dropped past it."""


class Outbox:
    """What this process has to publish."""

    def __init__(self, link: Link, width: int) -> None:
        self._link = link
        self._width = width
        self._hints: list[Hint] = []
        self._sending: asyncio.Task[None] | None = None

    def put(self, hints: Sequence[Hint]) -> None:
        """Send these soon; none while Redis is away: the dispatcher gives them when it is back."""
        if not self._link.up or len(self._hints) >= MOST:
            return
        self._hints += hints
        if self._sending is None:
            # The first are on their way when this returns: somebody may be waiting for them.
            self._sending = asyncio.get_running_loop().create_task(
                self._send(self._next()), name="flux-redis-publish", context=contextvars.Context()
            )

    async def drain(self) -> None:
        """Return when everything is sent."""
        if self._sending is not None:
            await asyncio.wait([self._sending])

    def _next(self) -> Call:
        batch, self._hints = self._hints[:TOGETHER], self._hints[TOGETHER:]
        lanes: dict[str, list[str]] = {}
        for hint in batch:
            lanes.setdefault(lane_name(hint.queue, hint.priority), []).append(hint.job_id)
        words = [word for lane, ids in lanes.items() for word in (lane, " ".join(ids))]
        return self._link.send("publish", self._width, 0, "", *words)

    async def _send(self, call: Call) -> None:
        try:
            await self._link.answer(call)
            while self._hints:
                await self._link.answer(self._next())
        except Unavailable:
            self._hints.clear()
        finally:
            self._sending = None
