"""Rescue: running jobs without a live worker are taken back; past their deadline, whatever their worker says."""

from __future__ import annotations

import pytest

from flux.domain.duration import DAY, MINUTE, SECOND
from flux.domain.job import JobState
from flux.engine.ports import Note, Store
from tests.conformance.store.lab import LEASE, START, Lab, SteeredClock

GRACE = 5 * SECOND


async def test_a_live_workers_jobs_are_left_alone(lab: Lab, clock: SteeredClock) -> None:
    await lab.worker()
    claimed = await lab.running()
    assert await lab.rescue() == 0
    clock.advance(LEASE - 1)
    assert await lab.rescue() == 0
    assert await lab.state(claimed.id) == JobState.RUNNING


async def test_a_lost_workers_job_is_tried_again(lab: Lab, store: Store, clock: SteeredClock) -> None:
    await lab.worker("w1")
    claimed = await lab.running()
    clock.advance(LEASE + 1)
    assert await lab.rescue() == 1
    job = await lab.get(claimed.id)
    assert (job.state, job.attempt) == (JobState.RETRYING, 1)
    [attempt] = await store.queries.attempts(claimed.id)
    assert (attempt.outcome, attempt.worker_id, attempt.started_at) == ("lost", "w1", START)
    assert attempt.error is not None
    assert attempt.error.kind == "lost"
    assert await lab.rescue() == 0
    clock.advance(DAY)
    await lab.promote()
    await lab.worker("w2")
    again = await lab.claim_one("w2")
    assert (again.id, again.attempt) == (claimed.id, 2)


async def test_the_lost_worker_finishes_nothing_any_more(lab: Lab, clock: SteeredClock) -> None:
    await lab.worker("w1")
    claimed = await lab.running("w1", max_retries=5)
    clock.advance(LEASE + 1)
    await lab.rescue()
    assert await lab.finish(claimed, JobState.SUCCEEDED) is None
    assert await lab.state(claimed.id) == JobState.RETRYING
    clock.advance(DAY)
    await lab.promote()
    assert await lab.finish(claimed, JobState.SUCCEEDED) is None
    await lab.worker("w2")
    again = await lab.claim_one("w2")
    assert await lab.finish(claimed, JobState.SUCCEEDED) is None
    assert await lab.finish(again, JobState.SUCCEEDED, worker="w2") == JobState.SUCCEEDED
    assert await lab.finish(claimed, JobState.DEAD) is None
    assert await lab.state(claimed.id) == JobState.SUCCEEDED


async def test_a_job_whose_attempts_are_used_up_dies_as_lost(
    lab: Lab, store: Store, clock: SteeredClock
) -> None:
    """A job that kills its workers counts an attempt at each rescue."""
    job_id = await lab.add(max_retries=2)
    for attempt in (1, 2, 3):
        await lab.worker(f"w{attempt}")
        assert (await lab.claim_one(f"w{attempt}")).attempt == attempt
        clock.advance(LEASE + 1)
        assert await lab.rescue() == 1
        clock.advance(DAY)
        await lab.promote()
    job = await lab.get(job_id)
    assert (job.state, job.attempt, job.attempt_limit) == (JobState.DEAD, 3, 3)
    assert job.error is not None
    assert job.error.kind == "lost"
    assert [each.outcome for each in await store.queries.attempts(job_id)] == ["lost"] * 3


async def test_a_lost_job_that_was_to_be_cancelled_is(lab: Lab, store: Store, clock: SteeredClock) -> None:
    await lab.worker()
    claimed = await lab.running()
    await store.jobs.cancel([claimed.id], "not needed")
    clock.advance(LEASE + 1)
    assert await lab.rescue() == 1
    job = await lab.get(claimed.id)
    assert job.state == JobState.CANCELLED
    assert job.error is not None
    assert job.error.kind == "cancelled"


async def test_a_worker_that_leaves_is_swept_without_waiting(lab: Lab, store: Store) -> None:
    await lab.worker("w1")
    await lab.worker("w2")
    left, kept = await lab.running("w1"), await lab.running("w2")
    await store.leases.leave("w1")
    assert await lab.rescue() == 1
    assert await lab.state(left.id) == JobState.RETRYING
    assert await lab.state(kept.id) == JobState.RUNNING


async def test_a_lost_worker_cannot_come_back_after_the_sweep(
    lab: Lab, store: Store, clock: SteeredClock
) -> None:
    await lab.worker("w1")
    await lab.running()
    clock.advance(LEASE + 1)
    assert await lab.rescue() == 1
    waiting = await lab.add()
    alive = {view.info.id for view in await store.queries.workers() if view.alive}
    assert alive == set()
    assert await lab.state(waiting) == JobState.AVAILABLE


async def test_past_deadline_and_grace_whatever_the_worker_says(lab: Lab, clock: SteeredClock) -> None:
    await lab.worker(lease=DAY)
    claimed = await lab.running(timeout=MINUTE)
    unbounded = await lab.running()
    clock.advance(MINUTE + GRACE - 1)
    assert await lab.rescue(GRACE) == 0
    clock.advance(2)
    assert await lab.rescue(GRACE) == 1
    assert await lab.state(claimed.id) == JobState.RETRYING
    assert await lab.state(unbounded.id) == JobState.RUNNING
    assert await lab.finish(claimed, JobState.SUCCEEDED) is None


async def test_past_the_deadline_of_the_last_attempt(lab: Lab, clock: SteeredClock) -> None:
    await lab.worker(lease=DAY)
    claimed = await lab.running(timeout=MINUTE, max_retries=0)
    clock.advance(MINUTE + GRACE + 1)
    assert await lab.rescue(GRACE) == 1
    assert await lab.state(claimed.id) == JobState.DEAD


async def test_the_deadline_begins_at_the_claim(lab: Lab, clock: SteeredClock) -> None:
    await lab.worker(lease=DAY)
    await lab.add(timeout=MINUTE)
    clock.advance(10 * MINUTE)
    await lab.claim_one()
    assert await lab.rescue(GRACE) == 0


@pytest.mark.parametrize("limit", [1, 3])
async def test_no_more_than_the_limit_at_once(lab: Lab, clock: SteeredClock, limit: int) -> None:
    await lab.worker()
    await lab.insert(*[lab.job() for _ in range(7)])
    await lab.claim()
    clock.advance(LEASE + 1)
    passes = []
    while count := await lab.rescue(limit=limit):
        passes.append(count)
    assert sum(passes) == 7
    assert max(passes) <= limit


async def test_no_more_than_the_limit_of_the_overdue(lab: Lab, clock: SteeredClock) -> None:
    await lab.worker(lease=DAY)
    await lab.insert(*[lab.job(timeout=SECOND) for _ in range(7)])
    await lab.claim()
    clock.advance(MINUTE)
    passes = []
    while count := await lab.rescue(limit=3):
        passes.append(count)
    assert sum(passes) == 7
    assert max(passes) <= 3


async def test_notes_survive_a_rescue(lab: Lab, store: Store, clock: SteeredClock) -> None:
    await lab.worker()
    claimed = await lab.running()
    await store.jobs.note(
        [Note(job_id=claimed.id, claim_id=claimed.claim_id, attempt=1, checkpoint=b'{"row":3}')]
    )
    clock.advance(LEASE + 1)
    await lab.rescue()
    clock.advance(DAY)
    await lab.promote()
    await lab.worker("w2")
    assert (await lab.claim_one("w2")).checkpoint == '{"row":3}'


async def test_a_clock_that_was_set_back_keeps_no_lost_worker_alive(
    lab: Lab, store: Store, clock: SteeredClock
) -> None:
    await lab.worker("gone")
    lost = await lab.running("gone")
    await lab.worker("w2")
    held = await lab.running("w2")
    clock.advance(-DAY)
    await lab.rescue()
    await store.leases.renew("w2", LEASE)
    clock.advance(LEASE - 1)
    await store.leases.renew("w2", LEASE)
    assert await lab.rescue() == 0
    clock.advance(2)
    assert await lab.rescue() == 1
    assert await lab.state(lost.id) == JobState.RETRYING
    assert await lab.state(held.id) == JobState.RUNNING
