"""What one process commits wakes the others, and only those whom it concerns."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import pytest

from flux.domain.ids import IdSource
from flux.domain.job import AttemptOutcome, JobState, NewJob, Outcome
from flux.engine.clock import SystemClock
from flux.engine.ports import Demand, Topic, WorkerInfo
from flux.stores.postgres import changes as module
from flux.stores.postgres.database import Place
from flux.stores.postgres.store import PostgresStore

LEASE = 60_000_000
INFO = WorkerInfo(id="w", host="h", pid=1, version="0", queues="*", types=("t",), slots=10)
IDS = IdSource(SystemClock().now)


@pytest.fixture
async def here(database_url: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[PostgresStore]:
    """It is told, or it hears nothing."""
    monkeypatch.setattr(module, "_LISTENED_POLL", 3600.0)
    async for store in opened(database_url):
        yield store


@pytest.fixture
async def there(database_url: str, here: PostgresStore) -> AsyncIterator[PostgresStore]:
    """Another process, which has heard of all that came before."""
    async for store in opened(database_url):
        await here.leases.register(INFO, LEASE)
        # Told to everybody about everything, once it listens.
        async with asyncio.timeout(60):
            while (await store.changes.wait(seen := store.changes.version(), 0.2)) > seen:
                pass
        yield store


async def opened(url: str) -> AsyncIterator[PostgresStore]:
    store = PostgresStore(Place(url=url))
    await store.open()
    try:
        yield store
    finally:
        await store.close()


async def enqueue(store: PostgresStore, **fields: Any) -> NewJob:
    job = NewJob(id=IDS.new(), type="t", **fields)
    [answer] = await store.jobs.insert([[job]])
    assert isinstance(answer, list), answer
    return job


async def run(store: PostgresStore) -> None:
    [claimed] = await store.jobs.claim(Demand(worker_id="w", types=("t",), slots=5))
    outcome = Outcome(
        job_id=claimed.id,
        claim_id=claimed.claim_id,
        attempt=1,
        state=JobState.SUCCEEDED,
        how=AttemptOutcome.SUCCEEDED,
    )
    assert await store.jobs.finish("w", [outcome]) == [JobState.SUCCEEDED]


async def test_each_hears_of_what_concerns_it(here: PostgresStore, there: PostgresStore) -> None:
    changes = there.changes

    async def heard(about: Topic, before: dict[Topic, int]) -> set[Topic]:
        """Everything that is news once this is."""
        await changes.wait(before[about], 60, about)
        return {topic for topic in Topic.ANY if changes.version(topic) > before[topic]}

    def now() -> dict[Topic, int]:
        return {topic: changes.version(topic) for topic in Topic.ANY}

    before = now()
    await enqueue(here)
    assert await heard(Topic.AVAILABLE, before) == {Topic.AVAILABLE}
    before = now()
    await run(here)
    assert await heard(Topic.ENDED, before) <= {Topic.ENDED, Topic.REST}
    before = now()
    job = await enqueue(here, delay=LEASE)
    assert Topic.DUE in await heard(Topic.DUE, before)
    before = now()
    await here.jobs.cancel([job.id], None)
    assert Topic.ORDERS in await heard(Topic.ORDERS, before)


async def test_who_waits_for_one_thing_sleeps_through_the_others(
    here: PostgresStore, there: PostgresStore
) -> None:
    seen = there.changes.version(Topic.ENDED)
    waiting = asyncio.create_task(there.changes.wait(seen, 60, Topic.ENDED))
    for _ in range(5):
        before = there.changes.version(Topic.AVAILABLE)
        await enqueue(here)
        await there.changes.wait(before, 60, Topic.AVAILABLE)
        assert not waiting.done()
    await here.jobs.claim(Demand(worker_id="w", types=("t",), slots=4))
    assert not waiting.done()
    await run(here)
    assert await waiting > seen


async def test_what_nobody_understands_concerns_everybody(database_url: str, there: PostgresStore) -> None:
    """A process of another version may tell more, or less."""
    connection = await asyncpg.connect(database_url)
    try:
        for word in ("", "4096", "?"):
            seen = there.changes.version(Topic.ORDERS)
            await connection.execute(f"NOTIFY {module.CHANNEL}, '{word}'")
            assert await there.changes.wait(seen, 60, Topic.ORDERS) > seen
    finally:
        await connection.close()


async def test_everything_that_is_committed_is_told_in_the_end(
    here: PostgresStore, there: PostgresStore
) -> None:
    """However many come together."""
    for _ in range(20):
        seen = there.changes.version(Topic.AVAILABLE)
        await asyncio.gather(*(enqueue(here) for _ in range(10)))
        assert await there.changes.wait(seen, 60, Topic.AVAILABLE) > seen
