"""The database under the ports: group commit, locks, failures of the file, several event loops."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import threading
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from flux.domain.errors import DataRefused, Unavailable
from flux.stores.sqlite.database import Database

LOOK = 0.03  # longer than the database's look at its file


def add(value: int) -> Callable[[sqlite3.Connection], int]:
    return lambda connection: connection.execute("INSERT INTO t VALUES (?)", (value,)).rowcount


def count(connection: sqlite3.Connection) -> int:
    found: int = connection.execute("SELECT count(*) FROM t").fetchone()[0]
    return found


@pytest.fixture
def path(tmp_path: Path) -> str:
    return str(tmp_path / "x.db")


@pytest.fixture(params=[False, True], ids=["threads", "inline"])
async def database(request: pytest.FixtureRequest, path: str) -> AsyncIterator[Database]:
    database = Database(path, inline=request.param, patience=0.3)
    await database.open()
    await database.write(
        lambda c: c.execute("CREATE TABLE t (a INTEGER PRIMARY KEY CHECK (a >= 0))").rowcount
    )
    yield database
    await database.close()


async def test_what_is_queued_during_a_commit_shares_the_next_one(path: str) -> None:
    database = Database(path)
    await database.open()
    await database.write(lambda c: c.execute("CREATE TABLE t (a)").rowcount)
    begun = threading.Event()
    go_on = threading.Event()
    commits: list[int] = []
    database.hub.subscribe(lambda: commits.append(1))

    def slow(connection: sqlite3.Connection) -> None:
        connection.execute("INSERT INTO t VALUES (-1)")
        begun.set()
        go_on.wait(10)

    first = asyncio.create_task(database.write(slow))
    await asyncio.to_thread(begun.wait, 10)
    others = [asyncio.create_task(database.write(add(value))) for value in range(50)]
    await asyncio.sleep(0.01)
    go_on.set()
    await first
    assert await asyncio.gather(*others) == [1] * 50
    assert len(commits) == 2
    await database.close()


async def test_an_exception_undoes_its_own_work_only(database: Database) -> None:
    def breaks(connection: sqlite3.Connection) -> None:
        connection.execute("INSERT INTO t VALUES (2)")
        raise LookupError("mine")

    answers = await asyncio.gather(
        database.write(add(1)),
        database.write(breaks),
        database.write(add(-1)),
        database.write(add(3)),
        return_exceptions=True,
    )
    assert answers[0] == answers[3] == 1
    assert isinstance(answers[1], LookupError)
    assert isinstance(answers[2], DataRefused)
    rows = await database.read(lambda c: c.execute("SELECT a FROM t").fetchall())
    assert rows == [(1,), (3,)]


@pytest.mark.parametrize(
    "statement",
    [
        ("INSERT INTO nowhere VALUES (1)", ()),
        ("SELECT zeroblob(1000000001)", ()),
        ("SELECT json_extract('{', '$')", ()),
        ("SELECT ?", ()),
        ("SELECT ?", (2**64,)),
        ("SELECT ?", ("\ud800",)),
        ("SELECT ?", (object(),)),
    ],
    ids=lambda statement: f"{statement[0][:20]}-{statement[1]!r:.10}",
)
async def test_what_the_driver_raises_leaves_as_our_own(
    database: Database, statement: tuple[str, tuple[object, ...]]
) -> None:
    def fails(connection: sqlite3.Connection) -> None:
        connection.execute("INSERT INTO t VALUES (9)")
        connection.execute(*statement).fetchall()

    answers = await asyncio.gather(database.write(add(1)), database.write(fails), return_exceptions=True)
    assert answers[0] == 1
    assert isinstance(answers[1], DataRefused)
    with pytest.raises(Unavailable):
        await database.read(lambda c: c.execute(*statement).fetchall())
    assert await database.read(count) == 1


async def test_want_of_memory_is_unavailable_and_then_all_is_well(database: Database) -> None:
    def starves(connection: sqlite3.Connection, first: str = "INSERT INTO t VALUES (9)") -> None:
        connection.execute(first)
        raise MemoryError

    with pytest.raises(Unavailable, match="want of memory"):
        await database.write(starves)
    with pytest.raises(Unavailable, match="want of memory"):
        await database.read(lambda c: starves(c, "SELECT 1"))
    assert await database.read(count) == 0
    assert await database.write(add(1)) == 1


async def test_a_lock_is_waited_for(database: Database, path: str) -> None:
    other = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    other.execute("BEGIN IMMEDIATE")
    threading.Timer(0.1, other.execute, ["COMMIT"]).start()
    assert await database.write(add(1)) == 1
    other.close()


async def test_what_comes_after_a_refusal_is_refused_soon(path: str) -> None:
    """Each waiting its whole patience would take over a minute here; a queue of requests would wait for all before."""
    database = Database(path, patience=2.0)
    await database.open()
    await database.write(lambda c: c.execute("CREATE TABLE t (a)").rowcount)
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    async with asyncio.timeout(60):
        for number in range(40):
            with pytest.raises(Unavailable):
                await database.write(add(number))
    other.execute("ROLLBACK")
    assert await database.write(add(1)) == 1
    # The lock was had: the next one that it meets is waited for with all the patience there is.
    other.execute("BEGIN IMMEDIATE")
    waiting = asyncio.create_task(database.write(add(2)))
    await asyncio.sleep(1.0)
    other.execute("ROLLBACK")
    assert await waiting == 1
    other.close()
    await database.close()


async def test_a_lock_that_stays_is_unavailable_and_then_all_is_well(database: Database, path: str) -> None:
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(Unavailable, match=r"x\.db is locked by another process"):
        await database.write(add(1))
    assert await database.read(count) == 0, "readers do not wait for writers"
    other.execute("ROLLBACK")
    other.close()
    assert await database.write(add(1)) == 1


async def test_a_full_disk_is_unavailable_and_then_all_is_well(database: Database) -> None:
    def fill(connection: sqlite3.Connection) -> None:
        pages = connection.execute("PRAGMA page_count").fetchone()[0]
        connection.execute(f"PRAGMA max_page_count = {pages}")
        connection.executemany("INSERT INTO t VALUES (?)", [(value,) for value in range(10_000)])

    with pytest.raises(Unavailable, match=r"x\.db cannot grow: the disk is full"):
        await database.write(fill)
    assert await database.read(count) == 0
    assert await database.write(add(1)) == 1


async def test_a_file_that_was_taken_away_is_missed_and_found_again(database: Database, path: str) -> None:
    database.schema_seen()
    await database.write(lambda c: c.execute("CREATE TABLE flux_migrations (a)").rowcount)
    os.rename(path, path + ".away")
    await asyncio.sleep(LOOK)
    with pytest.raises(Unavailable, match=r"x\.db is missing"):
        await database.write(add(1))
    with pytest.raises(Unavailable, match=r"x\.db is missing"):
        await database.read(count)
    assert not os.path.exists(path), "an empty file must not take its place"
    os.rename(path + ".away", path)
    assert await database.write(add(1)) == 1
    assert await database.read(count) == 1


async def test_the_heartbeat_puts_no_empty_file_where_the_database_is_missing(
    database: Database, path: str
) -> None:
    await database.write(lambda c: c.execute("CREATE TABLE flux_migrations (a)").rowcount)
    await database.write(add(1))
    database.schema_seen()
    heartbeat = database.another(inline=True)
    await heartbeat.open()
    os.rename(path, path + ".away")
    await asyncio.sleep(LOOK)
    for _ in range(2):
        with pytest.raises(Unavailable, match=r"x\.db is missing"):
            await heartbeat.write(add(2))
    assert not os.path.exists(path)
    os.rename(path + ".away", path)
    assert await heartbeat.read(count) == 1, "what was accepted is still there"
    await heartbeat.close()


async def test_a_file_that_was_replaced_by_a_strange_one_is_refused(database: Database, path: str) -> None:
    database.schema_seen()
    for suffix in ("", "-wal", "-shm"):
        if os.path.exists(path + suffix):
            os.remove(path + suffix)
    sqlite3.connect(path).close()
    Path(path).touch()
    await asyncio.sleep(LOOK)
    with pytest.raises(Unavailable, match="replaced by a file without Flux's tables"):
        await database.write(add(1))


async def test_a_missing_directory_is_named(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match=r"directory .*/nowhere of the database .* does not exist"):
        await Database(str(tmp_path / "nowhere" / "x.db")).open()


async def test_something_else_than_a_database_is_named(path: str) -> None:
    Path(path).write_bytes(b"no database at all, " * 1000)
    with pytest.raises(Unavailable, match="is not an SQLite database"):
        await Database(path).open()


async def test_closing_finishes_what_is_queued(path: str) -> None:
    database = Database(path)
    await database.open()
    await database.write(lambda c: c.execute("CREATE TABLE t (a)").rowcount)
    works = [asyncio.create_task(database.write(add(value))) for value in range(20)]
    await asyncio.sleep(0)
    await database.close()
    assert await asyncio.gather(*works) == [1] * 20
    with pytest.raises(Unavailable, match="is closed"):
        await database.write(add(1))
    await database.open()
    assert await database.read(count) == 20
    await database.close()


async def test_every_event_loop_gets_its_own_answers(database: Database) -> None:
    if database.inline:
        pytest.skip("inline databases live in one thread")
    failures: list[BaseException] = []

    async def many(base: int) -> None:
        answers = await asyncio.gather(*[database.write(add(base + i)) for i in range(100)])
        assert answers == [1] * 100

    def run(base: int) -> None:
        try:
            asyncio.run(many(base))
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=run, args=(1000 * n,)) for n in range(1, 4)]
    for thread in threads:
        thread.start()
    await many(0)
    for thread in threads:
        await asyncio.to_thread(thread.join)
    assert failures == []
    assert await database.read(count) == 400


async def test_a_caller_that_went_away_harms_nobody(database: Database) -> None:
    gone = asyncio.create_task(database.write(add(1)))
    await asyncio.sleep(0)
    gone.cancel()
    await asyncio.gather(gone, return_exceptions=True)
    assert await database.write(add(2)) == 1


async def test_several_inline_databases_share_one_file_in_one_thread(path: str) -> None:
    one, two = Database(path, inline=True), Database(path, inline=True)
    await one.open()
    await two.open()
    await one.write(lambda c: c.execute("CREATE TABLE t (a)").rowcount)
    for value in range(5):
        await one.write(add(value))
        await two.write(add(value))
    assert await one.read(count) == await two.read(count) == 10
    await one.close()
    await two.close()


async def test_commits_are_on_the_disk_and_the_log_is_truncated_when_idle(path: str) -> None:
    database = Database(path)
    await database.open()
    await database.write(lambda c: c.execute("CREATE TABLE t (a)").rowcount)
    await database.write(add(1))
    settings = await database.write(
        lambda c: (
            c.execute("PRAGMA journal_mode").fetchone()[0],
            c.execute("PRAGMA synchronous").fetchone()[0],
        )
    )
    assert settings == ("wal", 2)
    assert os.path.getsize(path + "-wal") > 0
    for _ in range(1200):
        await asyncio.sleep(0.05)
        if os.path.getsize(path + "-wal") == 0:
            break
    assert os.path.getsize(path + "-wal") == 0
    await database.close()
