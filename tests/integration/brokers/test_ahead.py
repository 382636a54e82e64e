"""A quick worker's next hints are fetched while it claims: in their order, and for others when it does not come."""

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


async def test_a_quick_worker_gets_all_of_them_in_their_order(lab: Lab) -> None:
    jobs = await filled(lab, 10 * MANY + 7)
    assert await lab.take_all(len(jobs), slots=MANY) == jobs

    async def forgotten() -> bool:
        return await lab.lanes.length(DEFAULT) == 0

    await lab.until(forgotten)


async def test_with_less_room_than_before_it_leaves_the_rest_to_others(lab: Lab) -> None:
    jobs = await filled(lab, 4 * MANY)
    for first in range(0, 2 * MANY, MANY):
        assert await lab.take(slots=MANY) == jobs[first : first + MANY]
    assert await lab.take(slots=3) == jobs[2 * MANY : 2 * MANY + 3]
    assert sorted(await lab.take_all(2 * MANY - 3, "w2", slots=MANY)) == sorted(jobs[2 * MANY + 3 :])


async def test_what_was_fetched_for_one_who_does_not_come_is_for_others(lab: Lab) -> None:
    jobs = await filled(lab, 4 * MANY)
    for _ in range(2):
        await lab.take(slots=MANY)
    assert sorted(await lab.take_all(2 * MANY, "w2", slots=MANY)) == sorted(jobs[2 * MANY :])


async def test_what_was_fetched_for_one_who_leaves_is_for_others(lab: Lab) -> None:
    leaving = await lab.another()
    jobs = await filled(lab, 4 * MANY)
    for _ in range(2):
        await lab.take(slots=MANY, broker=leaving)
    await lab.close_broker(leaving)
    assert sorted(await lab.take_all(2 * MANY, "w2", slots=MANY)) == sorted(jobs[2 * MANY :])


async def test_a_bounded_queue_is_fetched_no_further_than_its_bound(lab: Lab) -> None:
    """What is beyond it would wait here in vain."""
    jobs = await filled(lab, 4 * MANY)
    demand = await lab.demand(slots=2 * MANY, queues={"default": MANY})
    for first in range(0, 2 * MANY, MANY):
        offer = await lab.receive(lab.broker, demand)
        assert offer.ids == tuple(jobs[first : first + MANY])
        await lab.claim(lab.broker, offer, demand)
    others = await lab.receive(lab.broker, msgspec.structs.replace(await lab.demand("w2"), slots=500))
    assert others.ids == tuple(jobs[2 * MANY :])
