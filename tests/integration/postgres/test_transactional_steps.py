"""A step that ends in its handler's own transaction: what it wrote and what its end releases are one commit."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator

import psycopg
import pytest

from flux.domain.ids import IdSource
from flux.domain.job import ClaimedJob
from flux.engine.ports import Demand, NewWorkflow, StoredEdge, StoredStep, WorkerInfo
from flux.stores.postgres.database import Place
from flux.stores.postgres.store import PostgresStore
from tests.conformance.store.graphs import defined


@pytest.fixture
async def store(database_url: str) -> AsyncIterator[PostgresStore]:
    """A store with a worker."""
    store = PostgresStore(Place(url=database_url))
    await store.open()
    info = WorkerInfo(id="w", host="h", pid=1, version="0", queues="*", types=("t",), slots=10)
    await store.leases.register(info, 60_000_000)
    yield store
    await store.close()


async def claim(store: PostgresStore) -> list[ClaimedJob]:
    return await store.jobs.claim(Demand(worker_id="w", types=("t",), slots=10))


async def test_what_it_wrote_and_what_it_releases_are_one_commit(
    store: PostgresStore, database_url: str
) -> None:
    ids = IdSource(lambda: time.time_ns() // 1000)
    shape = defined([StoredStep(name="a", type="t"), StoredStep(name="b", type="t")], [StoredEdge(0, 1, 1)])
    run = NewWorkflow(id=ids.new(), name="w", definition=shape, job_ids=[ids.new(), ids.new()])
    await store.workflows.create([run])
    [first] = await claim(store)
    begun = await store.transactions.begin("read_committed")
    await begun.connection.execute("CREATE TABLE ledger (paid int)")
    await begun.rollback()
    assert await claim(store) == []
    begun = await store.transactions.begin("read_committed")
    await begun.connection.execute("CREATE TABLE ledger AS SELECT 1 AS paid")
    assert await begun.complete(first.id, first.claim_id, b"1")
    with psycopg.connect(database_url) as connection:
        wrote = connection.execute(
            "SELECT xmin::text FROM ledger UNION ALL SELECT xmin::text FROM flux.live UNION ALL "
            "SELECT xmin::text FROM flux.done"
        ).fetchall()
    assert len(wrote) == 3
    assert len(set(wrote)) == 1
    assert [(job.id, job.step) for job in await claim(store)] == [(run.job_ids[1], 1)]
    again = await store.transactions.begin("read_committed")
    assert not await again.complete(first.id, first.claim_id, b"1")
