"""Where there is much to claim the store gives it for less than hints do; hints say again when there is little."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest

from flux.brokers.redis.seats import MANY, TURNS
from flux.engine.ports import Broker, Lane, Offer, Store
from tests.conformance.broker.factories import RedisPlace
from tests.conformance.broker.lab import Lab

DEFAULT = Lane("default", 5)


class Wide(RedisPlace):
    """A namespace whose lanes hold many hints."""

    def broker(self, store: Store, width: int) -> Broker:
        return super().broker(store, 100 * width)


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
    jobs = await filled(lab, 10 * MANY + 7)
    assert await lab.take_all(len(jobs), slots=MANY) == jobs
    later = await lab.enqueue(3)
    assert sorted(await lab.take_all(3, slots=MANY)) == later

    async def forgotten() -> bool:
        assert await lab.takes_nothing(slots=MANY)
        return await lab.lanes.length(DEFAULT) == 0

    await lab.until(forgotten)


async def test_queues_take_turns_also_where_there_is_much(lab: Lab) -> None:
    """By age alone the younger queue would wait for all of the older one."""
    old = await filled(lab, 6 * TURNS * MANY)
    young = await lab.enqueue(3, queue="young")
    claimed = await lab.take_all(len(old) + len(young), slots=MANY)
    assert sorted(claimed) == old + young
    assert claimed.index(young[-1]) < len(old) / 2


async def test_nobody_waits_for_hints_while_there_is_more_without(lab: Lab) -> None:
    """They are wiped, and no dispatcher is there to give them again."""
    jobs = await filled(lab, 3 * TURNS * MANY)
    first = await lab.take(slots=MANY)
    lab.place.wipe()
    demand = await lab.demand(slots=MANY)
    for at in range(len(first), len(jobs), MANY):
        offer = await lab.broker.receive(demand, 3600.0)
        assert offer is not None
        assert await lab.claim(lab.broker, offer, demand) == jobs[at : at + MANY]


async def test_with_less_room_than_before_it_leaves_the_rest_to_others(lab: Lab) -> None:
    jobs = await filled(lab, 4 * MANY)
    for first in range(0, 2 * MANY, MANY):
        assert await lab.take(slots=MANY) == jobs[first : first + MANY]
    assert await lab.take(slots=3) == jobs[2 * MANY : 2 * MANY + 3]
    assert sorted(await lab.take_all(2 * MANY - 3, "w2", slots=MANY)) == sorted(jobs[2 * MANY + 3 :])


async def test_what_one_who_does_not_come_again_has_left_is_for_others(lab: Lab) -> None:
    jobs = await filled(lab, 4 * MANY)
    for _ in range(2):
        await lab.take(slots=MANY)
    assert sorted(await lab.take_all(2 * MANY, "w2", slots=MANY)) == sorted(jobs[2 * MANY :])


async def test_what_one_who_leaves_has_left_is_for_others(lab: Lab) -> None:
    leaving = await lab.another()
    jobs = await filled(lab, 4 * MANY)
    for _ in range(2):
        await lab.take(slots=MANY, broker=leaving)
    await lab.close_broker(leaving)
    assert sorted(await lab.take_all(2 * MANY, "w2", slots=MANY)) == sorted(jobs[2 * MANY :])


async def test_a_bounded_queue_is_offered_no_further_than_its_bound(lab: Lab) -> None:
    """What is beyond it would wait here in vain."""
    few = MANY - 1
    jobs = await filled(lab, 4 * few)
    demand = await lab.demand(slots=2 * MANY, queues={"default": few})
    for first in range(0, 2 * few, few):
        offer = await lab.receive(lab.broker, demand)
        assert offer.ids == tuple(jobs[first : first + few])
        await lab.claim(lab.broker, offer, demand)
    others = await lab.receive(lab.broker, msgspec.structs.replace(await lab.demand("w2"), slots=500))
    assert others.ids == tuple(jobs[2 * few :])


async def test_who_takes_all_that_his_queues_may_looks_by_policy_next(lab: Lab) -> None:
    """Also when they are bounded, and he has more slots than that."""
    jobs = await filled(lab, 3 * MANY)
    demand = await lab.demand(slots=10 * MANY, queues={"default": MANY}, every_queue=False)
    offers = []
    for first in range(0, 3 * MANY, MANY):
        offers.append(await lab.receive(lab.broker, demand))
        assert await lab.claim(lab.broker, offers[-1], demand) == jobs[first : first + MANY]
    assert [offer.ids is None for offer in offers] == [False, True, True]


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


async def test_one_hint_that_somebody_else_was_quicker_for_is_no_reason(lab: Lab) -> None:
    """That happens to idle workers all the time, and a look by policy would cost each of them as much again."""
    [job] = await filled(lab, 1)
    demand = await lab.demand()
    offer = await lab.receive(lab.broker, demand)
    assert offer.ids == (job,)
    assert len(await lab.store.jobs.claim(await lab.demand("w2"))) == 1
    assert await lab.claim(lab.broker, offer, demand) == []
    waiting = asyncio.create_task(lab.broker.receive(demand, 3600.0))
    [later] = await lab.enqueue()
    offer = await waiting or Offer(ids=None)
    assert offer.ids == (later,)
