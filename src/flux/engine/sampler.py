"""Depth by queue and state, sampled: nobody counts rows per request."""

from __future__ import annotations

import asyncio
import logging

from flux.engine.loops import Patience
from flux.engine.ports import Store

logger = logging.getLogger("flux.sampler")

EVERY = 1.0
AT_REST = 30.0


class Sampler:
    """Samples each second while something changes."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def run(self, epoch: int) -> None:
        """Sample until cancelled. Raises ``NotLeader``."""
        patience = Patience(logger, "the sampling of depth")
        changes = self._store.changes

        async def work() -> float:
            await self._store.duties.sample_depth(epoch)
            return EVERY

        while True:
            # Taken before the look, so that no change is missed. The sample's own commit is one too: it brings one more
            # look, which finds nothing new and writes nothing.
            seen = changes.version()
            await asyncio.sleep(await patience.attempt(work))
            await changes.wait(seen, AT_REST)
