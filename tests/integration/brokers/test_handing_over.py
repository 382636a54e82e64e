"""A single hint goes along with the word that wakes a worker, and is in no lane: nothing may depend on its arrival."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import redis
import redis.asyncio as redis_asyncio

from flux.engine.ports import Broker, Lane, Offer
from tests.conformance.broker.factories import RedisPlace
from tests.conformance.broker.lab import PATIENCE, WIDTH, Lab

DEFAULT = Lane("default", 5)


class Here(RedisPlace):
    """A namespace of one Redis, and who waits in it."""

    async def waiting(self) -> int:
        def count() -> int:
            with redis.Redis.from_url(self.url) as client:
                return int(client.zcard(f"flux:{{{self.namespace}}}:waiting"))

        return await asyncio.to_thread(count)


@pytest.fixture
def here(redis_url: str) -> Here:
    return Here(redis_url)


@pytest.fixture
async def lab(here: Here, tmp_path: Path) -> AsyncIterator[Lab]:
    lab = Lab(here, tmp_path)
    await lab.open()
    yield lab
    await lab.close()


async def waits(
    lab: Lab, here: Here, broker: Broker, worker: str, **fields: Any
) -> asyncio.Task[Offer | None]:
    """A worker that waits for an offer, behind those who wait already. It does not look by itself."""
    before = await here.waiting()
    task = asyncio.create_task(broker.receive(await lab.demand(worker, **fields), 2 * PATIENCE))

    async def written_down() -> bool:
        return await here.waiting() == before + 1

    await lab.until(written_down)
    return task


async def comes(waiting: asyncio.Task[Offer | None]) -> Offer:
    """What it was waiting for."""
    async with asyncio.timeout(PATIENCE):
        offer = await waiting
    assert offer is not None
    return offer


async def test_a_single_hint_goes_along_with_the_wake_up(lab: Lab, here: Here) -> None:
    waiting = await waits(lab, here, lab.broker, "w1")
    [job] = await lab.enqueue()
    offer = await comes(waiting)
    assert offer.ids == (job,)
    assert await lab.lanes.length(DEFAULT) == 0
    assert await lab.claim(lab.broker, offer, await lab.demand("w1")) == [job]


async def test_behind_older_ones_it_waits_its_turn(lab: Lab, here: Here) -> None:
    """What a worker does not serve is no reason to be woken, and what waits in the lane comes first."""
    waiting = await waits(lab, here, lab.broker, "w1", every_queue=False, queues={"other": 1})
    older = await lab.enqueue(2)
    [younger] = await lab.enqueue()

    async def arrived() -> bool:
        return await lab.lanes.length(DEFAULT) == 3

    await lab.until(arrived)
    assert await lab.take("w2") == [*older, younger]
    [other] = await lab.enqueue(queue="other")
    assert (await comes(waiting)).ids == (other,)


async def test_who_cannot_run_it_passes_it_on(lab: Lab, here: Here) -> None:
    """To somebody who knows its type, without the dispatcher's help."""
    waiting = await waits(lab, here, lab.broker, "w1", types=("old",))
    [job] = await lab.enqueue(type="new")
    offer = await comes(waiting)
    assert await lab.claim(lab.broker, offer, await lab.demand("w1", types=("old",))) == []
    assert await lab.take("w2", types=("new",)) == [job]


async def test_of_many_who_cannot_run_it_one_is_asked(lab: Lab, here: Here) -> None:
    """Workers that know the same types would all say the same: it goes on to another kind, in a few milliseconds."""
    old, middle, new = ("old",), ("middle", "old"), ("new",)
    kinds = {"a1": old, "a2": old, "b1": middle, "b2": middle, "c": new}
    waiting = {
        name: await waits(lab, here, await lab.another(), name, types=types) for name, types in kinds.items()
    }
    [job] = await lab.enqueue(type="new")
    for name in ("a1", "b1"):
        offer = await comes(waiting[name])
        assert await lab.claim(lab.broker, offer, await lab.demand(name, types=kinds[name])) == []
    assert (await comes(waiting["c"])).ids == (job,)
    for name in ("a2", "b2"):
        assert not waiting[name].done()
        waiting[name].cancel()


async def test_what_came_to_one_who_waits_no_more_is_for_others(lab: Lab, here: Here) -> None:
    leaving = await lab.another()
    for _ in range(20):
        waiting = await waits(lab, here, leaving, "w1")
        [job] = await lab.enqueue()
        waiting.cancel()
        [offer] = await asyncio.gather(waiting, return_exceptions=True)
        if isinstance(offer, Offer):
            await leaving.acknowledge(offer, await lab.demand("w1"), ())
        assert await lab.take("w2") == [job]


async def test_what_a_process_took_with_it_comes_again(lab: Lab, here: Here) -> None:
    dying = await lab.another()
    waiting = await waits(lab, here, dying, "w1")
    [job] = await lab.enqueue()
    assert (await comes(waiting)).ids == (job,)
    async with lab.dispatcher():
        assert await lab.take("w2") == [job]


async def test_who_waits_longest_is_handed_the_next_one(lab: Lab, here: Here) -> None:
    """And what comes when nobody waits any more lies in its lane."""
    for task in [await waits(lab, here, await lab.another(), f"w{number}") for number in range(4)]:
        [job] = await lab.enqueue()
        assert (await comes(task)).ids == (job,)
    [job] = await lab.enqueue()

    async def arrived() -> bool:
        return await lab.lanes.length(DEFAULT) == 1

    await lab.until(arrived)
    assert await lab.take("w9") == [job]


async def test_a_full_lane_hands_nothing_over(lab: Lab, here: Here) -> None:
    """What it has passed by is older."""
    jobs = await lab.enqueue(3 * WIDTH)
    await lab.take_all(WIDTH, slots=WIDTH // 2)
    waiting = await waits(lab, here, lab.broker, "w1")
    [young] = await lab.enqueue()
    async with lab.dispatcher():
        first = await comes(waiting)
        assert first.ids
        assert young not in first.ids
        rest = await lab.claim(lab.broker, first, await lab.demand("w1"))
        rest += await lab.take_all(2 * WIDTH + 1 - len(rest))
    assert rest == [*jobs[WIDTH:], young]


@asynccontextmanager
async def deaf_workers(here: Here, count: int) -> AsyncIterator[None]:
    """Workers that wait and do not listen, as those of a host whose network is gone."""
    client = redis_asyncio.Redis.from_url(here.url)
    listener = client.pubsub()
    await listener.subscribe(f"flux:{{{here.namespace}}}:wake:deaf")
    for number in range(count):
        await client.zadd(f"flux:{{{here.namespace}}}:waiting", {f"deaf kind d{number} *": number})
    try:
        yield
    finally:
        await listener.aclose()  # type: ignore[no-untyped-call]
        await client.aclose()


async def test_a_word_that_did_not_reach_anybody_is_said_again(lab: Lab, here: Here) -> None:
    """Whoever waits is not left waiting by those who were told before him and are gone."""
    for hints in (1, 2):
        async with deaf_workers(here, hints):
            waiting = await waits(lab, here, lab.broker, "w1")
            jobs = await lab.enqueue(hints)

            async def told(left: int = 1) -> bool:
                return await here.waiting() == left

            await lab.until(told)
            assert not waiting.done()
            async with lab.dispatcher():
                assert await lab.claim(lab.broker, await comes(waiting), await lab.demand("w1")) == jobs
