"""A unique key that a caller's open transaction takes, and a person's retry of the job that had it before."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import asyncpg
import pytest
import pytest_asyncio

from flux.domain.ids import IdSource
from flux.domain.job import JobState, NewJob, Uniqueness
from flux.engine.clock import SystemClock
from flux.stores.postgres.database import Place
from flux.stores.postgres.store import PostgresStore
from tests.servers.asking import ask

WAITING = (
    "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
)
LIVE = "SELECT array_agg(id::text) FROM flux.live"


@pytest_asyncio.fixture
async def store(database_url: str) -> AsyncIterator[PostgresStore]:
    store = PostgresStore(Place(url=database_url))
    await store.open()
    yield store
    await store.close()


def unique_job(key: str = "k") -> NewJob:
    states = ("blocked", "scheduled", "available", "running", "retrying")
    return NewJob(id=IdSource(SystemClock().now).new(), type="t", unique=Uniqueness(key=key, states=states))


async def cancelled_job(store: PostgresStore) -> NewJob:
    job = unique_job()
    await store.jobs.insert([[job]])
    await store.jobs.cancel([job.id], None)
    return job


@pytest.mark.parametrize("commits", [True, False], ids=["commits", "gives-up"])
@pytest.mark.parametrize("pruned", [True, False], ids=["key-forgotten", "key-known"])
async def test_of_a_retry_and_an_open_transaction_one_gets_the_key(
    store: PostgresStore, database_url: str, commits: bool, pruned: bool
) -> None:
    old, new = await cancelled_job(store), unique_job()
    caller = await asyncpg.connect(database_url)
    if pruned:
        await caller.execute("DELETE FROM flux.uniqueness")
    transaction = caller.transaction()
    await transaction.start()
    [inserted] = await store.jobs.insert_within(caller, [new], lambda inserted: None)
    assert inserted.how == "created"
    async with asyncio.timeout(60), asyncio.TaskGroup() as group:
        retrying = group.create_task(store.jobs.retry([old.id]))
        while not await ask(database_url, WAITING):  # noqa: ASYNC110 - a condition elsewhere, in a server
            await asyncio.sleep(0.01)
        await (transaction.commit() if commits else transaction.rollback())
    await caller.close()
    [answer] = retrying.result()
    if commits:
        assert (answer.done, answer.state) == (False, JobState.CANCELLED)
        assert f"held by another job ({new.id})" in (answer.why or "")
    else:
        assert answer.done
    assert await ask(database_url, LIVE) == [new.id if commits else old.id]
    again = unique_job()
    [[duplicate]] = await store.jobs.insert([[again]])  # type: ignore[misc]
    assert (duplicate.id, duplicate.how) == (new.id if commits else old.id, "duplicate")
