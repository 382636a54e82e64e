"""Events of transactions that overlap: in the order of changes, and past none that is still to come."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import asyncpg
import pytest

from flux.engine.ports import Change
from flux.stores.postgres.database import Place
from flux.stores.postgres.store import PostgresStore
from tests.conformance.store.lab import LONG, Lab, SteeredClock
from tests.servers.asking import ask
from tests.servers.schema import migrate

WAITING = (
    "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
)
BEFORE_EVENT_ORDER = 4
"""The last schema whose events are numbered by their transactions."""


class OneDatabase:
    """The lab's stores, on one database."""

    name = "postgres"

    def __init__(self, url: str) -> None:
        self._url = url

    def handle(self, place: Path, clock: SteeredClock, *, migrate: bool) -> PostgresStore:
        return PostgresStore(Place(url=self._url), clock=clock, migrate=migrate)

    async def remove(self, place: Path) -> None:
        """The fixture does."""


class Strangers:
    """Connections to the database that are not the store's."""

    def __init__(self, url: str, stack: AsyncExitStack) -> None:
        self._url = url
        self._stack = stack

    async def begin(self) -> Writer:
        """One more, with a transaction that is counted among the writing ones from now on."""
        connection = await asyncpg.connect(self._url)
        self._stack.push_async_callback(connection.close)
        await connection.execute("BEGIN; SELECT pg_current_xact_id()")
        return Writer(connection)


class Writer:
    """A transaction under way."""

    def __init__(self, connection: asyncpg.Connection) -> None:
        self._connection = connection

    async def write(self, key: str) -> None:
        """Write an event about a worker of that name, as the store does."""
        await self._connection.execute(
            "INSERT INTO flux.events (namespace, at, subject, state, key) VALUES ('default', 0, 'worker', 'alive', $1)",
            key,
        )

    async def end(self, how: str = "COMMIT") -> None:
        await self._connection.execute(how)


@pytest.fixture
async def strangers(database_url: str) -> AsyncIterator[Strangers]:
    async with AsyncExitStack() as stack:
        yield Strangers(database_url, stack)


@pytest.fixture
async def lab(database_url: str, tmp_path: Path) -> AsyncIterator[Lab]:
    """A store that has one event already, about the worker w1."""
    lab = Lab(OneDatabase(database_url), tmp_path)
    await lab.open()
    try:
        await lab.worker(lease=LONG)
        yield lab
    finally:
        await lab.close()


async def newest(lab: Lab) -> str:
    [event] = await lab.store.queries.events(None, 1)
    return event.id


async def heard(lab: Lab, after: str) -> list[str]:
    """What a follower who comes back after that event is told about."""
    return [event.key for event in await lab.store.queries.events(after, 100)]


# --- order --------------------------------------------------------------------------------------------------------


async def test_events_of_a_job_are_in_the_order_of_its_changes(lab: Lab, database_url: str) -> None:
    """Also when the transaction that changes it last had begun, and written elsewhere, before the others did."""
    first, held, last = await lab.add(), await lab.add(), await lab.add()
    stranger = await asyncpg.connect(database_url)
    try:
        await stranger.execute("BEGIN")
        await stranger.execute("SELECT 1 FROM flux.live WHERE id = $1 FOR UPDATE", held)
        async with asyncio.timeout(60), asyncio.TaskGroup() as group:
            cancelling = group.create_task(lab.store.jobs.cancel([first, held, last], None))
            while not await ask(database_url, WAITING):  # noqa: ASYNC110 - a condition elsewhere, in a server
                await asyncio.sleep(0.01)
            # It holds the first and waits for the second.
            assert (await lab.store.jobs.change(last, Change(priority=7))).done
            await stranger.execute("ROLLBACK")
    finally:
        await stranger.close()
    assert all(changed.done for changed in cancelling.result())
    events = await lab.all_events()
    assert [event.state for event in events if event.key == last] == ["available", "available", "cancelled"]


async def test_the_oldest_transaction_may_be_the_last_to_change_a_job(lab: Lab) -> None:
    job_id = await lab.add()
    older = await lab.store.transactions.begin("read_committed")
    await older.connection.execute("SELECT pg_current_xact_id()")
    claimed = await lab.claim_one()
    assert await older.complete(claimed.id, claimed.claim_id, b"1")
    events = await lab.all_events()
    assert [event.state for event in events if event.key == job_id] == ["available", "running", "succeeded"]


# --- what is under way --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("numbers", [None, 1 << 59], ids=["small", "large"])
@pytest.mark.parametrize(("how", "late"), [("COMMIT", ["late"]), ("ROLLBACK", [])])
async def test_a_number_that_is_not_committed_yet_is_not_passed_by(
    lab: Lab, strangers: Strangers, database_url: str, how: str, late: list[str], numbers: int | None
) -> None:
    if numbers is not None:  # as where there were many transactions before numbers came from a sequence
        await ask(database_url, f"SELECT setval('flux.event_order', {numbers})")
    start = await newest(lab)
    writer = await strangers.begin()
    await writer.write("late")
    job_id = await lab.add()
    assert await heard(lab, start) == []
    assert await newest(lab) == start
    await writer.end(how)
    assert await heard(lab, start) == [*late, job_id]


async def test_the_newest_transaction_may_be_the_one_that_is_waited_for(
    lab: Lab, strangers: Strangers
) -> None:
    """No snapshot tells of a transaction that is newer than all that have ended."""
    start = await newest(lab)
    older, newer = await strangers.begin(), await strangers.begin()
    await newer.write("first")
    await older.write("second")
    await older.end()
    assert await heard(lab, start) == []
    await newer.end()
    assert await heard(lab, start) == ["first", "second"]


async def test_a_number_is_waited_for_from_the_moment_it_is_given(lab: Lab, database_url: str) -> None:
    """Also where the event is the first that its transaction writes."""
    start = await newest(lab)
    connection = await asyncpg.connect(database_url)
    try:
        await connection.execute("BEGIN")
        number = await connection.fetchval("SELECT flux.event_batch()")
        job_id = await lab.add()
        assert await heard(lab, start) == []
        await connection.execute(
            "INSERT INTO flux.events (batch, namespace, at, subject, state, key) "
            f"VALUES ({number}, 'default', 0, 'worker', 'alive', 'late'); COMMIT"
        )
        assert await heard(lab, start) == ["late", job_id]
    finally:
        await connection.close()


async def test_what_is_before_it_can_be_read_meanwhile(lab: Lab, strangers: Strangers) -> None:
    jobs = [await lab.add(), await lab.add()]
    await newest(lab)
    writer = await strangers.begin()
    await writer.write("late")
    await lab.add()
    assert await heard(lab, "0.0") == ["w1", *jobs]


async def test_a_transaction_that_has_no_events_holds_nobody_up(lab: Lab, strangers: Strangers) -> None:
    start = await newest(lab)
    await strangers.begin()
    job_id = await lab.add()
    assert await heard(lab, start) == [job_id]
    assert await newest(lab) != start


async def test_a_transaction_with_many_events_needs_no_room_for_locks(lab: Lab, database_url: str) -> None:
    """A caller's loop of enqueues; the server has room for some thousands of locks in all."""
    mine = "SELECT count(*) FROM pg_locks WHERE pid = pg_backend_pid()"
    connection = await asyncpg.connect(database_url)
    try:
        await connection.execute("BEGIN; SELECT flux.event_batch()")
        before = await connection.fetchval(mine)
        for _ in range(5):
            await ask(database_url, "SELECT count(nextval('flux.event_order')) FROM generate_series(1, 100)")
            await connection.execute("SELECT flux.event_batch()")
        assert await connection.fetchval(mine) == before
    finally:
        await connection.close()


async def test_events_of_others_are_in_nobodys_way(lab: Lab, database_url: str) -> None:
    """Namespaces share the numbers."""
    start = await newest(lab)
    other = PostgresStore(Place(url=database_url), namespace="other", clock=lab.clock)
    await other.open()
    try:
        await other.jobs.insert([[lab.job()]])
        job_id = await lab.add()
        await other.jobs.insert([[lab.job()]])
        assert await heard(lab, start) == [job_id]
        assert len(await other.queries.events("0.0", 10)) == 2
    finally:
        await other.close()


# --- from numbers by transaction ----------------------------------------------------------------------------------


@pytest.mark.parametrize("pruned", [False, True])
async def test_followers_go_on_over_the_change_of_numbers(
    empty_database_url: str, tmp_path: Path, pruned: bool
) -> None:
    migrate(empty_database_url, BEFORE_EVENT_ORDER)
    old = await asyncpg.connect(empty_database_url)
    writes = await old.prepare(
        "INSERT INTO flux.events (namespace, at, subject, state, key) VALUES ('default', 0, 'worker', 'alive', $1) "
        "RETURNING batch"
    )
    lab = Lab(OneDatabase(empty_database_url), tmp_path)
    try:
        seen = [await writes.fetchval(key) for key in "abc"]
        if pruned:
            await old.execute("DELETE FROM flux.events")
        await lab.open()
        job_id = await lab.add()
        await writes.fetchval("d")  # by a process of the version before
        assert await heard(lab, f"{seen[-1]}.0") == [job_id, "d"]
        if not pruned:
            assert await heard(lab, f"{seen[0]}.0") == ["b", "c", job_id, "d"]
    finally:
        await old.close()
        await lab.close()
