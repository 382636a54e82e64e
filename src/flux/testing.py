"""Jobs in tests: run them at once, or by the real engine on a store in memory whose clock the test steers.

``inline(flux)``: an enqueue runs the handler before it returns, without a store. ``sandbox(flux)``: the real engine;
``await drain(flux)`` runs everything that is due, and the clock moves when the test says so.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from datetime import datetime
from typing import Any, TypeVar

from flux.brokers.from_store import StoreBroker
from flux.domain.duration import DAY, MILLISECOND, parse_duration, parse_instant
from flux.domain.job import Job, JobState
from flux.domain.request import JobRequest
from flux.engine.engine import Engine
from flux.engine.lease import TaskKeeper
from flux.engine.ports import Here, JobFilter
from flux.engine.scheduler import Scheduler, SchedulerOptions
from flux.engine.worker import Worker
from flux.engine.worker_options import WorkerOptions
from flux.sdk.app import Flux
from flux.sdk.depends import at_once
from flux.sdk.doors import Accepted, EngineDoor
from flux.sdk.inline import InlineDoor
from flux.sdk.portal import Portal
from flux.sdk.requests import Duration
from flux.stores.sqlite.store import SqliteStore
from flux.workflows.joining import with_workflows

T = TypeVar("T")

_LOOK = 5 * MILLISECOND  # the scheduler cannot feel that the clock was moved, so it looks often
_LEASE = 3650 * DAY  # the clock jumps, and nobody is to be taken for dead by that


class SteeredClock:
    """The store's clock, standing still until it is moved. Microseconds since the epoch."""

    def __init__(self, start: str | datetime | None = None) -> None:
        """``start`` is an instant (RFC 3339 or an aware datetime); now when nothing is said."""
        self.time = time.time_ns() // 1000 if start is None else parse_instant(start)

    def __call__(self) -> int:
        return self.time

    def now(self) -> int:
        """The steered time."""
        return self.time

    def monotonic(self) -> int:
        """A clock that runs: what measures real work."""
        return time.monotonic_ns() // 1000

    def advance(self, by: Duration) -> None:
        """Move on by a duration, such as "1h"."""
        self.time += parse_duration(by)

    def move_to(self, instant: str | datetime) -> None:
        """Move to an instant."""
        self.time = parse_instant(instant)


class Sandbox:
    """The real engine of one application, on a store in memory."""

    def __init__(self, flux: Flux, engine: Engine, clock: SteeredClock) -> None:
        self.flux = flux
        self.engine = engine
        self.clock = clock

    async def drain(self, during: Duration | None = None, *, timeout: float = 30.0) -> None:
        """Run what is available or due until nothing is left, by a real worker and scheduler.

        With ``during`` the clock then moves from one due time to the next, for that long: delayed jobs, retries and
        schedules run as they would. Raises ``TimeoutError`` after ``timeout`` seconds of real time.
        """
        end = self.clock.time + (0 if during is None else parse_duration(during))
        async with asyncio.timeout(timeout), self._working():
            while True:
                await self._settled()
                due = await self.engine.store.duties.next_due()
                if due is None or due > end:
                    break
                self.clock.time = max(self.clock.time, due)
        self.clock.time = max(self.clock.time, end)

    async def jobs(self, *states: JobState | str) -> list[Job]:
        """The newest 500 jobs, oldest first, with everything; only those in ``states`` when some are given."""
        wanted = JobFilter(states=tuple(JobState(state) for state in states))
        page = await self.engine.jobs.list(wanted, 500, None, True)
        return page.jobs[::-1]

    @asynccontextmanager
    async def _working(self) -> AsyncIterator[None]:
        engine = self.engine
        worker = Worker(engine, self.flux.handlers(), WorkerOptions(lease=_LEASE), keeper=TaskKeeper)
        scheduler = Scheduler(engine, SchedulerOptions(lease=_LEASE, interval=_LOOK))
        async with self.flux.lifespan(engine):
            tasks = [asyncio.create_task(worker.run()), asyncio.create_task(scheduler.run())]
            try:
                yield
            finally:
                worker.stop()
                scheduler.stop()
                await asyncio.gather(*tasks)

    async def _settled(self) -> None:
        """Until nothing runs, may run or is due."""
        store, changes = self.engine.store, self.engine.store.changes
        while True:
            seen = changes.version()
            due = await store.duties.next_due()
            if (due is None or due > self.clock.time) and not await self._busy():
                return
            await changes.wait(seen, 0.05)

    async def _busy(self) -> bool:
        page = await self.engine.store.queries.list(
            JobFilter(states=(JobState.AVAILABLE, JobState.RUNNING)), 1, None, False
        )
        return bool(page.jobs)


@asynccontextmanager
async def sandbox(flux: Flux, clock: SteeredClock | None = None) -> AsyncIterator[Sandbox]:
    """Let this application use a store in memory while the block runs; nothing touches its own store.

    ``*_sync`` methods work in synchronous handlers and other threads, and refuse in the test's own event loop.
    """
    clock = clock or SteeredClock()
    store = SqliteStore(":memory:", clock=clock, inline=True)
    engine = with_workflows(Engine(store, StoreBroker(store), clock))
    await engine.open()
    box = Sandbox(flux, engine, clock)
    door, portal = flux.doors.put(_SandboxDoor(box)), flux.portal
    flux.portal = _HomePortal(asyncio.get_running_loop())
    try:
        yield box
    finally:
        flux.portal = portal
        flux.doors.put(door)
        await engine.close()


async def drain(flux: Flux, during: Duration | None = None, *, timeout: float = 30.0) -> None:
    """``Sandbox.drain`` of the sandbox that this application is in. Raises ``RuntimeError`` outside of one."""
    door = await flux.doors.here() if flux.doors.is_open() else None
    if not isinstance(door, _SandboxDoor):
        raise RuntimeError("drain(flux) works inside `async with flux.testing.sandbox(flux)`")
    await door.box.drain(during, timeout=timeout)


@contextmanager
def inline(flux: Flux, *, raise_errors: bool = False) -> Iterator[InlineDoor]:
    """Let every enqueue run its handler before it returns, for one attempt, without a store, while the block runs.

    The job then has ended: ``await handle.result()`` gives what the handler returned or raises ``JobFailed``; with
    ``raise_errors`` the handler's own exception comes out of the enqueue. Delays are not waited for. ``jobs`` of what
    this gives are the jobs by id.
    """
    door = InlineDoor(flux, raise_errors)
    before, flux.doors.stand_in = flux.doors.stand_in, door
    try:
        yield door
    finally:
        flux.doors.stand_in = before


class _SandboxDoor(EngineDoor):
    """The door of a sandbox, by which ``drain(flux)`` finds it."""

    def __init__(self, box: Sandbox) -> None:
        super().__init__(box.engine, owned=False)
        self.box = box

    async def submit_within(
        self, connection: object, here: Here | None, requests: Sequence[JobRequest]
    ) -> Sequence[Accepted]:
        """See ``Door``. The store in memory is in no caller's database: jobs are accepted at once."""
        return await self.submit(requests)


class _HomePortal(Portal):
    """Brings synchronous callers to the sandbox's own loop: a store in memory is one connection of one thread."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(_nothing)
        self._home = loop
        self._thread_id = threading.get_ident()

    def run(self, work: Callable[[], Awaitable[T]]) -> T:
        """See ``Portal``. Raises ``RuntimeError`` in the loop's own thread, which would wait for itself."""
        if threading.get_ident() == self._thread_id:
            raise RuntimeError(
                "inside a sandbox *_sync methods would block its own event loop: await the others"
            )

        async def awaited() -> T:
            return await work()

        return asyncio.run_coroutine_threadsafe(awaited(), self._home).result()

    def run_from_here(self, work: Callable[[Here], Coroutine[Any, Any, T]]) -> T:
        """See ``Portal``. In a sandbox nothing of it needs the caller's thread."""
        return self.run(lambda: work(at_once))


async def _nothing() -> None:
    pass
