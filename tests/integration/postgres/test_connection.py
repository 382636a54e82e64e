"""How the store stands to its server: refusals in words, poolers, and a server that goes and comes back."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

import asyncpg
import pytest

from flux.domain.errors import FluxError, SchemaMismatch, Unavailable
from flux.domain.ids import IdSource
from flux.domain.job import AttemptOutcome, JobState, NewJob, Outcome
from flux.domain.schema import Phase
from flux.engine.clock import SystemClock
from flux.engine.ports import Demand, WorkerInfo
from flux.stores.migrations import known_migrations
from flux.stores.postgres import database as databases
from flux.stores.postgres.database import Place
from flux.stores.postgres.migrating import PACKAGE
from flux.stores.postgres.store import PostgresStore
from scripts.servers.postgres import PostgresServer
from tests.servers.asking import ask
from tests.servers.private import Servers

T = TypeVar("T")
INFO = WorkerInfo(id="w", host="h", pid=1, version="0", queues="*", types=("t",), slots=10)
LEASE = 60_000_000
WAITED = """SELECT count(*) FROM pg_locks
             WHERE NOT granted AND locktype = 'advisory' AND clock_timestamp() - waitstart > interval '0.5 s'"""


async def execute(url: str, statement: str) -> None:
    connection = await asyncpg.connect(url)
    try:
        await connection.execute(statement)
    finally:
        await connection.close()


async def once_back(verb: Callable[[], Awaitable[T]]) -> T:
    """The answer of the first try that the server takes."""
    async with asyncio.timeout(60):
        while True:
            try:
                return await verb()
            except Unavailable:
                await asyncio.sleep(0.02)


async def one_job_through(store: PostgresStore) -> str:
    """Enqueue, claim and end one job; its id."""
    [job] = [NewJob(id=IdSource(SystemClock().now).new(), type="t")]
    [answer] = await store.jobs.insert([[job]])
    assert isinstance(answer, list)
    [claimed] = await store.jobs.claim(Demand(worker_id="w", types=("t",), slots=5))
    assert claimed.id == job.id
    outcome = Outcome(
        job_id=job.id,
        claim_id=claimed.claim_id,
        attempt=1,
        state=JobState.SUCCEEDED,
        how=AttemptOutcome.SUCCEEDED,
    )
    assert await store.jobs.finish("w", [outcome]) == [JobState.SUCCEEDED]
    return job.id


async def test_a_server_that_may_lose_what_it_accepted_is_refused(database_url: str) -> None:
    name = database_url.rpartition("/")[2]
    await execute(database_url, f'ALTER DATABASE "{name}" SET synchronous_commit = off')
    with pytest.raises(FluxError, match="FLUX_ALLOW_LOSSY_COMMIT=1"):
        await PostgresStore(Place(url=database_url)).open()
    store = PostgresStore(Place(url=database_url, lossy=True))
    await store.open()
    assert not (await store.health()).durable
    await store.close()


async def test_a_schema_that_is_too_old_or_too_new_is_refused_naming_both(
    database_url: str, empty_database_url: str
) -> None:
    known = known_migrations(PACKAGE)
    needed = [migration.name for migration in known if migration.phase is Phase.PRE][-1]
    with pytest.raises(SchemaMismatch, match=f"has no schema of Flux, and this program needs {needed}"):
        await PostgresStore(Place(url=empty_database_url), migrate=False).open()
    await execute(database_url, "INSERT INTO flux.migrations (number, name) VALUES (9999, '9999_later')")
    with pytest.raises(SchemaMismatch, match=f"ends at {known[-1].name}.*9999_later"):
        await PostgresStore(Place(url=database_url)).open()


async def test_a_starter_waits_for_another_ones_migration_as_long_as_it_takes(
    empty_database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Longer than anything else may wait for a lock, or a statement take."""
    monkeypatch.setattr(databases, "_PATIENCE", {"lock_timeout": "50ms"})
    monkeypatch.setattr(databases, "_COMMAND", 0.2)
    other = await asyncpg.connect(empty_database_url)
    transaction = other.transaction()
    await transaction.start()
    await other.execute("SELECT pg_advisory_xact_lock(1180463448, 1 << 20)")
    store = PostgresStore(Place(url=empty_database_url))
    opening = asyncio.create_task(store.migrate())
    async with asyncio.timeout(60):
        while not await ask(empty_database_url, WAITED):
            assert not opening.done()
            await asyncio.sleep(0.01)
    await transaction.rollback()
    await other.close()
    assert await opening
    await store.close()


async def test_who_is_not_there_is_said_in_one_sentence() -> None:
    with pytest.raises(Unavailable) as refused:
        await PostgresStore(Place(url="postgres://flux:secret@127.0.0.1:1/flux")).open()
    assert str(refused.value) == (
        "The database 'flux' at 127.0.0.1:1 refuses connections: is PostgreSQL running there?"
    )


async def test_a_change_of_one_process_wakes_another(database_url: str) -> None:
    here, there = PostgresStore(Place(url=database_url)), PostgresStore(Place(url=database_url))
    await here.open()
    await there.open()
    try:
        seen = there.changes.version()
        await here.leases.register(INFO, LEASE)
        assert await there.changes.wait(seen, 30) > seen
    finally:
        await here.close()
        await there.close()


async def test_everything_works_behind_a_pooler(servers: Servers, private_postgres: PostgresServer) -> None:
    pooler = servers.pgbouncer(private_postgres)
    place = Place(url=pooler.url, direct_url=private_postgres.url, pooler=True)
    store, other = PostgresStore(place), PostgresStore(place)
    await asyncio.gather(store.open(), other.open())
    try:
        await store.leases.register(INFO, LEASE)
        ids = [await one_job_through(store) for _ in range(5)]
        assert set((await other.queries.states(ids)).values()) == {JobState.SUCCEEDED}
        leases = store.lease_connection()
        await leases.renew("w", LEASE)
        await leases.close()
    finally:
        await store.close()
        await other.close()


async def test_a_server_that_crashes_is_found_again(private_postgres: PostgresServer) -> None:
    store = PostgresStore(Place(url=private_postgres.url))
    await store.open()
    try:
        await store.leases.register(INFO, LEASE)
        before = await one_job_through(store)
        private_postgres.kill()
        with pytest.raises(Unavailable):
            await store.queries.states([before])
        assert not (await store.health()).ok
        private_postgres.start()
        assert await once_back(lambda: store.queries.states([before])) == {before: JobState.SUCCEEDED}
        await once_back(lambda: store.leases.renew("w", LEASE))
        after = await once_back(lambda: one_job_through(store))
        assert await store.queries.states([after]) == {after: JobState.SUCCEEDED}
        assert (await store.health()).ok
    finally:
        await store.close()
