"""The processes of a simulated world: each runs the real engine, and is started again whenever it has ended or died."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from contextlib import suppress
from random import Random
from typing import TYPE_CHECKING, Any, cast

from flux.domain.duration import SECOND
from flux.domain.errors import FluxError, Unavailable
from flux.domain.job import ClaimedJob
from flux.engine.context import Desk
from flux.engine.ending import Ending
from flux.engine.engine import Engine
from flux.engine.handler import Handler
from flux.engine.ports import Store
from flux.engine.scheduler import Scheduler, SchedulerOptions
from flux.engine.worker import Worker
from flux.engine.worker_options import WorkerOptions
from tests.simulation.faults import Faults, FaultyStore
from tests.simulation.handlers import handlers
from tests.simulation.loop import Process

if TYPE_CHECKING:
    from tests.simulation.world import World


class HostClock:
    """A process's clocks: the host's wall clock, which may step, and one that never does."""

    def __init__(self, world: World) -> None:
        self._world = world

    def now(self) -> int:
        """Wall time."""
        return self._world.wall()

    def monotonic(self) -> int:
        """Goes on while the process is stopped."""
        return int(self._world.loop.time() * 1_000_000) + SECOND


class StrandKeeper:
    """The heartbeat's thread: a strand of its own, so that it goes on while the main one is stuck."""

    def __init__(self, process: Process) -> None:
        self._process = process
        self._task: asyncio.Task[None] | None = None

    def start(self, keep: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Begin."""
        self._task = self._process.spawn(keep(), self._process.strand())

    async def stop(self) -> None:
        """End it and wait for its end."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])


class NoIsolation:
    """There are no child processes in here."""

    async def run(self, handler: Handler, claimed: ClaimedJob, desk: Desk) -> Ending:
        """Never called."""
        raise NotImplementedError


class Actor:
    """One process after another, under one name."""

    def __init__(self, world: World, name: str) -> None:
        self.world = world
        self.name = name
        self.births = 0
        self.process: Process = world.loop.world
        self.faults: Faults | None = None
        self.up = False

    def start(self) -> None:
        """Start it (again)."""
        world = self.world
        self.births += 1
        self.process = Process(world.loop, f"{self.name}.{self.births}")
        self.process.on_fuse = self.kill
        self.up = True
        world.history.say("%s starts", self.process.name)
        self.process.spawn(self._live(self.process))

    def kill(self) -> None:
        """kill -9, and start it again after a while."""
        if not self.up:
            return
        self.world.history.say("%s is killed", self.process.name)
        self.process.kill()
        self._gone()

    def _gone(self) -> None:
        self.up = False
        self.world.ground.forget(self.process)
        self.world.later(self.world.random.random() * 3, self._again)

    def _again(self) -> None:
        if not self.up and not self.world.closing:
            self.start()

    async def _live(self, process: Process) -> None:
        try:
            await self.run(await self._engine(process), process)
        except FluxError as error:
            self.world.history.say("%s ends: %s", process.name, error)
        except Exception as error:
            self.world.errors.append(error)
        self.world.history.say("%s has ended", process.name)
        if process is self.process and self.up:
            self._gone()

    async def _engine(self, process: Process) -> Engine:
        world = self.world
        inner, broker = world.connect(process)
        self.faults = Faults(world.random, world.weather, world.history, world.auditor)
        store = cast(Store, FaultyStore(world.wrap(inner), self.faults))
        engine = Engine(store, broker(store), HostClock(world), Random(world.random.getrandbits(64)))
        while True:
            try:
                await engine.open()
                return engine
            except Unavailable:
                await asyncio.sleep(0.1)

    async def run(self, engine: Engine, process: Process) -> None:
        """What this kind of process does."""
        raise NotImplementedError

    def leave(self) -> None:
        """SIGTERM."""


class WorkerActor(Actor):
    """A worker process."""

    worker: Worker | None = None

    async def run(self, engine: Engine, process: Process) -> None:
        """Work until told to leave."""
        random = self.world.random
        options = WorkerOptions(
            concurrency=random.randint(2, 8),
            lease=self.world.lease,
            grace=random.choice([0, SECOND, 5 * SECOND]),
            max_jobs=random.choice([None, None, None, 20]),
        )
        self.worker = Worker(
            engine,
            handlers(self.world.witness),
            options,
            isolation=NoIsolation(),
            keeper=lambda: StrandKeeper(process),
        )
        await self.worker.run()
        await engine.close()

    def leave(self) -> None:
        """SIGTERM, at times twice."""
        if self.up and self.worker is not None:
            self.world.history.say("%s gets SIGTERM", self.process.name)
            twice = self.world.random.random() < 0.3
            self.world.loop.call_soon(
                self.worker.stop_now if twice else self.worker.stop, context=self.process.context()
            )


class SchedulerActor(Actor):
    """A scheduler process."""

    scheduler: Scheduler | None = None

    async def run(self, engine: Engine, process: Process) -> None:
        """Lead, or stand by."""
        options = SchedulerOptions(
            lease=self.world.lease,
            grace=2 * SECOND,
            unknown_type_wait=5 * SECOND,
            retention=self.world.retention,
        )
        self.scheduler = Scheduler(engine, options)
        await self.scheduler.run()
        await engine.close()

    def leave(self) -> None:
        """SIGTERM."""
        if self.up and self.scheduler is not None:
            self.world.history.say("%s gets SIGTERM", self.process.name)
            self.world.loop.call_soon(self.scheduler.stop, context=self.process.context())


class ClientActor(Actor):
    """A process that submits what the plan says; it is stopped, killed and refused like any other."""

    async def run(self, engine: Engine, process: Process) -> None:
        """Submit until the plan is done."""
        plan = self.world.plan
        for item in plan.left_over(self.name):
            await self._submit(engine, item)
        while (item := plan.next(self.name)) is not None:
            pause = item.at - self.world.loop.time()
            if pause > 0:
                await asyncio.sleep(pause)
            await self._submit(engine, item)
        self.up = False
        await engine.close()
        await asyncio.Event().wait()

    async def _submit(self, engine: Engine, item: Any) -> None:
        with suppress(Unavailable):
            await item.submit(engine, self.world)
        self.world.plan.done(self.name, item)
