"""Migrations: up, down and up again, by several starters at once, and no work on a schema that does not fit."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from flux.domain.errors import SchemaMismatch
from flux.domain.job import JobState
from flux.engine.ports import Store
from tests.conformance.store.lab import Factory, Lab, SteeredClock


@pytest.fixture
async def bare(factory: Factory, place: Path) -> AsyncIterator[Store]:
    """A handle on a database that has nothing in it; opening does not migrate."""
    store = factory.handle(place, SteeredClock(), migrate=False)
    yield store
    await store.close()
    await factory.remove(place)


async def test_a_database_without_a_schema_is_refused(bare: Store) -> None:
    with pytest.raises(SchemaMismatch):
        await bare.open()


async def test_migrating_brings_everything_up(bare: Store) -> None:
    before = await bare.schema()
    assert before
    assert not any(applied for _, applied in before)
    ran = await bare.migrate()
    assert ran == [name for name, _ in before]
    assert await bare.schema() == [(name, True) for name, _ in before]
    assert await bare.migrate() == []
    await bare.open()
    assert (await bare.health()).ok


async def test_an_opened_store_has_its_schema(lab: Lab, store: Store) -> None:
    assert all(applied for _, applied in await store.schema())
    assert await store.migrate() == []


async def test_down_and_up_again(lab: Lab, store: Store) -> None:
    await lab.add()
    names = [name for name, _ in await store.schema()]
    ran = await store.migrate(0)
    assert len(ran) == len(names)
    assert await store.schema() == [(name, False) for name in names]
    assert await store.migrate() == names
    assert await lab.every_id() == []
    job_id = await lab.add()
    assert await lab.state(job_id) == JobState.AVAILABLE


async def test_several_starters_at_once(factory: Factory, place: Path) -> None:
    stores = [factory.handle(place, SteeredClock(), migrate=True) for _ in range(5)]
    try:
        await asyncio.gather(*[store.open() for store in stores])
        for store in stores:
            assert all(applied for _, applied in await store.schema())
            assert (await store.health()).ok
    finally:
        for store in stores:
            await store.close()
        await factory.remove(place)


async def test_several_migrators_at_once(factory: Factory, place: Path) -> None:
    stores = [factory.handle(place, SteeredClock(), migrate=False) for _ in range(5)]
    try:
        names = [name for name, _ in await stores[0].schema()]
        ran = await asyncio.gather(*[store.migrate() for store in stores])
        assert sorted(name for each in ran for name in each) == sorted(names)
    finally:
        for store in stores:
            await store.close()
        await factory.remove(place)


async def test_opening_and_closing_twice(factory: Factory, place: Path) -> None:
    store = factory.handle(place, SteeredClock(), migrate=True)
    await store.close()
    await store.open()
    await store.close()
    await store.close()
    again = factory.handle(place, SteeredClock(), migrate=False)
    await again.open()
    await again.close()
    await factory.remove(place)
