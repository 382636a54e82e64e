"""The parts of Flux on one store, ready to use: what REST, the SDK, the CLI and the dashboard are handed."""

from __future__ import annotations

import random

from flux.domain.ids import IdSource
from flux.domain.request import DEFAULT_BOUNDS, Bounds
from flux.engine.counts import Counts
from flux.engine.depth import DepthGauge
from flux.engine.ends import Ends
from flux.engine.enqueue import Enqueuer
from flux.engine.jobs import JobService
from flux.engine.ports import Broker, Clock, Store
from flux.engine.queues import QueueService
from flux.engine.results import Results
from flux.engine.schedules import ScheduleService
from flux.engine.statistics import StatisticsService
from flux.engine.steps import Steps
from flux.engine.workers import WorkerService


class Engine:
    """One process's engine. ``open`` connects; ``close`` finishes what was accepted and disconnects."""

    def __init__(
        self,
        store: Store,
        broker: Broker,
        clock: Clock,
        seed: random.Random | None = None,
        bounds: Bounds = DEFAULT_BOUNDS,
    ) -> None:
        self.store = store
        self.broker = broker
        self.clock = clock
        self.bounds = bounds
        self.random = seed or random.Random()
        self.ids = IdSource(clock.now, self.random)
        self.enqueuer = Enqueuer(store, broker, self.ids, bounds, DepthGauge(store, clock))
        self.results = Results(store)
        self.schedules = ScheduleService(store, self.enqueuer, self.ids, self.random, bounds)
        self.jobs = JobService(store, self.enqueuer, self.schedules, self.results, self.ids, bounds)
        self.queues = QueueService(store, broker)
        self.workers = WorkerService(store)
        self.statistics = StatisticsService(store)
        self.counts = Counts()
        self.steps: Steps | None = None
        self.ends: Ends | None = None
        """What resolves the steps of workflows, and what ends their runs; whoever builds the whole gives both."""
        self.closing = False

    async def open(self) -> None:
        """Connect. Raises ``SchemaMismatch``, ``Unavailable``, and what a broker says that must not be used."""
        await self.store.open()
        try:
            await self.broker.open()
        except BaseException:
            await self.store.close()
            raise

    async def close(self) -> None:
        """Let accepted jobs be committed, then disconnect."""
        self.closing = True
        await self.results.close()
        await self.enqueuer.drain()
        await self.broker.close()
        await self.store.close()
