"""Cancelling: final at once while a job waits, a request while it runs, and nothing once it has ended."""

from __future__ import annotations

import pytest

from flux.domain.duration import MINUTE, SECOND
from flux.domain.job import JobState
from flux.engine.ports import Changed, Store
from tests.conformance.store.lab import LEASE, START, Lab, SteeredClock


async def waiting(lab: Lab, state: JobState) -> str:
    """A job that waits in ``state``."""
    if state == JobState.AVAILABLE:
        return await lab.add()
    if state == JobState.SCHEDULED:
        return await lab.add(delay=MINUTE)
    claimed = await lab.running()
    await lab.finish(claimed, JobState.RETRYING, delay=MINUTE)
    return claimed.id


@pytest.mark.parametrize("state", [JobState.AVAILABLE, JobState.SCHEDULED, JobState.RETRYING])
async def test_a_waiting_job_ends_at_once(
    lab: Lab, store: Store, clock: SteeredClock, state: JobState
) -> None:
    await lab.worker()
    job_id = await waiting(lab, state)
    clock.advance(SECOND)
    assert await store.jobs.cancel([job_id], "not needed") == [Changed(JobState.CANCELLED, True)]
    job = await lab.get(job_id)
    assert (job.state, job.finished_at) == (JobState.CANCELLED, START + SECOND)
    assert job.error is not None
    assert job.error.kind == "cancelled"
    assert "not needed" in job.error.message
    clock.advance(2 * MINUTE)
    await lab.worker("w2")
    await lab.promote()
    assert await lab.claim("w2") == []


async def test_without_a_reason(lab: Lab, store: Store) -> None:
    job_id = await lab.add()
    await store.jobs.cancel([job_id], None)
    error = (await lab.get(job_id)).error
    assert error is not None
    assert error.kind == "cancelled"


async def test_a_running_job_is_asked(lab: Lab, store: Store) -> None:
    await lab.worker()
    claimed = await lab.running()
    assert await store.jobs.cancel([claimed.id], None) == [Changed(JobState.RUNNING, True)]
    job = await lab.get(claimed.id)
    assert (job.state, job.cancel_requested) == (JobState.RUNNING, True)
    [again] = await store.jobs.cancel([claimed.id], None)
    assert again.state == JobState.RUNNING


async def test_its_worker_hears_of_it(lab: Lab, store: Store) -> None:
    await lab.worker("w1")
    await lab.worker("w2")
    wanted, other = await lab.running("w1"), await lab.running("w1")
    foreign = await lab.running("w2")
    await store.jobs.cancel([wanted.id, foreign.id], None)
    assert (await store.leases.renew("w1", LEASE)).cancels == (wanted.id,)
    assert (await store.leases.orders("w1")).cancels == (wanted.id,)
    assert (await store.leases.orders("w2")).cancels == (foreign.id,)
    await lab.finish(wanted, JobState.CANCELLED)
    assert (await store.leases.orders("w1")).cancels == ()
    assert await lab.state(other.id) == JobState.RUNNING


@pytest.mark.parametrize("state", [JobState.RETRYING, JobState.AVAILABLE, JobState.SCHEDULED])
async def test_a_job_asked_to_stop_is_not_run_again(lab: Lab, store: Store, state: JobState) -> None:
    await lab.worker()
    claimed = await lab.running()
    await store.jobs.cancel([claimed.id], "stop")
    assert await lab.finish(claimed, state, delay=SECOND) == JobState.CANCELLED
    job = await lab.get(claimed.id)
    assert (job.state, job.finished_at) == (JobState.CANCELLED, START)
    assert job.error is not None
    assert job.error.kind == "cancelled"


@pytest.mark.parametrize("state", [JobState.SUCCEEDED, JobState.DEAD, JobState.CANCELLED])
async def test_a_job_that_ends_all_the_same_ends_as_it_did(lab: Lab, store: Store, state: JobState) -> None:
    await lab.worker()
    claimed = await lab.running()
    await store.jobs.cancel([claimed.id], "stop")
    assert await lab.finish(claimed, state) == state
    assert await lab.state(claimed.id) == state


@pytest.mark.parametrize("state", [JobState.SUCCEEDED, JobState.DEAD, JobState.CANCELLED])
async def test_what_has_ended_stays(lab: Lab, store: Store, state: JobState) -> None:
    await lab.worker()
    job_id = await lab.ended(state)
    before = await lab.get(job_id)
    [answer] = await store.jobs.cancel([job_id], "late")
    assert (answer.state, answer.done) == (state, False)
    assert await lab.get(job_id) == before


async def test_what_does_not_exist(lab: Lab, store: Store) -> None:
    [answer] = await store.jobs.cancel([lab.new_id()], None)
    assert (answer.state, answer.done) == (None, False)


async def test_a_batch_is_answered_in_order(lab: Lab, store: Store) -> None:
    await lab.worker()
    ended = await lab.ended(JobState.SUCCEEDED)
    running = await lab.running()
    available, scheduled = await lab.add(), await lab.add(delay=SECOND)
    ids = [scheduled, lab.new_id(), running.id, ended, available]
    answers = await store.jobs.cancel(ids, None)
    assert [(each.state, each.done) for each in answers] == [
        (JobState.CANCELLED, True),
        (None, False),
        (JobState.RUNNING, True),
        (JobState.SUCCEEDED, False),
        (JobState.CANCELLED, True),
    ]
    assert await store.jobs.cancel([], None) == []


async def test_an_id_twice_in_one_batch(lab: Lab, store: Store) -> None:
    job_id = await lab.add()
    answers = await store.jobs.cancel([job_id, job_id], None)
    assert [each.state for each in answers] == [JobState.CANCELLED] * 2
    assert [event.state for event in await lab.all_events() if event.key == job_id].count("cancelled") == 1


async def test_a_request_does_not_outlive_a_retry(lab: Lab, store: Store) -> None:
    await lab.worker()
    claimed = await lab.running()
    await store.jobs.cancel([claimed.id], "stop")
    await lab.finish(claimed, JobState.CANCELLED)
    await store.jobs.retry([claimed.id])
    again = await lab.claim_one()
    assert (await store.leases.orders("w1")).cancels == ()
    assert not (await lab.get(claimed.id)).cancel_requested
    assert await lab.finish(again, JobState.RETRYING, delay=SECOND) == JobState.RETRYING
