"""Rescue: jobs whose worker is gone run again elsewhere."""

from __future__ import annotations

import logging

from flux.engine.loops import forever
from flux.engine.ports import Store

logger = logging.getLogger("flux.rescuer")

CHUNK = 1000


class Rescuer:
    """Takes back running jobs without a live worker, and those far past their deadline."""

    def __init__(self, store: Store, interval: int, grace: int) -> None:
        self._store = store
        self._longest = min(1.0, interval / 1_000_000)
        self._grace = grace

    async def run(self, epoch: int) -> None:
        """Rescue until cancelled. Raises ``NotLeader``."""

        async def work() -> float:
            rescued = await self._store.duties.rescue_lost(epoch, self._grace, CHUNK)
            if rescued:
                logger.warning(
                    "%d running jobs had lost their worker (or their deadline); they were taken back", rescued
                )
            return 0.0 if rescued >= CHUNK else self._longest

        await forever(logger, "rescue", work)
