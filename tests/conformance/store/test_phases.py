"""Migrations in two phases: processes of the version before and of this one work on one database at once."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator, Callable, Iterator
from importlib.resources import as_file, files
from pathlib import Path

import pytest

from flux.domain.errors import Invalid, SchemaMismatch
from flux.domain.schema import Phase
from flux.engine.ports import Store
from flux.stores.sqlite import migrating as of_sqlite
from tests.conformance.store.lab import Factory, SteeredClock

ADD, DROP, MORE = "9001_add.pre", "9002_drop.post", "9003_more.pre"

SCRIPTS = {
    f"{ADD}.up": "CREATE TABLE added (a integer);",
    f"{ADD}.down": "DROP TABLE added;",
    f"{DROP}.up": "DROP TABLE added;",
    f"{DROP}.down": "CREATE TABLE added (a integer);",
    f"{MORE}.up": "CREATE TABLE more (a integer);",
    f"{MORE}.down": "DROP TABLE more;",
}


@pytest.fixture(scope="module")
def next_version(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Packages with the migrations of a Flux that is three steps newer than this one."""
    root = tmp_path_factory.mktemp("newer")
    for store in ("sqlite", "postgres"):
        package = root / f"newer_{store}"
        with as_file(files(f"flux.stores.{store}").joinpath("migrations")) as folder:
            shutil.copytree(folder, package / "migrations")
        (package / "__init__.py").touch()
        for name, script in SCRIPTS.items():
            (package / "migrations" / f"{name}.sql").write_text(f"{script}\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(root))
        yield


@pytest.fixture
def update(next_version: None, monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Makes this process one of the next version; ``monkeypatch.undo()`` makes it one of this version again."""
    from flux.stores.postgres import migrating as of_postgres

    def work() -> None:
        monkeypatch.setattr(of_sqlite, "PACKAGE", "newer_sqlite")
        monkeypatch.setattr(of_postgres, "PACKAGE", "newer_postgres")

    return work


@pytest.fixture
async def store(factory: Factory, place: Path) -> AsyncIterator[Store]:
    """A handle that does not migrate when it opens."""
    store = factory.handle(place, SteeredClock(), migrate=False)
    yield store
    await factory.remove(place)


async def opens(store: Store) -> None:
    await store.open()
    try:
        assert (await store.health()).ok
    finally:
        await store.close()


async def added(store: Store) -> list[str]:
    """Which of the next version's migrations the database has."""
    return [name for name, applied in await store.schema() if applied and name in (ADD, DROP, MORE)]


async def test_old_and_new_processes_overlap(
    store: Store, update: Callable[[], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    await store.migrate()
    update()
    with pytest.raises(SchemaMismatch, match="flux migrate up --phase pre"):
        await store.open()
    assert await store.migrate(phase=Phase.PRE) == [ADD, MORE]
    await opens(store)
    monkeypatch.undo()
    await opens(store)
    assert await store.migrate() == []
    update()
    assert await store.migrate(phase=Phase.POST) == [DROP]
    await opens(store)
    monkeypatch.undo()
    with pytest.raises(SchemaMismatch, match=DROP):
        await store.open()


async def test_a_process_that_migrates_at_its_start_leaves_older_ones_alone(
    store: Store, factory: Factory, place: Path, update: Callable[[], None]
) -> None:
    await store.migrate()
    update()
    await opens(factory.handle(place, SteeredClock(), migrate=True))
    assert await added(store) == [ADD, MORE]
    assert await store.migrate() == [DROP]


async def test_an_empty_database_gets_both_phases(
    store: Store, factory: Factory, place: Path, update: Callable[[], None]
) -> None:
    update()
    await opens(factory.handle(place, SteeredClock(), migrate=True))
    assert await added(store) == [ADD, DROP, MORE]


async def test_nothing_is_taken_away_before_its_replacement_is_there(
    store: Store, update: Callable[[], None]
) -> None:
    await store.migrate()
    update()
    with pytest.raises(Invalid, match=ADD):
        await store.migrate(phase=Phase.POST)
    assert await added(store) == []


async def test_going_back_applies_nothing_on_the_way(store: Store, update: Callable[[], None]) -> None:
    await store.migrate()
    update()
    await store.migrate(phase=Phase.PRE)
    assert await store.migrate(9002) == [MORE]
    assert await added(store) == [ADD]
    assert await store.migrate() == [DROP, MORE]
