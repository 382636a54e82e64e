"""Backpressure: past a queue's maximum depth new jobs are refused.

The depth is sampled, so the bound is soft by a second.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from flux.domain.duration import SECOND
from flux.domain.errors import TooDeep
from flux.domain.job import NewJob
from flux.engine.ports import Clock, Store


class DepthGauge:
    """How deep each bounded queue is, as of the last second, plus what this process added since."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._read_at = -SECOND
        self._room: dict[str, int] = {}

    async def admit(self, jobs: Sequence[NewJob]) -> None:
        """Raise ``TooDeep`` when a queue of these jobs has no room for them."""
        now = self._clock.monotonic()
        if now - self._read_at >= SECOND:
            self._read_at = now
            self._room = {
                view.settings.name: view.settings.max_depth - _waiting(view.depth)
                for view in await self._store.queues.list()
                if view.settings.max_depth is not None
            }
        if not self._room:
            return
        wanted = Counter(job.queue for job in jobs)
        for queue, count in wanted.items():
            if self._room.get(queue, count) < count:
                raise TooDeep(
                    f"queue {queue} is at its maximum depth; nothing was stored, try again in a second",
                    SECOND,
                )
        for queue, count in wanted.items():
            if queue in self._room:
                self._room[queue] -= count


def _waiting(depth: dict[str, int]) -> int:
    return sum(n for state, n in depth.items() if state != "running")
