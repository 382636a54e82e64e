"""Wake-ups: local commits at once, others' by the poll, nobody's never."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from flux.stores.sqlite.changes import SqliteChanges
from flux.stores.sqlite.database import Database
from flux.stores.sqlite.hub import Hub


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    database = Database(str(tmp_path / "x.db"))
    await database.open()
    await database.write(lambda c: c.execute("CREATE TABLE t (a)").rowcount)
    yield database
    await database.close()


@pytest.fixture
async def changes(database: Database) -> AsyncIterator[SqliteChanges]:
    changes = SqliteChanges(database)
    yield changes
    await changes.close()


def insert(connection: sqlite3.Connection) -> int:
    return connection.execute("INSERT INTO t VALUES (1)").rowcount


async def settle(changes: SqliteChanges) -> int:
    """The version once nothing moves any more: the poller's first look counts as a change."""
    while True:
        seen = changes.version()
        if await changes.wait(seen, 0.15) == seen:
            return seen


async def test_own_commits_wake_many_waiters_and_empty_ones_nobody(
    database: Database, changes: SqliteChanges
) -> None:
    seen = await settle(changes)
    waiters = [asyncio.create_task(changes.wait(seen, 10)) for _ in range(200)]
    await asyncio.sleep(0.02)
    await database.probe()
    await asyncio.sleep(0.02)
    assert not any(waiter.done() for waiter in waiters)
    await database.write(insert)
    assert min(await asyncio.wait_for(asyncio.gather(*waiters), 5)) > seen


async def test_commits_of_others_wake_by_the_poll(database: Database, changes: SqliteChanges) -> None:
    seen = await settle(changes)
    waiter = asyncio.create_task(changes.wait(seen, 10))
    await asyncio.sleep(0.02)
    other = sqlite3.connect(database.path)
    other.execute("INSERT INTO t VALUES (2)")
    other.commit()
    other.close()
    assert await asyncio.wait_for(waiter, 5) > seen


async def test_without_changes_a_wait_times_out(changes: SqliteChanges) -> None:
    seen = await settle(changes)
    assert await changes.wait(seen, 0.05) == seen
    assert await changes.wait(seen, 0) == seen
    assert await changes.wait(seen - 1, 60) == seen, "what is past already is answered at once"


async def test_waiters_of_another_loop_are_woken_too(database: Database, changes: SqliteChanges) -> None:
    seen = await settle(changes)
    answers: list[int] = []
    ready = threading.Event()

    async def wait() -> None:
        ready.set()
        answers.append(await changes.wait(seen, 10))

    thread = threading.Thread(target=asyncio.run, args=(wait(),))
    thread.start()
    await asyncio.to_thread(ready.wait)
    await database.write(insert)
    await asyncio.to_thread(thread.join)
    assert answers[0] > seen


async def test_closing_lets_everybody_go(database: Database) -> None:
    changes = SqliteChanges(database)
    seen = await settle(changes)
    waiter = asyncio.create_task(changes.wait(seen, 60))
    await asyncio.sleep(0.01)
    await changes.close()
    await asyncio.wait_for(waiter, 5)
    assert [task for task in asyncio.all_tasks() if task.get_name() == "flux-sqlite-changes"] == []


async def test_inline_databases_wake_each_other_by_their_hub(tmp_path: Path) -> None:
    hub = Hub()
    one = Database(str(tmp_path / "x.db"), inline=True, hub=hub)
    two = Database(str(tmp_path / "x.db"), inline=True, hub=hub)
    await one.open()
    await two.open()
    await one.write(lambda c: c.execute("CREATE TABLE t (a)").rowcount)
    changes = SqliteChanges(two)
    seen = changes.version()
    waiter = asyncio.create_task(changes.wait(seen, 10))
    await asyncio.sleep(0)
    await one.write(insert)
    assert await asyncio.wait_for(waiter, 5) > seen
    assert await changes.wait(changes.version(), 0.01) == changes.version()
    await changes.close()
    await one.close()
    await two.close()
