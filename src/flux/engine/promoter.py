"""Promotion: ``scheduled`` and ``retrying`` jobs become available exactly when they are due, not at a tick."""

from __future__ import annotations

import asyncio
import logging
from random import Random

from flux.domain.ids import IdSource
from flux.domain.words import plural
from flux.engine.loops import Patience
from flux.engine.occurrences import plan_occurrence
from flux.engine.ports import Broker, Clock, DueOccurrence, OccurrencePlan, Store, Topic

logger = logging.getLogger("flux.promoter")

CHUNK = 1000
CLOSEST = 0.005
"""Seconds at least between two looks, however much changes."""


class Promoter:
    """Sleeps until the next thing is due; woken by changes, since they may be due earlier."""

    def __init__(self, store: Store, broker: Broker, clock: Clock, random: Random, interval: int) -> None:
        self._store = store
        self._broker = broker
        # Of its own: the store asks for plans in a thread of its own, and neither may be shared between threads.
        self._random = Random(random.getrandbits(64))
        self._ids = IdSource(clock.now, self._random)
        self._longest = interval / 1_000_000

    async def run(self, epoch: int) -> None:
        """Promote until cancelled. Raises ``NotLeader``."""
        patience = Patience(logger, "promotion")
        changes = self._store.changes
        while True:
            seen = changes.version(Topic.DUE)
            pause = await patience.attempt(lambda: self._pass(epoch))
            if pause > CLOSEST:
                await asyncio.sleep(CLOSEST)
                await changes.wait(seen, pause - CLOSEST, Topic.DUE)
            else:
                await asyncio.sleep(pause)

    async def _pass(self, epoch: int) -> float:
        duties = self._store.duties
        due = await duties.next_due()
        now = await self._store.now()
        if due is None:
            return self._longest
        if due > now:
            return min(self._longest, (due - now) / 1_000_000)
        promoted = await duties.promote_due(epoch, CHUNK, self._plan)
        if promoted.count:
            await self._broker.poke()
        expired = await duties.expire(epoch, CHUNK)
        if promoted.lag > 5_000_000:
            jobs = plural(promoted.count, "job")
            logger.warning("promotion was late: the oldest of %s by %.1f s", jobs, promoted.lag / 1e6)
        # Nothing done although something is due: it is the rescuer's (a deadline, a lease).
        return 0.0 if promoted.count or expired else 0.05

    def _plan(self, due: DueOccurrence) -> OccurrencePlan:
        return plan_occurrence(due, self._ids, self._random)
