"""Leadership: one leader at a time, and a leader of yesterday writes nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from flux.domain.duration import DAY, HOUR, SECOND
from flux.domain.errors import NotLeader
from flux.domain.job import JobState
from flux.engine.ports import Duties, Retention, Store
from tests.conformance.store.lab import LEASE, LONG, START, Lab, SteeredClock, run_plainly

KEEP_NONE = Retention(succeeded=0, dead=0, cancelled=0, most=0)


async def test_the_first_who_asks_leads(store: Store) -> None:
    epoch = await store.duties.lead("a", LEASE)
    assert epoch is not None
    assert await store.duties.lead("b", LEASE) is None


async def test_renewing_keeps_the_epoch(store: Store, clock: SteeredClock) -> None:
    epoch = await store.duties.lead("a", LEASE)
    clock.advance(LEASE - SECOND)
    assert await store.duties.lead("a", LEASE) == epoch
    clock.advance(LEASE - SECOND)
    assert await store.duties.lead("b", LEASE) is None


async def test_a_lapsed_leader_is_followed_by_a_higher_epoch(store: Store, clock: SteeredClock) -> None:
    first = await store.duties.lead("a", LEASE)
    clock.advance(LEASE + 1)
    second = await store.duties.lead("b", LEASE)
    assert first is not None
    assert second is not None
    assert second > first
    assert await store.duties.lead("a", LEASE) is None


async def test_resigning_lets_the_next_one_lead_at_once(store: Store) -> None:
    first = await store.duties.lead("a", LEASE)
    await store.duties.resign("b")
    assert await store.duties.lead("b", LEASE) is None
    await store.duties.resign("a")
    second = await store.duties.lead("b", LEASE)
    assert first is not None
    assert second is not None
    assert second > first


WRITES: dict[str, Callable[[Duties, int], Awaitable[object]]] = {
    "promote_due": lambda duties, epoch: duties.promote_due(epoch, 10, run_plainly),
    "expire": lambda duties, epoch: duties.expire(epoch, 10),
    "rescue_lost": lambda duties, epoch: duties.rescue_lost(epoch, 0, 10),
    "bury": lambda duties, epoch: duties.bury(epoch, "t", "default", START + LONG, 10),
    "prune": lambda duties, epoch: duties.prune(epoch, KEEP_NONE, 10),
    "sample_depth": lambda duties, epoch: duties.sample_depth(epoch),
}


@pytest.mark.parametrize("verb", WRITES)
async def test_a_deposed_leader_writes_nothing(
    lab: Lab, store: Store, clock: SteeredClock, verb: str
) -> None:
    await lab.worker()
    done = await lab.ended(JobState.SUCCEEDED)
    running = await lab.running(timeout=1)
    waiting = await lab.add()
    due = await lab.add(delay=SECOND)
    expiring = await lab.add(expires_in=SECOND)
    old = await store.duties.lead("old", LEASE)
    assert old is not None
    clock.advance(DAY)
    # While nobody else leads, the lapsed leader's epoch may or may not still count; afterwards it never does.
    new = await store.duties.lead("new", LEASE)
    assert new is not None
    with pytest.raises(NotLeader):
        await WRITES[verb](store.duties, old)
    assert await store.queries.states([done, running.id, waiting, due, expiring]) == {
        done: JobState.SUCCEEDED,
        running.id: JobState.RUNNING,
        waiting: JobState.AVAILABLE,
        due: JobState.SCHEDULED,
        expiring: JobState.AVAILABLE,
    }
    await WRITES[verb](store.duties, new)


@pytest.mark.parametrize("verb", WRITES)
async def test_before_anybody_led_nobody_writes(store: Store, verb: str) -> None:
    with pytest.raises(NotLeader):
        await WRITES[verb](store.duties, 1)


async def test_of_many_candidates_one_leads(lab: Lab, clock: SteeredClock) -> None:
    handles = [lab.store, *[await lab.another() for _ in range(5)]]
    for _ in range(3):
        epochs = await asyncio.gather(*[store.duties.lead(f"s{n}", LEASE) for n, store in enumerate(handles)])
        assert len([epoch for epoch in epochs if epoch is not None]) == 1
        clock.advance(LEASE + 1)


async def test_a_clock_that_was_set_back_leaves_nobody_leading_for_longer_than_a_lease(
    store: Store, clock: SteeredClock
) -> None:
    first = await store.duties.lead("gone", LEASE)
    clock.advance(-HOUR)
    await store.duties.lead("b", LEASE)
    clock.advance(LEASE + 1)
    second = await store.duties.lead("b", LEASE)
    assert first is not None
    assert second is not None
    assert second > first


async def test_a_leader_that_lives_leads_on_when_the_clock_is_set_back(
    store: Store, clock: SteeredClock
) -> None:
    epoch = await store.duties.lead("a", LEASE)
    clock.advance(-HOUR)
    for _ in range(5):
        assert await store.duties.lead("b", LEASE) is None
        assert await store.duties.lead("a", LEASE) == epoch
        clock.advance(LEASE // 3)
