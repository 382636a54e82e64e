"""The schema's versions: many starters at once, older, newer, back and forth."""

from __future__ import annotations

import asyncio
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from flux.domain.errors import Invalid, SchemaMismatch
from flux.stores.migrations import known_migrations
from flux.stores.sqlite import migrating
from flux.stores.sqlite.store import SqliteStore

START = """
import asyncio, sys
from flux.stores.sqlite.store import SqliteStore
async def main():
    store = SqliteStore(sys.argv[1])
    await store.open()
    await store.close()
asyncio.run(main())
"""


async def test_several_starters_at_once(tmp_path: Path) -> None:
    path = str(tmp_path / "x.db")
    processes = [subprocess.Popen([sys.executable, "-c", START, path]) for _ in range(3)]
    stores = [SqliteStore(path) for _ in range(4)]
    await asyncio.gather(*[store.open() for store in stores])
    for store in stores:
        await store.close()
    for process in processes:
        assert await asyncio.to_thread(process.wait) == 0
    connection = sqlite3.connect(path)
    assert dict(connection.execute("SELECT number, name FROM flux_migrations")) == {
        migration.number: migration.name for migration in known_migrations(migrating.PACKAGE)
    }
    connection.close()


async def test_an_old_schema_is_refused_with_what_to_do(tmp_path: Path) -> None:
    store = SqliteStore(str(tmp_path / "x.db"), migrate=False)
    with pytest.raises(SchemaMismatch, match="flux migrate up"):
        await store.open()
    assert await store.migrate() == [migration.name for migration in known_migrations(migrating.PACKAGE)]
    await store.open()
    await store.close()


async def test_a_newer_schema_is_refused(tmp_path: Path) -> None:
    path = str(tmp_path / "x.db")
    store = SqliteStore(path)
    await store.open()
    await store.close()
    connection = sqlite3.connect(path)
    connection.execute("INSERT INTO flux_migrations VALUES (9999, '9999_tomorrow', 0)")
    connection.commit()
    connection.close()
    for migrate in (True, False):
        with pytest.raises(SchemaMismatch, match="9999_tomorrow"):
            await SqliteStore(path, migrate=migrate).open()
    assert ("9999_tomorrow", True) in await SqliteStore(path).schema()


async def test_down_and_up_again(tmp_path: Path) -> None:
    store = SqliteStore(str(tmp_path / "x.db"))
    names = [migration.name for migration in known_migrations(migrating.PACKAGE)]
    assert await store.migrate() == names
    assert await store.migrate() == []
    assert await store.migrate(0) == names[::-1]
    assert await store.schema() == [(name, False) for name in names]
    connection = sqlite3.connect(tmp_path / "x.db")
    left = connection.execute("SELECT name FROM sqlite_master WHERE name NOT LIKE 'sqlite_%'").fetchall()
    assert left == [("flux_migrations",)]
    connection.close()
    assert await store.migrate() == names
    with pytest.raises(Invalid):
        await store.migrate(12345)


async def test_health_says_what_is_wrong(tmp_path: Path) -> None:
    path = tmp_path / "x.db"
    store = SqliteStore(str(path))
    await store.open()
    healthy = await store.health()
    assert (healthy.ok, healthy.durable) == (True, True)
    assert healthy.size is not None
    assert healthy.size >= path.stat().st_size
    path.rename(tmp_path / "away.db")
    await asyncio.sleep(0.03)
    ill = await store.health()
    assert not ill.ok
    assert "is missing" in ill.detail
    await store.close()
    assert not (await store.health()).ok
