"""Publish, receive, acknowledge: who gets what, in which order, and how often."""

from __future__ import annotations

import asyncio

import pytest

from flux.domain.job import JobState
from flux.engine.ports import Hint, Lane
from tests.conformance.broker.lab import Lab


async def test_a_published_job_is_received_and_claimed_once(lab: Lab) -> None:
    [job] = await lab.enqueue()
    assert await lab.take() == [job]
    assert await lab.takes_nothing()
    assert await lab.broker.health() is None


async def test_who_waits_is_woken(lab: Lab) -> None:
    waiting = asyncio.create_task(lab.take())
    done, _ = await asyncio.wait([waiting], timeout=0.1)
    assert not done
    [job] = await lab.enqueue()
    assert await waiting == [job]


async def test_every_one_who_waits_gets_some(lab: Lab) -> None:
    """Eight processes wait, eight jobs come: nobody takes more than there is room for, and nobody is left out."""
    brokers = [await lab.another() for _ in range(8)]
    waiting = [
        asyncio.create_task(lab.take(f"w{number}", broker=broker, slots=1))
        for number, broker in enumerate(brokers)
    ]
    await asyncio.sleep(0)
    jobs = await lab.enqueue(8)
    claimed = await asyncio.gather(*waiting)
    assert sorted(job for each in claimed for job in each) == sorted(jobs)
    assert {len(each) for each in claimed} == {1}


async def test_a_silence_is_no_offer_of_anything(lab: Lab) -> None:
    assert await lab.takes_nothing()


async def test_the_highest_priority_comes_first(lab: Lab) -> None:
    low = await lab.enqueue(3, priority=1)
    high = await lab.enqueue(3, priority=10)
    middle = await lab.enqueue(3, priority=5)
    await arrived(lab, 9)
    assert await lab.take(slots=4) == [*high, middle[0]]
    assert await lab.take(slots=5) == [*middle[1:], *low]


async def test_the_lowest_comes_first_when_it_is_its_turn(lab: Lab) -> None:
    low = await lab.enqueue(3, priority=1)
    high = await lab.enqueue(3, priority=10)
    await arrived(lab, 6)
    assert await lab.take(slots=4, lowest_first=True) == [*low, high[0]]


async def test_of_a_lane_the_oldest_come_first(lab: Lab) -> None:
    jobs = await lab.enqueue(15)
    await arrived(lab, 15)
    assert await lab.take_all(15, slots=4) == jobs


async def test_a_worker_gets_no_more_than_it_has_room_for(lab: Lab) -> None:
    jobs = await lab.enqueue(10)
    await arrived(lab, 10)
    first = await lab.take("w1", slots=3)
    assert len(first) == 3
    assert sorted(first + await lab.take_all(7, "w2")) == sorted(jobs)


async def test_a_worker_gets_only_of_the_queues_that_it_serves(lab: Lab) -> None:
    a = await lab.enqueue(2, queue="a")
    b = await lab.enqueue(2, queue="b")
    await arrived(lab, 4)
    assert await lab.take("w1", every_queue=False, queues={"a": 10}) == a
    assert await lab.takes_nothing("w1", every_queue=False, queues={"a": 10, "c": 10})
    assert await lab.take("w2") == b


async def test_a_queue_gets_no_more_than_its_share(lab: Lab) -> None:
    mail = await lab.enqueue(8, queue="mail", priority=9)
    other = await lab.enqueue(2, queue="other")
    await arrived(lab, 10)
    assert await lab.take(slots=10, queues={"mail": 3}) == [*mail[:3], *other]
    assert await lab.takes_nothing(slots=10, queues={"mail": 0})
    assert await lab.take(slots=10, every_queue=False, queues={"mail": 5, "other": 1}) == mail[3:]


@pytest.mark.usefixtures("holding")
async def test_queues_of_one_priority_are_taken_in_turn(lab: Lab) -> None:
    """A long queue does not keep a short one of the same priority waiting for its end."""
    for queue in "ab":
        await lab.enqueue(15, queue=queue)
    await arrived(lab, 30)
    await lab.take_all(20, slots=5)
    left = [len(await lab.store.duties.offerable(Lane(queue, 5), None, 100)) for queue in "ab"]
    assert left == [5, 5]


async def test_a_hint_that_comes_twice_is_claimed_once(lab: Lab) -> None:
    hints = await lab.store_jobs(3)
    for _ in range(3):
        await lab.broker.publish(hints)
    await arrived(lab, 9)
    assert sorted(await lab.take_all(3)) == sorted(hint.job_id for hint in hints)
    assert await lab.takes_nothing()


async def test_a_hint_of_what_has_ended_is_of_no_use_to_anybody(lab: Lab) -> None:
    [ended] = await lab.enqueue()
    await lab.store.jobs.cancel([ended], None)
    await lab.broker.publish([Hint("no-such-job", "default", 5)])
    assert await lab.takes_nothing()
    [job] = await lab.enqueue()
    assert await lab.take() == [job]
    assert await lab.state(ended) is JobState.CANCELLED


async def test_a_type_that_one_worker_does_not_know_is_for_another(lab: Lab) -> None:
    [new] = await lab.enqueue(type="new")
    [old] = await lab.enqueue(type="old")
    await arrived(lab, 2)
    assert await lab.take("w1", types=("old",)) == [old]
    assert await lab.takes_nothing("w1", types=("old",))
    assert await lab.take("w2", types=("new",)) == [new]


async def test_what_a_cancelled_wait_was_given_is_given_to_others(lab: Lab) -> None:
    """A worker that is told to leave waits for nothing more, at whatever point that finds it."""
    leaving = await lab.another()
    demand = await lab.demand("w1")
    for turns in range(40):
        waiting = asyncio.create_task(leaving.receive(demand, 5.0))
        [job] = await lab.enqueue()
        for _ in range(turns):
            await asyncio.sleep(0)
        waiting.cancel()
        [offer] = await asyncio.gather(waiting, return_exceptions=True)
        if not isinstance(offer, BaseException) and offer is not None and offer.ids is not None:
            await leaving.acknowledge(offer, demand, ())
        assert await lab.take("w2") == [job]


async def test_what_a_process_held_when_it_left_is_given_to_others(lab: Lab) -> None:
    leaving = await lab.another()
    jobs = await lab.enqueue(5)
    await arrived(lab, 5)
    await lab.receive(leaving, await lab.demand("w1"))
    await lab.close_broker(leaving)
    assert await lab.take_all(5, "w2") == jobs


async def test_what_a_dead_process_held_is_given_to_others(lab: Lab) -> None:
    """It is not heard of any more, and nobody says so: what it was given is given again within seconds."""
    dead = await lab.another()
    jobs = await lab.enqueue(5)
    await arrived(lab, 5)
    await lab.receive(dead, await lab.demand("w1"))
    younger = await lab.enqueue(1)
    async with lab.dispatcher():
        claimed = await lab.take_all(6, "w2")
    assert sorted(claimed) == sorted(jobs + younger)


async def arrived(lab: Lab, hints: int) -> None:
    """Wait until what was published is there; where nothing is held, it is with the commit."""
    lanes = lab.broker.lanes
    if lanes is None:
        return

    async def holds() -> bool:
        return sum([await lanes.length(lane) for lane in await lab.store.duties.lanes()]) >= hints

    await lab.until(holds)
