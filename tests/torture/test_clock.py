"""The wall clock steps while jobs run: leases and leaderships of before the step neither last for ever nor count."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from flux.brokers.from_store import StoreBroker
from flux.domain.duration import HOUR, MILLISECOND, SECOND
from flux.domain.job import FINAL, ClaimedJob, Job
from flux.engine.clock import SystemClock
from flux.engine.context import Context
from flux.engine.engine import Engine
from flux.engine.handler import Handler
from flux.engine.ports import Demand, WorkerInfo
from flux.engine.scheduler import Scheduler, SchedulerOptions
from flux.engine.worker import Worker
from flux.engine.worker_options import WorkerOptions
from flux.stores.sqlite.store import SqliteStore
from tests.torture.house import request

pytestmark = pytest.mark.torture

LEASE = 3 * SECOND
RESCUED = 60.0
"""Seconds until anything must have come true: far less than the step."""


class SteppingClock(SystemClock):
    """Wall time that an administrator, or NTP, sets; the other clock goes on as it must."""

    def __init__(self) -> None:
        super().__init__()
        self.step = 0

    def now(self) -> int:
        return super().now() + self.step


class Room:
    """One engine under such a clock, with what runs on it."""

    def __init__(self, path: Path) -> None:
        self.clock = SteppingClock()
        store = SqliteStore(str(path), clock=self.clock.now)
        self.engine = Engine(store, StoreBroker(store), self.clock)
        self.ran: list[str] = []

    async def submit(self, type: str = "quick", **fields: str | int) -> str:
        (job,) = await self.engine.jobs.submit_many([request(type, None, **fields)])
        return job.id

    async def until(self, job_id: str, accept: Callable[[Job], bool], within: float = RESCUED) -> Job:
        deadline = time.monotonic() + within
        while not accept(job := await self.engine.jobs.get(job_id)):
            assert time.monotonic() < deadline, f"{job_id} is {job.state} after {within} s"
            await asyncio.sleep(0.02)
        return job

    async def ended(self, job_id: str, within: float = RESCUED) -> Job:
        return await self.until(job_id, lambda job: job.state in FINAL, within)

    @asynccontextmanager
    async def worker(self) -> AsyncIterator[Worker]:
        async def quick(context: Context) -> None:
            self.ran.append(context.job_id)

        async def slow(context: Context) -> None:
            self.ran.append(context.job_id)
            await asyncio.sleep(1.0)

        handlers = {"quick": Handler(type="quick", call=quick), "slow": Handler(type="slow", call=slow)}
        worker = Worker(self.engine, handlers, WorkerOptions(lease=LEASE, grace=SECOND))
        task = asyncio.create_task(worker.run())
        await worker.ready.wait()
        try:
            yield worker
        finally:
            worker.stop_now()
            await task

    @asynccontextmanager
    async def scheduler(self) -> AsyncIterator[Scheduler]:
        scheduler = Scheduler(
            self.engine, SchedulerOptions(interval=100 * MILLISECOND, lease=LEASE, grace=SECOND)
        )
        task = asyncio.create_task(scheduler.run())
        try:
            yield scheduler
        finally:
            scheduler.stop()
            await task

    async def vanished_worker(self) -> list[ClaimedJob]:
        """What a worker claimed that was never heard of again."""
        worker_id = self.engine.ids.new()
        await self.engine.store.leases.register(
            WorkerInfo(
                id=worker_id, host="gone", pid=1, version="", queues="*", types=("quick", "slow"), slots=10
            ),
            LEASE,
        )
        return await self.engine.store.jobs.claim(
            Demand(
                worker_id=worker_id,
                types=("quick", "slow"),
                slots=10,
                queues={},
                every_queue=True,
                hints=None,
                lowest_first=False,
            )
        )


@pytest.fixture
async def room(tmp_path: Path) -> AsyncIterator[Room]:
    made = Room(tmp_path / "flux.db")
    await made.engine.open()
    try:
        yield made
    finally:
        await made.engine.close()


async def test_a_step_forward_ends_every_lease_and_loses_nothing(room: Room) -> None:
    async with room.scheduler(), room.worker() as worker:
        slow = await room.submit("slow")
        later = await room.submit(delay="30m")
        await room.until(slow, lambda job: job.state == "running")
        before = worker.id
        room.clock.step = HOUR
        job = await room.ended(slow)
        # The job was rescued from under it, and ran again under the new lease; the first end did not count.
        assert (job.state, job.attempt) == ("succeeded", 2)
        assert [a.outcome for a in job.attempts] == ["lost", "succeeded"]
        assert worker.id != before
        assert (await room.ended(later)).state == "succeeded"
        assert room.ran.count(later) == 1


async def test_a_step_back_lets_running_jobs_end_and_new_ones_start(room: Room) -> None:
    waiting = [await room.submit() for _ in range(3)]
    async with room.scheduler(), room.worker() as worker:
        slow = await room.submit("slow")
        await room.until(slow, lambda job: job.state == "running")
        paused = await room.submit(delay="2s")
        room.clock.step = -HOUR
        new = [await room.submit() for _ in range(3)]
        for id in (*waiting, *new, slow):
            job = await room.ended(id)
            assert (job.state, job.attempt) == ("succeeded", 1)
            assert room.ran.count(id) == 1
        assert worker.id == job.worker_id
        # What was to run at an instant waits for that instant, by the clock that there is now.
        assert (await room.engine.jobs.get(paused)).state == "scheduled"


async def test_after_a_step_back_a_lost_worker_is_still_found_within_its_lease(room: Room) -> None:
    job_id = await room.submit()
    assert [job.id for job in await room.vanished_worker()] == [job_id]
    room.clock.step = -HOUR
    async with room.scheduler(), room.worker():
        job = await room.ended(job_id)
    assert [a.outcome for a in job.attempts] == ["lost", "succeeded"]
    assert room.ran == [job_id]


async def test_after_a_step_back_a_lost_leader_is_still_followed_within_its_lease(room: Room) -> None:
    assert await room.engine.store.duties.lead("vanished", LEASE) == 1
    room.clock.step = -HOUR
    delayed = await room.submit(delay="100ms")
    async with room.scheduler() as scheduler, room.worker():
        assert (await room.ended(delayed)).state == "succeeded"
        assert scheduler.leading


async def test_a_leader_and_a_worker_that_live_keep_what_they_have_through_a_step_back(room: Room) -> None:
    async with room.scheduler() as first, room.scheduler() as second, room.worker() as worker:
        await room.ended(await room.submit(delay="50ms"))
        leader, standby = (first, second) if first.leading else (second, first)
        before = worker.id
        room.clock.step = -HOUR
        for _ in range(4):
            slow = await room.submit("slow")
            assert (await room.ended(slow)).attempt == 1
            assert leader.leading
            assert not standby.leading
        assert worker.id == before
