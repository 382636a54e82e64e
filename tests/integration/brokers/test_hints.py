"""Whatever makes a job available, it is hinted: nobody here looks into the store without being told."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from flux.brokers.from_store import StoreBroker
from flux.brokers.redis.broker import RedisBroker
from flux.domain.duration import SECOND
from flux.domain.job import JobState
from flux.domain.shares import parse_queues
from flux.engine import dispatcher, tenure
from flux.engine.clock import SystemClock
from flux.engine.context import Context
from flux.engine.engine import Engine
from flux.engine.handler import Handler
from flux.engine.jobs import ChangeRequest
from flux.engine.ports import JobFilter
from flux.stores.sqlite.store import SqliteStore
from tests.integration.engine.conftest import Rig

NEVER = 3600.0


class RedisRig(Rig):
    """Engines on one file, with hints in one Redis."""

    def __init__(self, path: Path, url: str) -> None:
        self.url = url
        super().__init__(path)

    def another_engine(self) -> Engine:
        store = SqliteStore(str(self.path))
        return Engine(store, RedisBroker(self.url, StoreBroker(store)), SystemClock())


@pytest.fixture
async def rig(redis_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[RedisRig]:
    """No comparison but the first, and no look by policy."""
    monkeypatch.setattr(dispatcher, "EVERY", NEVER)
    monkeypatch.setattr(tenure, "LONGEST_RECEIVE", NEVER)
    made = RedisRig(tmp_path / "flux.db", redis_url)
    await made.engine.open()
    try:
        yield made
    finally:
        await made.engine.close()


async def ok(context: Context) -> None:
    """Succeeds."""


async def test_enqueued_promoted_and_retried_jobs_start(rig: RedisRig) -> None:
    failures = 1

    async def once(context: Context) -> None:
        nonlocal failures
        if failures:
            failures -= 1
            raise ValueError("the first time")

    handlers = (Handler(type="ok", call=ok), Handler(type="once", call=once))
    async with rig.scheduler(), rig.worker(*handlers):
        assert (await rig.ended(await rig.submit("ok"))).state is JobState.SUCCEEDED
        assert (await rig.ended(await rig.submit("ok", delay=0.3))).state is JobState.SUCCEEDED
        dead = await rig.ended(await rig.submit("once", max_retries=0))
        assert dead.state is JobState.DEAD
        await rig.engine.jobs.retry(dead.id)
        assert (await rig.ended(dead.id)).state is JobState.SUCCEEDED
        failures = 1
        retried = await rig.submit("once", max_retries=1, backoff={"kind": "constant", "base": "100ms"})
        assert (await rig.ended(retried)).state is JobState.SUCCEEDED


async def test_jobs_that_are_retried_in_bulk_start(rig: RedisRig) -> None:
    well = False

    async def later(context: Context) -> None:
        if not well:
            raise ValueError("not yet")

    async with rig.scheduler(), rig.worker(Handler(type="later", call=later)):
        ids = [await rig.submit("later", max_retries=0) for _ in range(5)]
        for job_id in ids:
            await rig.ended(job_id)
        well = True
        assert await rig.engine.jobs.retry_all(JobFilter(type="later")) == 5
        for job_id in ids:
            await rig.in_state(job_id, JobState.SUCCEEDED)


async def test_jobs_of_a_resumed_queue_start(rig: RedisRig) -> None:
    await rig.engine.queues.pause("default")
    async with rig.scheduler(), rig.worker(Handler(type="ok", call=ok)):
        job_id = await rig.submit("ok")
        # Its hint comes to nothing twice, and is forgotten then.
        other = await rig.submit("ok", queue="other")
        await rig.ended(other)
        await rig.engine.queues.resume("default")
        assert (await rig.ended(job_id)).state is JobState.SUCCEEDED


async def test_a_job_that_is_moved_to_another_queue_starts_there(rig: RedisRig) -> None:
    await rig.engine.queues.pause("slow")
    async with rig.worker(Handler(type="ok", call=ok)):
        job_id = await rig.submit("ok", queue="slow")
        await rig.engine.jobs.change(job_id, ChangeRequest(queue="fast"))
        assert (await rig.ended(job_id)).state is JobState.SUCCEEDED


async def test_a_queue_is_asked_for_again_once_there_is_room(rig: RedisRig) -> None:
    """While another job goes on: the worker waits for jobs of other queues, and is not told of this one's."""
    begun, go_on = asyncio.Queue[str](), asyncio.Event()

    async def wait(context: Context) -> None:
        begun.put_nowait(context.claimed.id)
        await go_on.wait()

    handler = Handler(type="wait", call=wait)
    async with rig.scheduler(), rig.worker(handler, queues=parse_queues("*,mail:1"), lease=60 * SECOND):
        first = await rig.submit("wait", queue="mail")
        assert await begun.get() == first
        second = await rig.submit("wait", queue="mail")
        # It has been to Redis since, and found none that it could take.
        other = await rig.submit("wait")
        assert await begun.get() == other
        await rig.engine.jobs.cancel(first)
        assert await begun.get() == second
        go_on.set()
        for job_id in (second, other):
            await rig.ended(job_id)


async def test_what_a_leaving_worker_hands_back_starts_elsewhere(rig: RedisRig) -> None:
    begun = asyncio.Event()

    async def long(context: Context) -> None:
        if not begun.is_set():
            begun.set()
            await asyncio.sleep(NEVER)

    async with rig.scheduler():
        async with rig.worker(Handler(type="long", call=long), grace=0):
            job_id = await rig.submit("long")
            await begun.wait()
        async with rig.worker(Handler(type="long", call=long), lease=2 * SECOND):
            job = await rig.ended(job_id)
    assert job.state is JobState.SUCCEEDED
    assert job.attempt == 1
