"""What a worker holds: how it finds the jobs of a claim whose answer was lost, and gives them back."""

from __future__ import annotations

from flux.domain.job import JobState
from flux.engine.ports import Held, Store
from tests.conformance.store.lab import LEASE, Lab, SteeredClock


def named(claimed: object) -> Held:
    return Held(claimed.id, claimed.claim_id, claimed.attempt)  # type: ignore[attr-defined]


async def test_nobody_holds_anything_at_first(lab: Lab, store: Store) -> None:
    assert await store.jobs.held("nobody") == []
    await lab.worker()
    await lab.add()
    assert await store.jobs.held("w1") == []


async def test_each_worker_holds_its_own(lab: Lab, store: Store) -> None:
    await lab.worker("w1")
    await lab.worker("w2")
    first, second = await lab.running("w1"), await lab.running("w1")
    other = await lab.running("w2")
    assert sorted(held.job_id for held in await store.jobs.held("w1")) == [first.id, second.id]
    assert await store.jobs.held("w2") == [named(other)]


async def test_what_has_ended_or_was_given_back_is_not_held(lab: Lab, store: Store) -> None:
    await lab.worker()
    for state in (JobState.SUCCEEDED, JobState.RETRYING, JobState.AVAILABLE, JobState.SCHEDULED):
        await lab.finish(await lab.running(), state, delay=1)
    assert await store.jobs.held("w1") == []


async def test_what_was_rescued_is_not_held(lab: Lab, store: Store, clock: SteeredClock) -> None:
    await lab.worker()
    await lab.running()
    clock.advance(LEASE + 1)
    await lab.rescue()
    assert await store.jobs.held("w1") == []


async def test_a_claim_that_was_not_heard_of_is_given_back_by_what_is_held(lab: Lab, store: Store) -> None:
    await lab.worker()
    job_id = await lab.add(max_retries=0)
    lost = await lab.claim_one()
    [held] = await store.jobs.held("w1")
    assert held == named(lost)
    lost.claim_id, lost.attempt = held.claim_id, held.attempt
    assert await lab.finish(lost, JobState.AVAILABLE) == JobState.AVAILABLE
    again = await lab.claim_one()
    assert (again.id, again.attempt) == (job_id, 1)
    assert await store.jobs.held("w1") == [named(again)]
    assert named(again) != held


async def test_many(lab: Lab, store: Store) -> None:
    await lab.worker()
    await lab.insert(*[lab.job() for _ in range(1000)])
    claimed = await lab.claim(slots=1000)
    assert sorted(held.job_id for held in await store.jobs.held("w1")) == sorted(each.id for each in claimed)
