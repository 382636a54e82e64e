"""The dispatcher's side of the streams."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from flux.brokers.redis.link import Link
from flux.brokers.redis.names import lane_name, lane_of
from flux.brokers.redis.wakes import Wakes
from flux.engine.ports import Lane, News

PAGE: Final = 1000
"""Hints of one call: a long one would keep everybody else from Redis."""

SILENT_FOR: Final = 3_000
"""Milliseconds after which what a consumer was given is given to others: a claim takes a thousandth of it."""


class RedisLanes:
    """See ``flux.engine.ports.Lanes``."""

    def __init__(self, link: Link, wakes: Wakes, width: int) -> None:
        self._link = link
        self._wakes = wakes
        self.width = width

    @property
    def up(self) -> bool:
        """See the port."""
        return self._link.up

    async def take_over(self) -> None:
        """See the port."""
        await self._link.run("takeover", SILENT_FOR)

    async def full(self) -> dict[Lane, int]:
        """See the port."""
        found: dict[bytes, bytes] = await self._link.command("HGETALL", self._link.prefix + "full")
        return {lane_of(name.decode()): int(count) for name, count in found.items()}

    async def length(self, lane: Lane) -> int:
        """See the port."""
        length: int = await self._link.command("XLEN", self._stream(lane))
        return length

    async def held(self, lane: Lane) -> set[str]:
        """See the port. Page by page."""
        held: set[str] = set()
        start = "-"
        while True:
            page: list[tuple[bytes, tuple[bytes, bytes]]] = await self._link.command(
                "XRANGE", self._stream(lane), start, "+", "COUNT", PAGE
            )
            held.update([job_id.decode() for _, (_, job_id) in page])
            if len(page) < PAGE:
                return held
            start = "(" + page[-1][0].decode()

    async def feed(self, lane: Lane, ids: Sequence[str]) -> int:
        """See the port."""
        name = lane_name(lane.queue, lane.priority)
        fed = 0
        for first in range(0, len(ids), PAGE):
            page = ids[first : first + PAGE]
            put: int = await self._link.run("publish", self.width, 1, "", name, " ".join(page))
            fed += put
            if put < len(page):
                break
        return fed

    async def mark_full(self, lane: Lane) -> None:
        """See the port."""
        name = lane_name(lane.queue, lane.priority)
        await self._link.command("HSETNX", self._link.prefix + "full", name, 0)

    async def reopen(self, lane: Lane, passed_by: int) -> None:
        """See the port."""
        await self._link.run("reopen", lane_name(lane.queue, lane.priority), passed_by)

    async def wait(self, timeout: float) -> News:
        """See the port."""
        bell = self._wakes.dispatcher()
        await bell.wait(timeout)
        words = bell.quiet()
        return News(low=tuple(lane_of(word) for word in sorted(words) if word), poked="" in words)

    def _stream(self, lane: Lane) -> str:
        return f"{self._link.prefix}lane:{lane_name(lane.queue, lane.priority)}"
