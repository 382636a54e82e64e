"""Pruning: finished jobs past retention are forgotten, in short transactions."""

from __future__ import annotations

import logging

from flux.engine.loops import forever
from flux.engine.ports import Retention, Store

logger = logging.getLogger("flux.pruner")

CHUNK = 1000
BREATH = 0.02
REST = 30.0
"""Seconds between two sweeps when nothing is left to do."""


class Pruner:
    """Forgets by age and by number."""

    def __init__(self, store: Store, retention: Retention) -> None:
        self._store = store
        self._retention = retention

    async def run(self, epoch: int) -> None:
        """Prune until cancelled. Raises ``NotLeader``."""

        async def work() -> float:
            more = await self._store.duties.prune(epoch, self._retention, CHUNK)
            # A breath between chunks: jobs that run matter more than old ones that leave.
            return BREATH if more else REST

        await forever(logger, "pruning", work)
