"""Lanes that hold hints, with the real dispatcher: bounded, in order, and whole again after every loss."""

from __future__ import annotations

import asyncio

import msgspec
import pytest

from flux.engine import dispatcher
from flux.engine.ports import Lane
from tests.conformance.broker.lab import WIDTH, Lab

DEFAULT = Lane("default", 5)


@pytest.fixture
def by_itself_never(monkeypatch: pytest.MonkeyPatch) -> None:
    """The dispatcher compares once, when it begins, and then only when something tells it to."""
    monkeypatch.setattr(dispatcher, "EVERY", 3600.0)


@pytest.mark.usefixtures("holding")
async def test_a_lane_holds_no_more_than_its_width(lab: Lab) -> None:
    for _ in range(5):
        await lab.enqueue(WIDTH)

    async def passed_by() -> bool:
        return (await lab.lanes.full()).get(DEFAULT) == 4 * WIDTH

    await lab.until(passed_by)
    assert await lab.lanes.length(DEFAULT) == WIDTH
    assert len(await lab.lanes.held(DEFAULT)) == WIDTH
    [other] = await lab.enqueue(queue="other")
    assert await lab.take(every_queue=False, queues={"other": 1}) == [other]


@pytest.mark.usefixtures("holding", "by_itself_never")
async def test_a_long_backlog_runs_in_the_order_of_age(lab: Lab) -> None:
    """Enqueued all at once, most of it past the width: fed piece by piece, whenever the lane runs low."""
    jobs = [job for _ in range(10) for job in await lab.enqueue(WIDTH)]
    async with lab.dispatcher():
        assert await lab.take_all(len(jobs), slots=7) == jobs

    async def open_again() -> bool:
        return await lab.lanes.full() == {}

    async with lab.dispatcher():
        await lab.until(open_again)
    [next_one] = await lab.enqueue()
    assert await lab.take() == [next_one]


@pytest.mark.usefixtures("holding")
async def test_what_is_claimed_is_forgotten_in_whatever_order(lab: Lab) -> None:
    """And nothing else: what others hold, and what nobody was given yet, stays."""
    jobs = await lab.enqueue(WIDTH)
    demands = [await lab.demand(f"w{number}", slots=4) for number in range(4)]
    offers = [await lab.receive(lab.broker, demand) for demand in demands]
    held = set(jobs)
    for number in (2, 0, 3, 1):
        claimed = await lab.claim(lab.broker, offers[number], demands[number])
        assert len(claimed) == 4
        held -= set(claimed)

        async def forgotten(held: set[str] = held) -> bool:
            return await lab.lanes.held(DEFAULT) == held

        await lab.until(forgotten)
    assert await lab.take() == jobs[16:]


@pytest.mark.usefixtures("holding", "by_itself_never")
async def test_hints_of_claimed_jobs_take_room_and_nobodys_turn(lab: Lab) -> None:
    """The dispatcher compares while a worker has claimed and not yet said so: what had no room then comes next."""
    jobs = await lab.enqueue(5 * WIDTH)
    demand = await lab.demand(slots=7)
    offer = await lab.receive(lab.broker, demand)
    first = [job.id for job in await lab.store.jobs.claim(msgspec.structs.replace(demand, hints=offer.ids))]
    await lab.lanes.reopen(DEFAULT, (await lab.lanes.full())[DEFAULT])
    async with lab.dispatcher():

        async def compared() -> bool:
            return DEFAULT in await lab.lanes.full()

        await lab.until(compared)
        await lab.broker.acknowledge(offer, demand, first)
        assert first + await lab.take_all(len(jobs) - len(first), slots=7) == jobs


async def test_jobs_that_nobody_hinted_are_found(lab: Lab) -> None:
    """Committed by a process that died before it could publish."""
    hints = await lab.store_jobs(3 * WIDTH)
    async with lab.dispatcher():
        assert await lab.take_all(3 * WIDTH) == [hint.job_id for hint in hints]


@pytest.mark.usefixtures("by_itself_never")
async def test_a_poke_makes_it_look(lab: Lab) -> None:
    async with lab.dispatcher():
        [first] = await lab.enqueue()
        assert await lab.take() == [first]
        hints = await lab.store_jobs(3)

        async def poked() -> bool:
            # Again and again: a poke is a help and no promise.
            await lab.broker.poke()
            return lab.broker.lanes is None or await lab.lanes.length(DEFAULT) == 3

        await lab.until(poked)
        assert await lab.take_all(3) == [hint.job_id for hint in hints]


async def test_a_wiped_broker_is_filled_again(lab: Lab) -> None:
    jobs = [job for _ in range(3) for job in await lab.enqueue(WIDTH)]
    async with lab.dispatcher():
        first = await lab.take(slots=5)
        lab.place.wipe()
        rest = await lab.take_all(len(jobs) - len(first))
        assert sorted(first + rest) == sorted(jobs)
        lab.place.wipe()
        [job] = await lab.enqueue()
        assert await lab.take() == [job]


async def test_it_is_wiped_again_and_again_while_it_works(lab: Lab) -> None:
    jobs = set[str]()
    claimed: list[str] = []

    async def work() -> None:
        while len(claimed) < 100:
            claimed.extend(await lab.take("w2", slots=3, broker=worker))

    worker = await lab.another()
    async with lab.dispatcher():
        working = asyncio.create_task(work())
        for _ in range(10):
            jobs |= set(await lab.enqueue(10))
            lab.place.wipe()
        await working
    assert sorted(claimed) == sorted(jobs)


async def test_a_paused_queue_waits_and_goes_on(lab: Lab) -> None:
    jobs = await lab.enqueue(5)
    await pause(lab, True)
    async with lab.dispatcher():
        assert await lab.takes_nothing()
        await pause(lab, False)
        await lab.broker.poke()
        assert sorted(await lab.take_all(5)) == sorted(jobs)


@pytest.mark.usefixtures("holding")
async def test_two_dispatchers_are_no_more_than_one(lab: Lab) -> None:
    """A leader that was stopped for a while feeds on beside its successor."""
    hints = await lab.store_jobs(5 * WIDTH)
    async with lab.dispatcher(), lab.dispatcher():
        claimed = await lab.take_all(5 * WIDTH, slots=9)
    assert sorted(claimed) == sorted(hint.job_id for hint in hints)
    assert await lab.lanes.length(DEFAULT) <= WIDTH


async def pause(lab: Lab, paused: bool) -> None:
    await lab.store.queues.set("default", paused=paused, by=None, max_depth=None, clear_depth=False)
