"""Where there is much to claim the store gives it for less than hints do; hints say again when there is little."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from uuid import uuid4

import msgspec
import pytest

from flux.brokers.from_store import StoreBroker
from flux.brokers.redis.broker import RedisBroker
from flux.brokers.redis.seats import MANY
from flux.engine.ports import Broker, Lane, Store
from tests.conformance.broker.lab import Lab

DEFAULT = Lane("default", 5)


class Wide:
    """A namespace whose lanes hold many hints."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.namespace = uuid4().hex

    def broker(self, store: Store, width: int) -> Broker:
        return RedisBroker(self.url, StoreBroker(store), namespace=self.namespace, width=100 * width)

    def wipe(self) -> None:
        raise NotImplementedError


@pytest.fixture
async def lab(redis_url: str, tmp_path: Path) -> AsyncIterator[Lab]:
    lab = Lab(Wide(redis_url), tmp_path)
    await lab.open()
    yield lab
    await lab.close()


async def filled(lab: Lab, count: int) -> list[str]:
    """A lane with so many hints in it; their jobs."""
    jobs = await lab.enqueue(count)

    async def arrived() -> bool:
        return await lab.lanes.length(DEFAULT) == count

    await lab.until(arrived)
    return jobs


async def test_who_claims_all_that_he_was_offered_looks_by_policy_next(lab: Lab) -> None:
    jobs = await filled(lab, 2 * MANY + 7)
    demand = await lab.demand(slots=MANY)
    offer = await lab.receive(lab.broker, demand)
    assert offer.ids == tuple(jobs[:MANY])
    assert await lab.claim(lab.broker, offer, demand) == jobs[:MANY]
    for first in (MANY, 2 * MANY):
        offer = await lab.receive(lab.broker, demand)
        assert offer.ids is None
        assert await lab.claim(lab.broker, offer, demand) == jobs[first : first + MANY]
    # That was less than it had room for: hints again.
    offer = await lab.receive(lab.broker, demand)
    assert offer.ids is not None


async def test_hints_of_what_was_claimed_by_policy_stand_in_nobodys_way(lab: Lab) -> None:
    jobs = await filled(lab, 10 * MANY)
    assert await lab.take_all(len(jobs), slots=MANY) == jobs
    later = await lab.enqueue(3)
    assert sorted(await lab.take_all(3, slots=MANY)) == later
    assert await lab.takes_nothing(slots=MANY)


async def test_few_slots_go_by_hints(lab: Lab) -> None:
    """Their claims are small whatever waits, and cost the least by key."""
    jobs = await filled(lab, 3 * MANY)
    demand = await lab.demand(slots=MANY - 1)
    for first in range(0, 2 * (MANY - 1), MANY - 1):
        offer = await lab.receive(lab.broker, demand)
        assert offer.ids == tuple(jobs[first : first + MANY - 1])
        await lab.claim(lab.broker, offer, demand)


async def test_who_finds_stale_hints_looks_by_policy_next(lab: Lab) -> None:
    """Somebody else claims faster than hints are forgotten."""
    jobs = await filled(lab, 9)
    other = msgspec.structs.replace(await lab.demand("w2"), slots=6)
    assert len(await lab.store.jobs.claim(other)) == 6
    demand = await lab.demand(slots=6)
    offer = await lab.receive(lab.broker, demand)
    assert offer.ids == tuple(jobs[:6])
    assert await lab.claim(lab.broker, offer, demand) == []
    offer = await lab.receive(lab.broker, demand)
    assert offer.ids is None
    assert await lab.claim(lab.broker, offer, demand) == jobs[6:]
