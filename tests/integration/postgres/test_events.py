"""Events of transactions that overlap: in order for each job, and none that a reader passes by."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import asyncpg
import pytest_asyncio

from flux.domain.ids import IdSource
from flux.domain.job import NewJob
from flux.engine.clock import SystemClock
from flux.engine.ports import Change, Event
from flux.stores.postgres.database import Place
from flux.stores.postgres.store import PostgresStore
from tests.servers.asking import ask

WAITING = (
    "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
)


@pytest_asyncio.fixture
async def store(database_url: str) -> AsyncIterator[PostgresStore]:
    store = PostgresStore(Place(url=database_url))
    await store.open()
    yield store
    await store.close()


async def waiting_jobs(store: PostgresStore, count: int) -> list[str]:
    """So many jobs, in the order of their ids, which is that of locks."""
    source = IdSource(SystemClock().now)
    jobs = [NewJob(id=source.new(), type="t") for _ in range(count)]
    await store.jobs.insert([jobs])
    return [job.id for job in jobs]


async def events(store: PostgresStore) -> list[Event]:
    return [event for event in await store.queries.events("0.0", 1000) if event.subject == "job"]


async def test_a_job_has_its_events_in_the_order_in_which_they_happened(
    store: PostgresStore, database_url: str
) -> None:
    """Also when the transaction that wrote the last of them had begun, and written elsewhere, before the others did."""
    first, held, last = await waiting_jobs(store, 3)
    other = await asyncpg.connect(database_url)
    transaction = other.transaction()
    await transaction.start()
    await other.execute("SELECT 1 FROM flux.live WHERE id = $1 FOR UPDATE", held)
    async with asyncio.timeout(60), asyncio.TaskGroup() as group:
        cancelling = group.create_task(store.jobs.cancel([first, held, last], None))
        while not await ask(database_url, WAITING):  # noqa: ASYNC110 - a condition elsewhere, in a server
            await asyncio.sleep(0.01)
        # It holds the first and waits for the second.
        assert (await store.jobs.change(last, Change(priority=7))).done
        await transaction.rollback()
    await other.close()
    assert all(changed.done for changed in cancelling.result())
    assert [event.state for event in await events(store) if event.key == last] == [
        "available",
        "available",
        "cancelled",
    ]


async def test_nothing_is_passed_by_that_is_committed_later(store: PostgresStore, database_url: str) -> None:
    """What came after an open transaction's events is read after them, however long that takes."""
    source = IdSource(SystemClock().now)
    early, late = NewJob(id=source.new(), type="t"), NewJob(id=source.new(), type="t")
    caller = await asyncpg.connect(database_url)
    transaction = caller.transaction()
    await transaction.start()
    await store.jobs.insert_within(caller, [early], lambda inserted: None)
    await store.jobs.insert([[late]])
    seen = await events(store)
    assert late.id not in [event.key for event in seen]
    await transaction.commit()
    await caller.close()
    after = seen[-1].id if seen else "0.0"
    assert [event.key for event in await store.queries.events(after, 10) if event.subject == "job"] == [
        early.id,
        late.id,
    ]


async def test_what_was_given_up_keeps_no_reader_waiting(store: PostgresStore, database_url: str) -> None:
    source = IdSource(SystemClock().now)
    caller = await asyncpg.connect(database_url)
    transaction = caller.transaction()
    await transaction.start()
    await store.jobs.insert_within(caller, [NewJob(id=source.new(), type="t")], lambda inserted: None)
    [job_id] = await waiting_jobs(store, 1)
    await transaction.rollback()
    await caller.close()
    assert [event.key for event in await events(store)] == [job_id]
