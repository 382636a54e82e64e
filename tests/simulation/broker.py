"""A broker that loses, repeats and delays hints, and is wiped now and then; nothing may depend on it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from random import Random

import msgspec

from flux.domain.errors import Unavailable
from flux.engine.ports import Demand, Hint, Offer
from tests.simulation.history import History


class Manners(msgspec.Struct):
    """How badly it behaves. Probabilities for each hint, or each call for ``refuse``."""

    lose: float = 0.0
    repeat: float = 0.0
    late: float = 0.0
    refuse: float = 0.0

    def calm(self) -> None:
        """Behave from now on."""
        self.lose = self.repeat = self.late = self.refuse = 0.0


class Carrier:
    """The broker's server: the hints of all processes."""

    def __init__(self, random: Random, manners: Manners, history: History) -> None:
        self.random = random
        self.manners = manners
        self.history = history
        self.hints: list[tuple[float, Hint]] = []

    def wipe(self) -> None:
        """FLUSHALL."""
        self.history.say("the broker is wiped (%d hints)", len(self.hints))
        self.hints.clear()

    def put(self, hint: Hint, now: float) -> None:
        """Take a hint: once, twice, later, or not at all."""
        random, manners = self.random.random, self.manners
        if random() < manners.lose:
            return
        for _ in range(2 if random() < manners.repeat else 1):
            delay = random() * (5.0 if random() < manners.late else 0.005)
            self.hints.append((now + delay, hint))

    def take(self, demand: Demand, now: float) -> tuple[str, ...]:
        """Hints that have arrived and fit; some stay, and are offered to somebody else too."""
        taken: list[str] = []
        kept: list[tuple[float, Hint]] = []
        for at, hint in self.hints:
            fits = demand.every_queue or hint.queue in demand.queues
            if at <= now and fits and len(taken) < demand.slots:
                taken.append(hint.job_id)
                if self.random.random() < self.manners.repeat:
                    kept.append((now + self.random.random(), hint))
            else:
                kept.append((at, hint))
        self.hints = kept
        return tuple(taken)


class LossyBroker:
    """One process's side of it. Once a second it looks by policy, as its dispatcher would refill the lanes."""

    LOOK_BY_POLICY = 1.0

    def __init__(self, carrier: Carrier) -> None:
        self._carrier = carrier
        self._looked = 0.0

    async def publish(self, hints: Sequence[Hint]) -> None:
        """Offer hints, or fail: enqueue must not mind."""
        await self._travel()
        now = asyncio.get_running_loop().time()
        for hint in hints:
            self._carrier.put(hint, now)
        await self._travel()

    async def receive(self, demand: Demand, timeout: float) -> Offer | None:
        """Hints that fit, or now and then a look by policy."""
        loop = asyncio.get_running_loop()
        await self._travel()
        until = loop.time() + timeout
        while True:
            now = loop.time()
            if demand.slots > 0 and (ids := self._carrier.take(demand, now)):
                return Offer(ids)
            if now - self._looked >= self.LOOK_BY_POLICY:
                self._looked = now
                return Offer(None)
            if now >= until:
                return None
            await asyncio.sleep(min(0.05, until - now))

    async def acknowledge(self, offer: Offer, demand: Demand, claimed: int) -> None:
        """Nothing to drop: what was taken is gone."""
        await self._travel()

    async def health(self) -> str | None:
        """Well."""
        return None

    async def _travel(self) -> None:
        random = self._carrier.random.random
        if random() < self._carrier.manners.refuse:
            raise Unavailable("the broker is away (simulated)")
        if random() < 0.5:
            await asyncio.sleep(random() * 0.002)
