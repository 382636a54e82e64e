"""The brokers under test. A later one is one more line in FACTORIES, and is done when the suite passes unchanged."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.conformance.broker.factories import FACTORIES, Factory
from tests.conformance.broker.lab import Lab


@pytest.fixture(params=FACTORIES, ids=lambda factory: factory.name)
def factory(request: pytest.FixtureRequest) -> Factory:
    """One kind of broker after the other."""
    chosen: Factory = request.param
    return chosen


@pytest.fixture
async def lab(factory: Factory, request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Lab]:
    """A store with nothing in it, and a broker in a fresh place."""
    lab = Lab(factory.place(request), tmp_path)
    await lab.open()
    try:
        yield lab
    finally:
        await lab.close()


@pytest.fixture
def holding(factory: Factory) -> None:
    """For tests of what is held: others have nothing to show there."""
    if not factory.holds_hints:
        pytest.skip(f"{factory.name} holds no hints")
