"""Enqueue in the transaction of a caller's own ``sqlite3.Connection`` to the file of Flux."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from flux import Conflict, Flux, Invalid
from flux.testing import inline, sandbox

PATIENCE = 60.0


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "flux.db"


@pytest.fixture
async def flux(path: Path) -> AsyncIterator[Flux]:
    made = application(path)
    async with made:
        yield made
    made.close_sync()


@pytest.fixture
def connection(flux: Flux, path: Path) -> Iterator[sqlite3.Connection]:
    """The caller's, as the driver makes it: it begins by itself, and the caller commits."""
    with closing(sqlite3.connect(path)) as made:
        made.row_factory = lambda cursor, row: {"a": row}
        made.execute("CREATE TABLE orders (n int)")
        yield made


def application(path: Path) -> Flux:
    flux = Flux(f"sqlite:///{path}")

    @flux.job
    async def note(n: int) -> int:
        return n

    return flux


def jobs(path: Path) -> list[str]:
    with closing(sqlite3.connect(path)) as look:
        return [id for (id,) in look.execute("SELECT id FROM live UNION ALL SELECT id FROM done")]


async def test_commit(flux: Flux, path: Path, connection: sqlite3.Connection) -> None:
    connection.execute("INSERT INTO orders VALUES (1)")
    job = await flux.enqueue("note", {"n": 1}, connection=connection)
    assert jobs(path) == []
    assert connection.in_transaction
    connection.commit()
    assert jobs(path) == [job.id]
    async with flux.worker():
        assert await flux.result(job.id, timeout=PATIENCE) == 1


async def test_rollback(flux: Flux, path: Path, connection: sqlite3.Connection) -> None:
    await flux.enqueue("note", {"n": 1}, connection=connection)
    connection.rollback()
    assert jobs(path) == []


async def test_the_enqueue_begins_the_transaction_where_none_is_open(
    flux: Flux, path: Path, connection: sqlite3.Connection
) -> None:
    connection.commit()
    await flux.enqueue("note", {"n": 1}, connection=connection)
    connection.execute("INSERT INTO orders VALUES (1)")
    connection.rollback()
    assert jobs(path) == []
    assert connection.execute("SELECT count(*) FROM orders").fetchone() == {"a": (0,)}


async def test_a_connection_that_commits_by_itself(flux: Flux, path: Path) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        job = await flux.enqueue("note", {"n": 1}, connection=connection, idempotency_key="a")
        assert jobs(path) == [job.id]
        connection.execute("BEGIN")
        await flux.enqueue("note", {"n": 1}, connection=connection)
        connection.execute("ROLLBACK")
    assert jobs(path) == [job.id]


async def test_keys_and_savepoints(flux: Flux, path: Path, connection: sqlite3.Connection) -> None:
    first = await flux.enqueue("note", {"n": 1}, connection=connection, idempotency_key="a")
    again = await flux.enqueue("note", {"n": 1}, connection=connection, idempotency_key="a")
    with pytest.raises(Conflict):
        await flux.enqueue("note", {"n": 2}, connection=connection, idempotency_key="a")
    connection.execute("SAVEPOINT ours")
    await flux.enqueue_many([flux.request("note", {"n": n}) for n in range(3)], connection=connection)
    connection.execute("ROLLBACK TO ours")
    connection.commit()
    assert again.id == first.id
    assert jobs(path) == [first.id]


def test_synchronous_code(path: Path) -> None:
    flux = application(path)
    flux.enqueue_sync("note", {"n": 0})
    before = jobs(path)
    # A connection belongs to the thread that made it.
    with closing(sqlite3.connect(path)) as connection:
        job = flux.enqueue_sync("note", {"n": 1}, connection=connection)
        assert jobs(path) == before
        connection.commit()
        flux.enqueue_many_sync([flux.request("note", {"n": 2})], connection=connection)
        connection.rollback()
    assert jobs(path) == [*before, job.id]
    flux.close_sync()


async def test_another_file_and_other_things(flux: Flux, path: Path, tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "other.db")) as other, pytest.raises(Invalid, match=r"other\.db"):
        await flux.enqueue("note", {"n": 1}, connection=other)
    with closing(sqlite3.connect(":memory:")) as other, pytest.raises(Invalid, match="a database in memory"):
        await flux.enqueue("note", {"n": 1}, connection=other)
    with pytest.raises(Invalid, match=r"is a builtins\.object; with SQLite it may be a sqlite3\.Connection"):
        await flux.enqueue("note", {"n": 1}, connection=object())
    assert jobs(path) == []


async def test_tests_need_no_database(path: Path) -> None:
    """Code that gives a connection runs unchanged where jobs run inline or in a sandbox."""
    flux = application(path)
    with inline(flux):
        job = await flux.enqueue("note", {"n": 1}, connection=object())
        assert await job.result() == 1
    async with sandbox(flux) as box:
        job = await flux.enqueue("note", {"n": 2}, connection=object())
        await box.drain()
        assert await job.result() == 2
