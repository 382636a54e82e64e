"""A broker that holds hints, loses, repeats and delays them, and is wiped now and then: nothing may depend on it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from random import Random

import msgspec

from flux.domain.errors import Unavailable
from flux.engine.ports import Demand, Hint, Lane, News, Offer
from tests.simulation.history import History

WIDTH = 12
"""Hints of a lane at most: few, so that lanes are full every now and then."""

SILENT_FOR = 2.0
"""Seconds after which what a worker was given is offered to others."""


class Manners(msgspec.Struct):
    """How badly it behaves. Probabilities for each hint, or each call for ``refuse``."""

    lose: float = 0.0
    repeat: float = 0.0
    late: float = 0.0
    refuse: float = 0.0

    def calm(self) -> None:
        """Behave from now on."""
        self.lose = self.repeat = self.late = self.refuse = 0.0


class Entry:
    """A hint in its lane: from when on it is there, and since when somebody has it."""

    def __init__(self, job_id: str, at: float) -> None:
        self.job_id = job_id
        self.at = at
        self.given_at: float | None = None


class Carrier:
    """The broker's server: the hints of all processes, by lane."""

    def __init__(self, random: Random, manners: Manners, history: History) -> None:
        self.random = random
        self.manners = manners
        self.history = history
        self.lanes: dict[Lane, list[Entry]] = {}
        self.passed_by: dict[Lane, int] = {}
        self.poked = False

    def wipe(self) -> None:
        """FLUSHALL."""
        self.history.say("the broker is wiped (%d hints)", sum(map(len, self.lanes.values())))
        self.lanes.clear()
        self.passed_by.clear()

    def put(self, hint: Hint, now: float) -> None:
        """Take a hint from whoever enqueued its job, unless its lane is full."""
        lane = Lane(hint.queue, hint.priority)
        if lane in self.passed_by or len(self.lanes.get(lane, ())) >= WIDTH:
            self.passed_by[lane] = self.passed_by.get(lane, 0) + 1
        else:
            self.add(lane, hint.job_id, now)

    def add(self, lane: Lane, job_id: str, now: float) -> None:
        """A hint comes: once, twice, later, or not at all."""
        random, manners = self.random.random, self.manners
        if random() < manners.lose:
            return
        for _ in range(2 if random() < manners.repeat else 1):
            delay = random() * (5.0 if random() < manners.late else 0.005)
            self.lanes.setdefault(lane, []).append(Entry(job_id, now + delay))

    def take(self, demand: Demand, now: float) -> Offer | None:
        """Hints that have arrived and fit; some stay, and are offered to somebody else too."""
        ids: list[str] = []
        receipts: list[tuple[Lane, Entry]] = []
        room = dict(demand.queues)
        sign = 1 if demand.lowest_first else -1
        for lane in sorted(self.lanes, key=lambda lane: (sign * lane.priority, lane.queue)):
            for entry in self.lanes[lane]:
                fits = room.get(lane.queue, demand.slots if demand.every_queue else 0) > 0
                if len(ids) == demand.slots or not fits:
                    break
                if entry.at > now or entry.given_at is not None:
                    continue
                ids.append(entry.job_id)
                receipts.append((lane, entry))
                if lane.queue in room:
                    room[lane.queue] -= 1
                if self.random.random() >= self.manners.repeat:
                    entry.given_at = now
        return Offer(tuple(ids), tuple(receipts)) if ids else None

    def drop(self, lane: Lane, entry: Entry) -> None:
        """A hint is done with."""
        entries = self.lanes.get(lane, [])
        if entry in entries:
            entries.remove(entry)


class LossyBroker:
    """One process's side of it."""

    name = "lossy"

    def __init__(self, carrier: Carrier) -> None:
        self._carrier = carrier
        self.lanes = LossyLanes(carrier)

    async def open(self) -> None:
        """It needs no connection."""

    async def close(self) -> None:
        """What was given and not acknowledged is taken over."""

    async def publish(self, hints: Sequence[Hint]) -> None:
        """Offer hints, or fail: enqueue must not mind."""
        await travel(self._carrier)
        now = asyncio.get_running_loop().time()
        for hint in hints:
            self._carrier.put(hint, now)
        await travel(self._carrier)

    async def poke(self) -> None:
        """A poke may be lost like a hint."""
        if self._carrier.random.random() >= self._carrier.manners.lose:
            self._carrier.poked = True

    async def receive(self, demand: Demand, timeout: float) -> Offer | None:
        """Hints that fit; after a long silence a look by policy."""
        loop = asyncio.get_running_loop()
        await travel(self._carrier)
        until = loop.time() + timeout
        while True:
            now = loop.time()
            if demand.slots > 0 and (offer := self._carrier.take(demand, now)):
                return offer
            if now >= until:
                return Offer(None)
            await asyncio.sleep(min(0.05, until - now))

    async def acknowledge(self, offer: Offer, demand: Demand, claimed: Sequence[str]) -> None:
        """What was claimed is dropped, and so is what nobody could claim: the dispatcher gives it again."""
        await travel(self._carrier)
        for lane, entry in offer.receipts:
            self._carrier.drop(lane, entry)

    async def health(self) -> str | None:
        """Well."""
        return None


class LossyLanes:
    """The dispatcher's side of it."""

    def __init__(self, carrier: Carrier) -> None:
        self._carrier = carrier
        self.up = True
        self.width = WIDTH

    async def take_over(self) -> None:
        """What was given long ago is free again."""
        await travel(self._carrier)
        now = asyncio.get_running_loop().time()
        for entries in self._carrier.lanes.values():
            for entry in entries:
                if entry.given_at is not None and now - entry.given_at > SILENT_FOR:
                    entry.given_at = None

    async def full(self) -> dict[Lane, int]:
        """The marks."""
        await travel(self._carrier)
        return dict(self._carrier.passed_by)

    async def length(self, lane: Lane) -> int:
        """How many hints there are."""
        await travel(self._carrier)
        return len(self._carrier.lanes.get(lane, ()))

    async def held(self, lane: Lane) -> set[str]:
        """Which ones."""
        await travel(self._carrier)
        return {entry.job_id for entry in self._carrier.lanes.get(lane, ())}

    async def feed(self, lane: Lane, ids: Sequence[str]) -> int:
        """These are lost, late and repeated like any."""
        await travel(self._carrier)
        now = asyncio.get_running_loop().time()
        fed = 0
        for job_id in ids:
            if len(self._carrier.lanes.get(lane, ())) < WIDTH:
                self._carrier.add(lane, job_id, now)
                fed += 1
        if fed < len(ids):
            self._carrier.passed_by[lane] = self._carrier.passed_by.get(lane, 0) + len(ids) - fed
        await travel(self._carrier)
        return fed

    async def mark_full(self, lane: Lane) -> None:
        """Mark it."""
        await travel(self._carrier)
        self._carrier.passed_by.setdefault(lane, 0)

    async def reopen(self, lane: Lane, passed_by: int) -> None:
        """Unmark it."""
        await travel(self._carrier)
        if self._carrier.passed_by.get(lane) == passed_by:
            del self._carrier.passed_by[lane]

    async def wait(self, timeout: float) -> News:
        """Lanes that run low, and pokes."""
        loop = asyncio.get_running_loop()
        until = loop.time() + timeout
        while True:
            poked, self._carrier.poked = self._carrier.poked, False
            low = [lane for lane in self._carrier.passed_by if self._few(lane)]
            if poked or low or loop.time() >= until:
                # As often as it is told, and no more: a lane with nothing to feed it stays low until it is reopened.
                await asyncio.sleep(0.02)
                return News(tuple(low), poked)
            await asyncio.sleep(min(0.05, until - loop.time()))

    def _few(self, lane: Lane) -> bool:
        return len(self._carrier.lanes.get(lane, ())) < WIDTH / 2


async def travel(carrier: Carrier) -> None:
    """To the broker or back, or not at all."""
    random = carrier.random.random
    if random() < carrier.manners.refuse:
        raise Unavailable("the broker is away (simulated)")
    if random() < 0.5:
        await asyncio.sleep(random() * 0.002)
