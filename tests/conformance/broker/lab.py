"""A store, a place for hints, and verbs of one line: what the suite is written in."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random
from typing import Any

from flux.domain.duration import HOUR
from flux.domain.ids import IdSource
from flux.domain.job import JobState, NewJob
from flux.engine.clock import SystemClock
from flux.engine.dispatcher import Dispatcher
from flux.engine.ports import Broker, Demand, Hint, Lanes, Offer, WorkerInfo
from flux.stores.sqlite.store import SqliteStore
from tests.conformance.broker.factories import Place

PATIENCE = 60.0
"""Seconds after which what is waited for does not come any more."""

WIDTH = 20
"""Hints of a lane at most: few, so that a backlog is soon more."""


class Lab:
    """One store, and as many brokers as there would be processes."""

    def __init__(self, place: Place, folder: Path) -> None:
        self.place = place
        self.store = SqliteStore(str(folder / "flux.db"))
        self._ids = IdSource(SystemClock().now, Random(1))
        self._brokers: list[Broker] = []
        self._registered: set[str] = set()

    async def open(self) -> None:
        """Open the store and a first broker."""
        await self.store.open()
        self.broker = await self.another()

    async def another(self) -> Broker:
        """What another process would have."""
        broker = self.place.broker(self.store, WIDTH)
        self._brokers.append(broker)
        await broker.open()
        return broker

    async def close(self) -> None:
        """Close everything."""
        for broker in self._brokers:
            await self.close_broker(broker)
        await self.store.close()

    async def close_broker(self, broker: Broker) -> None:
        """A process ends in order."""
        self._brokers = [each for each in self._brokers if each is not broker]
        await broker.close()

    @property
    def lanes(self) -> Lanes:
        """Of a broker that holds hints."""
        lanes = self.broker.lanes
        assert lanes is not None
        return lanes

    # --- jobs ---------------------------------------------------------------------------------------------------

    async def store_jobs(self, count: int, type: str = "t", **fields: Any) -> list[Hint]:
        """Insert available jobs and tell nobody; what their hints would be."""
        jobs = [NewJob(id=self._ids.new(), type=type, **fields) for _ in range(count)]
        [answer] = await self.store.jobs.insert([jobs])
        assert isinstance(answer, list), answer
        return [Hint(job.id, job.queue, job.priority) for job in jobs]

    async def enqueue(self, count: int = 1, **fields: Any) -> list[str]:
        """Insert available jobs and publish their hints; their ids."""
        hints = await self.store_jobs(count, **fields)
        await self.broker.publish(hints)
        return [hint.job_id for hint in hints]

    async def state(self, job_id: str) -> JobState | None:
        """The state of a job."""
        return (await self.store.queries.states([job_id])).get(job_id)

    # --- workers ------------------------------------------------------------------------------------------------

    async def demand(
        self, worker: str = "w1", slots: int = 100, types: Sequence[str] = ("t",), **fields: Any
    ) -> Demand:
        """What a worker, which is alive, has room for."""
        if worker not in self._registered:
            info = WorkerInfo(
                id=worker, host="h", pid=1, version="0", queues="*", types=tuple(types), slots=slots
            )
            await self.store.leases.register(info, HOUR)
            self._registered.add(worker)
        return Demand(worker_id=worker, types=tuple(types), slots=slots, **fields)

    async def receive(self, broker: Broker, demand: Demand) -> Offer:
        """An offer, which must come."""
        async with asyncio.timeout(PATIENCE):
            while True:
                offer = await broker.receive(demand, 5.0)
                if offer is not None:
                    return offer

    async def claim(self, broker: Broker, offer: Offer, demand: Demand) -> list[str]:
        """Claim what is offered, and say so; the ids, in the order in which they were claimed."""
        wanted = Demand(
            worker_id=demand.worker_id,
            types=demand.types,
            slots=demand.slots,
            queues=demand.queues,
            every_queue=demand.every_queue,
            hints=offer.ids,
            lowest_first=demand.lowest_first,
        )
        claimed = [job.id for job in await self.store.jobs.claim(wanted)]
        await broker.acknowledge(offer, wanted, claimed)
        return claimed

    async def take(self, worker: str = "w1", *, broker: Broker | None = None, **fields: Any) -> list[str]:
        """Receive and claim until there is something; the ids."""
        demand = await self.demand(worker, **fields)
        chosen = broker or self.broker
        async with asyncio.timeout(PATIENCE):
            while True:
                if claimed := await self.claim(chosen, await self.receive(chosen, demand), demand):
                    return claimed

    async def take_all(self, count: int, worker: str = "w1", **fields: Any) -> list[str]:
        """Receive and claim until there are so many; the ids in their order."""
        claimed: list[str] = []
        while len(claimed) < count:
            claimed += await self.take(worker, **fields)
        return claimed

    async def takes_nothing(self, worker: str = "w1", **fields: Any) -> bool:
        """Whether a worker that looks a few times finds nothing that it could claim."""
        demand = await self.demand(worker, **fields)
        for _ in range(3):
            offer = await self.broker.receive(demand, 0.2)
            if offer is not None and await self.claim(self.broker, offer, demand):
                return False
        return True

    # --- the dispatcher -----------------------------------------------------------------------------------------

    @asynccontextmanager
    async def dispatcher(self) -> AsyncIterator[None]:
        """A leader that feeds the lanes, where there are some."""
        leader = await self.another()
        if leader.lanes is None:
            yield
            return
        task = asyncio.create_task(Dispatcher(self.store, leader.lanes).run())
        try:
            yield
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            await self.close_broker(leader)

    async def until(self, holds: Callable[[], Awaitable[bool]]) -> None:
        """Wait for something."""
        async with asyncio.timeout(PATIENCE):
            while not await holds():  # noqa: ASYNC110 - a condition elsewhere, in a server
                await asyncio.sleep(0.01)
