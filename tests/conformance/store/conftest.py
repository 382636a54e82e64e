"""The stores under test. A new backend is one more line in FACTORIES, and is done when the suite passes unchanged."""

from __future__ import annotations

import os
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from flux.engine.ports import Store
from tests.conformance.store.factories import FACTORIES
from tests.conformance.store.lab import Factory, Lab, SteeredClock, illegal_transitions
from tests.conformance.store.postgres import PostgresDatabase


@pytest.fixture(params=FACTORIES, ids=lambda factory: factory.name)
def factory(request: pytest.FixtureRequest) -> Factory:
    """One kind of store after the other."""
    chosen: Factory = request.param
    return chosen


@pytest.fixture(autouse=True)
def server(request: pytest.FixtureRequest) -> None:
    """The server of the store under test, where it needs one; it starts with the first test that does."""
    chosen = getattr(request.node, "callspec", None)
    factory = None if chosen is None else chosen.params.get("factory")
    if isinstance(factory, PostgresDatabase):
        factory.serve(request.getfixturevalue("shared_postgres"))


@pytest.fixture
async def lab(factory: Factory, place: Path) -> AsyncIterator[Lab]:
    """A fresh empty store with all that steers it; afterwards its log must show legal transitions only."""
    lab = Lab(factory, place)
    await lab.open()
    try:
        yield lab
        if all(applied for _, applied in await lab.store.schema()):
            events = [event for event in await lab.all_events() if event.key not in lab.forgotten]
            assert illegal_transitions(events) == []
    finally:
        await lab.close()


@pytest.fixture
def store(lab: Lab) -> Store:
    """The fresh empty store."""
    return lab.store


@pytest.fixture
def clock(lab: Lab) -> SteeredClock:
    """The store's clock."""
    return lab.clock


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Path]:
    """Where the database of a test lies. In memory where there is some: nothing here is about the disk, and a thousand
    commits that wait for one take minutes."""
    shm = Path("/dev/shm")
    if not os.access(shm, os.W_OK):
        yield tmp_path
        return
    with tempfile.TemporaryDirectory(prefix="flux-conformance-", dir=shm) as place:
        yield Path(place)
