"""Enqueue in a caller's own transaction: the job exists if and only if that commits, whichever driver it uses."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import psycopg
import pytest

from flux import CallNext, Conflict, Enqueue, Flux, Invalid, NotFound
from flux.engine import tenure
from flux.stores.postgres import changes
from tests.integration.postgres.callers import CALLERS, Asyncpg, Caller, Psycopg

PATIENCE = 60.0


def application(url: str) -> Flux:
    flux = Flux(url)

    @flux.job
    async def note(n: int) -> int:
        return n

    return flux


@pytest.fixture
async def flux(database_url: str) -> AsyncIterator[Flux]:
    """The application that the caller enqueues through."""
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute("CREATE TABLE orders (n int)")
    made = application(database_url)
    async with made:
        yield made
    made.close_sync()


@pytest.fixture(params=CALLERS, ids=lambda kind: kind.name)
async def caller(request: pytest.FixtureRequest, database_url: str) -> AsyncIterator[Caller]:
    made: Caller = request.param(database_url)
    await made.open()
    try:
        yield made
    finally:
        await made.close()


def orders(url: str) -> list[int]:
    with psycopg.connect(url) as connection:
        return [n for (n,) in connection.execute("SELECT n FROM orders ORDER BY n")]


def jobs(url: str) -> list[str]:
    with psycopg.connect(url) as connection:
        return [str(id) for (id,) in connection.execute("SELECT id FROM flux.live ORDER BY id")]


# --- every driver -------------------------------------------------------------------------------------------------


async def test_the_job_exists_once_the_transaction_commits(
    flux: Flux, caller: Caller, database_url: str
) -> None:
    await caller.begin()
    await caller.execute("INSERT INTO orders VALUES (1)")
    job = await caller.enqueue(flux, "note", {"n": 1}, tags=["a"], timeout="30s")
    with pytest.raises(NotFound):
        await flux.get(job.id)
    assert orders(database_url) == []
    await caller.commit()
    assert orders(database_url) == [1]
    async with flux.worker():
        assert await flux.result(job.id, timeout=PATIENCE) == 1
    stored = await flux.get(job.id)
    assert stored.options.tags == ("a",)
    assert stored.timeout == 30_000_000
    assert stored.queue == "default"


async def test_nothing_exists_after_a_rollback(flux: Flux, caller: Caller, database_url: str) -> None:
    await caller.begin()
    await caller.execute("INSERT INTO orders VALUES (1)")
    job = await caller.enqueue(flux, "note", {"n": 1}, idempotency_key="order-1", unique=True)
    await caller.rollback()
    assert orders(database_url) == jobs(database_url) == []
    with pytest.raises(NotFound):
        await flux.get(job.id)
    # Its keys are free again.
    again = await flux.enqueue("note", {"n": 2}, idempotency_key="order-1")
    assert again.id != job.id
    assert (await flux.enqueue("note", {"n": 1}, unique=True)).id != job.id


async def test_a_savepoint_takes_its_jobs_along(flux: Flux, caller: Caller, database_url: str) -> None:
    await caller.begin()
    kept = await caller.enqueue(flux, "note", {"n": 1})
    await caller.execute("SAVEPOINT ours")
    await caller.enqueue(flux, "note", {"n": 2}, idempotency_key="order-2")
    await caller.execute("ROLLBACK TO SAVEPOINT ours")
    await caller.commit()
    assert jobs(database_url) == [kept.id]


async def test_a_key_is_replayed_and_a_conflict_spoils_nothing(
    flux: Flux, caller: Caller, database_url: str
) -> None:
    earlier = await flux.enqueue("note", {"n": 0}, idempotency_key="order-0")
    await caller.begin()
    await caller.execute("INSERT INTO orders VALUES (1)")
    first = await caller.enqueue(flux, "note", {"n": 1}, idempotency_key="order-1")
    assert (await caller.enqueue(flux, "note", {"n": 1}, idempotency_key="order-1")).id == first.id
    assert (await caller.enqueue(flux, "note", {"n": 0}, idempotency_key="order-0")).id == earlier.id
    for key in ("order-0", "order-1"):
        with pytest.raises(Conflict):
            await caller.enqueue(flux, "note", {"n": 7}, idempotency_key=key)
    with pytest.raises(Invalid):
        await caller.enqueue(flux, "note", {"n": 7}, priority=11)
    await caller.commit()
    assert orders(database_url) == [1]
    assert jobs(database_url) == sorted([earlier.id, first.id])
    assert (await flux.enqueue("note", {"n": 1}, idempotency_key="order-1")).id == first.id
    with pytest.raises(Conflict):
        await flux.enqueue("note", {"n": 2}, idempotency_key="order-1")


async def test_unique_jobs_and_batches(flux: Flux, caller: Caller, database_url: str) -> None:
    await caller.begin()
    first = await caller.enqueue(flux, "note", {"n": 1}, unique=True)
    requests = [
        flux.request("note", {"n": 1}, unique=True),
        flux.request("note", {"n": 2}, delay="1h", expires_in="2h", headers={"tenant": "a"}),
        *(flux.request("note", {"n": n}, queue=f"q{n % 3}", priority=n % 10 + 1) for n in range(300)),
    ]
    batch = await caller.enqueue_many(flux, requests)
    await caller.commit()
    assert batch[0].id == first.id
    assert jobs(database_url) == sorted({first.id, *(job.id for job in batch)})
    late = await flux.get(batch[1].id)
    assert late.state == "scheduled"
    assert late.expires_at == late.created_at + 7_200_000_000
    assert (await flux.get(batch[12].id)).queue == "q1"
    assert (await flux.enqueue("note", {"n": 1}, unique=True)).id == first.id


async def test_it_starts_at_the_commit_without_any_poll(
    flux: Flux, caller: Caller, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another process's worker, which would look by itself only after an hour."""
    monkeypatch.setattr(changes, "_LISTENED_POLL", 3600.0)
    monkeypatch.setattr(tenure, "LONGEST_RECEIVE", 3600.0)
    other = application(database_url)
    async with other, other.worker(scheduler=False):
        warm = await other.enqueue("note", {"n": 0})
        assert await other.result(warm.id, timeout=PATIENCE) == 0
        await caller.begin()
        job = await caller.enqueue(flux, "note", {"n": 1})
        await asyncio.sleep(0.1)  # other wakes than that of the commit are over
        await caller.commit()
        assert await other.result(job.id, timeout=PATIENCE) == 1


# --- connections that commit by themselves ------------------------------------------------------------------------


async def test_asyncpg_without_a_transaction(flux: Flux, database_url: str) -> None:
    import asyncpg

    connection = await asyncpg.connect(database_url)
    job = await flux.enqueue("note", {"n": 1}, connection=connection, idempotency_key="a")
    await connection.close()
    assert jobs(database_url) == [job.id]


def test_psycopg_with_autocommit(database_url: str) -> None:
    flux = application(database_url)
    with psycopg.connect(database_url, autocommit=True) as connection:
        job = flux.enqueue_sync("note", {"n": 1}, connection=connection, idempotency_key="a")
        assert jobs(database_url) == [job.id]
        connection.execute("BEGIN")  # by hand
        flux.enqueue_sync("note", {"n": 1}, connection=connection, idempotency_key="b")
        connection.execute("ROLLBACK")
    assert jobs(database_url) == [job.id]
    flux.close_sync()


def test_sqlalchemy_with_autocommit(database_url: str) -> None:
    from sqlalchemy import create_engine

    flux = application(database_url)
    engine = create_engine(
        f"postgresql+psycopg://{database_url.partition('://')[2]}", isolation_level="AUTOCOMMIT"
    )
    with engine.connect() as connection:
        job = flux.enqueue_sync("note", {"n": 1}, connection=connection, idempotency_key="a")
        with pytest.raises(Conflict):
            flux.enqueue_sync("note", {"n": 2}, connection=connection, idempotency_key="a")
    engine.dispose()
    assert jobs(database_url) == [job.id]
    flux.close_sync()


async def test_a_typed_enqueue_and_its_middleware(flux: Flux, database_url: str) -> None:
    seen: list[int] = []

    @flux.middleware
    async def count(enqueue: Enqueue, call_next: CallNext) -> Any:
        seen.append(len(enqueue.requests))
        return await call_next(enqueue)

    @flux.job
    async def pack(order: int) -> None: ...

    caller = Asyncpg(database_url)
    await caller.open()
    await caller.begin()
    joined = pack.options(connection=caller.connection)
    one = await joined.enqueue(order=1)
    two = await flux.enqueue_many([joined.request(order=2), pack.request(order=3)])
    await caller.rollback()
    sync = Psycopg(database_url)
    await sync.open()
    three = await sync.there(lambda: pack.options(connection=sync.connection).enqueue_sync(order=4))
    await sync.commit()
    await sync.close()
    await caller.close()
    assert seen == [1, 2, 1]
    assert jobs(database_url) == [three.id]
    assert one.id not in [job.id for job in two]


# --- keys that somebody else takes at the same time ---------------------------------------------------------------


@pytest.mark.parametrize(
    "options", [{"idempotency_key": "k"}, {"unique": True}], ids=["idempotent", "unique"]
)
@pytest.mark.parametrize("ends", ["commit", "rollback"])
async def test_others_wait_for_a_key_and_for_nothing_else(
    flux: Flux, database_url: str, options: dict[str, Any], ends: str
) -> None:
    caller = Asyncpg(database_url)
    await caller.open()
    await caller.begin()
    first = await caller.enqueue(flux, "note", {"n": 1}, **options)
    # Two thousand other keys share every lock there is with this one.
    others = [flux.request("note", {"n": n}, idempotency_key=f"other-{n}") for n in range(2000)]
    await flux.enqueue_many(others)
    waiting = asyncio.create_task(flux.enqueue("note", {"n": 1}, **options))
    await until_someone_waits(database_url)
    await getattr(caller, ends)()
    second = await waiting
    await caller.close()
    assert (second.id == first.id) is (ends == "commit")
    assert len(jobs(database_url)) == 2001


async def test_two_transactions_and_one_key(flux: Flux, database_url: str) -> None:
    one, two = Asyncpg(database_url), Psycopg(database_url)
    await one.open()
    await two.open()
    await one.begin()
    first = await one.enqueue(flux, "note", {"n": 1}, idempotency_key="k")
    waiting = asyncio.create_task(two.enqueue(flux, "note", {"n": 1}, idempotency_key="k"))
    await until_someone_waits(database_url)
    await one.commit()
    second = await waiting
    await two.commit()
    await one.close()
    await two.close()
    assert second.id == first.id
    assert jobs(database_url) == [first.id]


async def until_someone_waits(url: str) -> None:
    async with asyncio.timeout(PATIENCE), await psycopg.AsyncConnection.connect(url, autocommit=True) as look:
        while True:
            answer = await look.execute(
                "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
            )
            row = await answer.fetchone()
            if row is not None and row[0]:
                return
            await asyncio.sleep(0.01)


# --- what is refused ----------------------------------------------------------------------------------------------


async def test_a_connection_to_another_database(flux: Flux, empty_database_url: str) -> None:
    caller = Asyncpg(empty_database_url)
    await caller.open()
    await caller.begin()
    with pytest.raises(Invalid, match="connection: leads to the database"):
        await caller.enqueue(flux, "note", {"n": 1})
    await caller.execute("CREATE TABLE still_of_use (n int)")
    await caller.commit()
    await caller.close()


async def test_what_is_no_connection(flux: Flux, database_url: str) -> None:
    with pytest.raises(
        Invalid, match=r"connection: is a builtins\.str, which cannot be joined; it may be an asyncpg"
    ):
        await flux.enqueue("note", {"n": 1}, connection=database_url)
    with psycopg.connect(database_url) as connection, pytest.raises(Invalid, match=r"psycopg\.Cursor"):
        await flux.enqueue("note", {"n": 1}, connection=connection.cursor())


async def test_an_asynchronous_connection_in_synchronous_code(flux: Flux, database_url: str) -> None:
    caller = Asyncpg(database_url)
    await caller.open()
    with pytest.raises(Invalid, match="connection: is asynchronous: `await`"):
        await asyncio.to_thread(flux.enqueue_sync, "note", {"n": 1}, connection=caller.connection)
    await caller.close()


async def test_a_schedule_in_a_transaction(flux: Flux, database_url: str) -> None:
    caller = Asyncpg(database_url)
    await caller.open()
    with pytest.raises(Invalid, match="cron: a schedule is made in a transaction of its own"):
        await caller.enqueue(flux, "note", {"n": 1}, cron="@daily")
    await caller.close()


async def test_two_connections_in_one_enqueue(flux: Flux) -> None:
    with pytest.raises(Invalid, match="one connection for all jobs"):
        await flux.enqueue_many(
            [flux.request("note", {}, connection=object()), flux.request("note", {}, connection=object())]
        )


async def test_a_server_has_transactions_of_its_own() -> None:
    async with Flux("http://127.0.0.1:1") as remote:
        with pytest.raises(Invalid, match="connection: a transaction cannot reach through the server"):
            await remote.enqueue("note", {"n": 1}, connection=object())
