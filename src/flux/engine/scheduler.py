"""The scheduler: one of any number leads, and the leader's small loops do what is due."""

from __future__ import annotations

import asyncio
import logging

import msgspec

from flux.domain.duration import DAY, HOUR, SECOND
from flux.domain.errors import FluxError, NotLeader, Unavailable
from flux.domain.words import plural
from flux.engine.dispatcher import Dispatcher
from flux.engine.ends import end_workflows
from flux.engine.engine import Engine
from flux.engine.ports import Retention
from flux.engine.promoter import Promoter
from flux.engine.pruner import Pruner
from flux.engine.rescuer import Rescuer
from flux.engine.sampler import Sampler
from flux.engine.unknown_types import UnknownTypes

logger = logging.getLogger("flux.scheduler")


class SchedulerOptions(msgspec.Struct, kw_only=True, frozen=True):
    """How a scheduler works; times in microseconds.

    ``interval``: the longest sleep between two looks. ``lease``: how long a leader that vanished keeps its stand-bys
    waiting. ``grace``: how far past its deadline a job is rescued whatever its worker says.
    """

    interval: int = SECOND
    lease: int = 10 * SECOND
    grace: int = 10 * SECOND
    unknown_type_wait: int = HOUR
    retention: Retention = Retention(succeeded=7 * DAY, dead=30 * DAY, cancelled=7 * DAY, most=1_000_000)


class Scheduler:
    """A candidate for the leadership, and the leader while it holds the lease."""

    def __init__(self, engine: Engine, options: SchedulerOptions | None = None) -> None:
        self._engine = engine
        self._options = options or SchedulerOptions()
        self._holder = engine.ids.new()
        self._stopping = asyncio.Event()
        self.leading = False

    def stop(self) -> None:
        """End after the pass that is under way, and give up the leadership."""
        self._stopping.set()

    async def run(self) -> None:
        """Lead whenever nobody else does, until stopped. Survives a store that is away."""
        duties = self._engine.store.duties
        pause = self._options.lease / 3_000_000
        failures = 0
        try:
            while not self._stopping.is_set():
                try:
                    epoch = await self._ask_to_lead(self._options.lease)
                    failures = 0
                    if epoch is not None:
                        await self._lead(epoch)
                        continue
                except FluxError as error:
                    failures += 1
                    if failures & (failures - 1) == 0:
                        tried = plural(failures, "time")
                        logger.warning("the scheduler waits for the store, tried %s (%s)", tried, error)
                await self._sleep(min(pause, 1.0))
        finally:
            if not self._engine.closing:
                try:
                    await duties.resign(self._holder)
                except FluxError as error:
                    logger.warning("could not give up the leadership (%s); it runs out by itself", error)

    async def _lead(self, epoch: int) -> None:
        logger.info("this scheduler leads (epoch %d)", epoch)
        self.leading = True
        engine, options = self._engine, self._options
        loops = [
            Promoter(engine.store, engine.broker, engine.clock, engine.random, options.interval).run(epoch),
            Rescuer(engine.store, engine.counts, options.interval, options.grace).run(epoch),
            UnknownTypes(engine.store, engine.clock, options.unknown_type_wait, options.interval).run(epoch),
            Sampler(engine.store).run(epoch),
            Pruner(engine.store, options.retention).run(epoch),
            self._keep_leading(epoch),
        ]
        if engine.ends is not None:
            loops.append(end_workflows(engine.ends, engine.store.changes))
        if engine.broker.lanes is not None:
            loops.append(Dispatcher(engine.store, engine.broker.lanes).run())
        tasks = [asyncio.create_task(loop) for loop in loops]
        stopping = asyncio.create_task(self._stopping.wait())
        try:
            done, _ = await asyncio.wait([*tasks, stopping], return_when=asyncio.FIRST_COMPLETED)
            errors = [error for task in done if (error := task.exception()) is not None]
            for error in errors:
                if not isinstance(error, NotLeader):
                    raise error
            if errors:
                logger.warning("this scheduler leads no more (epoch %d): %s", epoch, errors[0])
        finally:
            self.leading = False
            for task in (*tasks, stopping):
                task.cancel()
            await asyncio.gather(*tasks, stopping, return_exceptions=True)

    async def _keep_leading(self, epoch: int) -> None:
        """Renew the lease at a third of it; step down when it has ended."""
        clock, lease = self._engine.clock, self._options.lease
        third = pause = lease / 3_000_000
        until = clock.monotonic() + lease
        while True:
            await asyncio.sleep(pause)
            now = clock.monotonic()
            if now >= until:
                raise NotLeader("the leadership could not be renewed in time")
            try:
                # Half of what is left is for trying another connection.
                held = await self._ask_to_lead((until - now) / 2)
            except FluxError as error:
                logger.warning("the leadership could not be renewed (%s)", error)
                pause = min(third, 0.5)
                continue
            if held is None:
                raise NotLeader("another scheduler leads")
            if held != epoch:
                raise NotLeader("its leadership had lapsed before it could be renewed")
            until, pause = now + lease, third

    async def _ask_to_lead(self, patience: float) -> int | None:
        """The epoch in which it leads; None while another one does. Raises ``Unavailable`` without an answer in so many
        µs: a connection may have died without a word."""
        try:
            async with asyncio.timeout(patience / 1_000_000):
                return await self._engine.store.duties.lead(self._holder, self._options.lease)
        except TimeoutError:
            raise Unavailable(f"no answer for {patience / 1_000_000:.1f} s") from None

    async def _sleep(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._stopping.wait()
        except TimeoutError:
            pass
