"""Redis Streams as a broker: publish, receive, acknowledge; without Redis, workers look into the store themselves."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from random import Random
from typing import Any, Final

from flux.brokers.redis.lanes import RedisLanes
from flux.brokers.redis.link import Link
from flux.brokers.redis.names import kind_of, wants_of
from flux.brokers.redis.outbox import Outbox
from flux.brokers.redis.seats import BATCH, NOTHING, Seat, Seats, divide, handed_over
from flux.brokers.redis.settlements import Receipt, Settlements
from flux.brokers.redis.wakes import Wakes
from flux.domain.errors import Unavailable
from flux.engine.ports import Broker, Demand, Hint, Offer

WIDTH: Final = 10_000
"""The most hints of a lane: what a backlog of any size costs Redis (half a megabyte), and what a wipe can lose."""

SETTLE: Final = 0.02
"""Seconds that what is done with may wait for the next look to take it along."""

AWAY: Final = 0.5
"""Seconds between two looks whether Redis is back."""

FRESH: Final = 1.0
"""Seconds for which hints that go back are left to others, after this worker could not claim some."""


class RedisBroker:
    """One process's side of it. Everything happens in one event loop."""

    name = "redis"

    def __init__(
        self,
        url: str,
        by_policy: Broker,
        *,
        namespace: str = "default",
        random: Random | None = None,
        width: int = WIDTH,
    ) -> None:
        """``by_policy`` is asked instead while Redis is away: the store as its own broker."""
        dice = random or Random()
        self._link = Link(url, namespace, dice)
        self._link.returned = self._returned
        self._process = f"{dice.getrandbits(64):016x}"
        self._wakes = Wakes(self._link, self._process)
        self._by_policy = by_policy
        self._outbox = Outbox(self._link, width)
        self._settlements = Settlements()
        self._settling: asyncio.TimerHandle | None = None
        self._seats = Seats()
        self._tasks: set[asyncio.Task[None]] = set()
        self._width = width
        self.lanes = RedisLanes(self._link, self._wakes, width)

    # --- its life ---

    async def open(self) -> None:
        """See the port."""
        await self._link.open()

    async def close(self) -> None:
        """See the port."""
        await self._outbox.drain()
        if self._settling is not None:
            self._settling.cancel()
        while self._tasks:
            await asyncio.wait(self._tasks)
        await self._settle()
        with suppress(Unavailable):
            if self._seats:
                await self._link.run("takeover", 0, *self._seats)
        await self._link.close()

    async def health(self) -> str | None:
        """See the port."""
        return await self._link.health()

    # --- publishing ---

    async def publish(self, hints: Sequence[Hint]) -> None:
        """See the port. Sent together with what else is published meanwhile; nobody waits for it."""
        self._outbox.put(hints)

    async def poke(self) -> None:
        """See the port."""
        # A job that is handed back right after its claim must not look as if it were hinted still.
        await self._settle()
        with suppress(Unavailable):
            await self._link.command("PUBLISH", self._link.prefix + "poke", "")

    # --- receiving ---

    async def receive(self, demand: Demand, timeout: float) -> Offer | None:
        """See the port. When nothing came for as long as that, the offer is to look by policy."""
        loop = asyncio.get_running_loop()
        seat, bell = self._seats.of(demand.worker_id), self._wakes.worker(demand.worker_id)
        seat.turn += 1
        if seat.passes_hints_by:
            return Offer(ids=None)
        # Where there is more by policy nobody waits for hints.
        until = loop.time() + (0.0 if seat.by_policy else timeout)
        while True:
            left = until - loop.time()
            if not self._link.up:
                offer = await self._by_policy.receive(demand, max(0.0, min(AWAY, left)))
                if offer is not None or left <= 0:
                    return offer
                continue
            # Whoever rings from here on may have something that this look does not see.
            offer = handed_over(bell)
            if offer.ids:
                return offer
            try:
                offer = await self._look(seat, demand, wait=left > 0)
            except Unavailable:
                continue
            if offer.ids:
                return self._in_front(handed_over(bell), offer, demand.slots)
            if left <= 0:
                # Wake-ups, hints and the dispatcher are a help and no promise.
                return Offer(ids=None)
            left = until - loop.time()
            # What it leaves to others until then it looks at after that.
            fresh = seat.fresh_until - loop.time()
            try:
                await bell.wait(max(0.0, min(left, fresh) if fresh > 0 else left))
            except asyncio.CancelledError:
                self._keep(asyncio.create_task(self._wait_no_more(demand.worker_id)))
                raise

    async def acknowledge(self, offer: Offer, demand: Demand, claimed: Sequence[str]) -> None:
        """See the port. It is said to Redis with the next look, or a little later."""
        seat = self._seats.of(demand.worker_id)
        seat.has_claimed(demand, offer, len(claimed))
        if offer.ids is None:
            await self._by_policy.acknowledge(offer, demand, claimed)
            return
        loop = asyncio.get_running_loop()
        if self._settlements.settle(offer.ids, offer.receipts, claimed, kind_of(demand.types)):
            seat.fresh_until = loop.time() + FRESH
        self._settle_soon()

    async def _look(self, seat: Seat, demand: Demand, wait: bool) -> Offer:
        """Ask once; with ``wait`` it is woken when there was nothing. What comes after a cancellation goes back."""
        asked = asyncio.create_task(self._ask(seat, demand, wait))
        try:
            return await asyncio.shield(asked)
        except asyncio.CancelledError:
            self._keep(asyncio.create_task(self._return(asked, demand.worker_id)))
            raise

    async def _ask(self, seat: Seat, demand: Demand, wait: bool) -> Offer:
        worker = demand.worker_id
        count = min(BATCH, demand.slots)
        loop = asyncio.get_running_loop()
        waiting = ""
        if wait and count > 0:
            waiting = f"{self._process} {kind_of(demand.types)} {worker} {wants_of(demand)}"
        was_waiting, seat.waiting = seat.waiting, waiting
        bounds: list[str | int] = []
        for queue, room in demand.queues.items():
            bounds += (queue, max(0, min(room, count) if room < demand.slots else count))
        found: list[Any] = await self._link.run(
            "receive",
            worker,
            max(0, count),
            int(demand.lowest_first),
            int(demand.every_queue),
            int(loop.time() < seat.fresh_until),
            self._width,
            was_waiting,
            waiting,
            len(demand.queues),
            *bounds,
            *self._settlements.take(),
        )
        ids: list[str] = []
        receipts: list[Receipt] = []
        for at in range(0, len(found), 4):
            lane, again = found[at].decode(), found[at + 1] == 1
            ids += found[at + 3].decode().split()
            receipts += [Receipt(lane, entry, again) for entry in found[at + 2].decode().split()]
        return Offer(tuple(ids), tuple(receipts)) if ids else NOTHING

    # --- settling ---

    def _in_front(self, handed: Offer, found: Offer, room: int) -> Offer:
        """What was handed over on the way is older than what was found; what there is no room for goes back."""
        if not handed.ids:
            return found
        both = Offer(handed.ids + (found.ids or ()), handed.receipts + found.receipts)
        offer, rest = divide(both, room)
        self._give_back(rest)
        return offer

    def _give_back(self, offer: Offer) -> None:
        """Nobody has looked at it."""
        self._settlements.give_back(offer.ids or (), offer.receipts)
        self._settle_soon()

    def _settle_soon(self) -> None:
        if not self._settlements:
            return
        if self._settlements.homeless:
            self._keep(asyncio.create_task(self._settle()))
        elif self._settling is None:
            self._settling = asyncio.get_running_loop().call_later(SETTLE, self._settle_now)

    def _settle_now(self) -> None:
        self._settling = None
        if self._settlements:
            self._keep(asyncio.create_task(self._settle()))

    async def _settle(self) -> None:
        # What Redis does not hear of is stale there: it comes once more, and is dropped then.
        with suppress(Unavailable):
            if words := self._settlements.take():
                await self._link.run("settle", self._width, *words)
            for tried, lane, ids in self._settlements.take_homeless():
                await self._link.run("publish", self._width, 0, tried, lane, ids)

    async def _wait_no_more(self, worker_id: str) -> None:
        # Else it would be woken in the place of somebody who is there.
        seat = self._seats.of(worker_id)
        turn = seat.turn
        waiting, seat.waiting = seat.waiting, ""
        with suppress(Unavailable):
            await self._link.command("ZREM", self._link.prefix + "waiting", waiting)
            if seat.turn == turn:  # else it waits again already, and hears it itself
                self._give_back(handed_over(self._wakes.worker(worker_id)))

    async def _return(self, asked: asyncio.Task[Offer], worker_id: str) -> None:
        with suppress(Unavailable):
            self._give_back(await asked)
        await self._wait_no_more(worker_id)

    def _returned(self) -> None:
        if self._seats:
            self._keep(asyncio.create_task(self._start_over()))
        else:
            self._wakes.ring_all()

    async def _start_over(self) -> None:
        # What these workers were given by an answer that did not come is for anybody.
        with suppress(Unavailable):
            await self._link.run("takeover", 0, *self._seats)
        self._wakes.ring_all()

    def _keep(self, task: asyncio.Task[None]) -> None:
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
