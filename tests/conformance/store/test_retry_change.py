"""What a person does to a job afterwards: run it once more, or edit it while it waits."""

from __future__ import annotations

from typing import Any

import pytest

from flux.domain.duration import MINUTE, SECOND
from flux.domain.job import JobState, Uniqueness
from flux.engine.ports import Change, Store
from tests.conformance.store.lab import START, Lab, SteeredClock

UNIQUE = Uniqueness(key="u", states=("scheduled", "available", "running", "retrying"))

# --- retry --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("state", [JobState.DEAD, JobState.CANCELLED])
async def test_a_retried_job_is_available_with_as_many_attempts_as_at_first(
    lab: Lab, store: Store, clock: SteeredClock, state: JobState
) -> None:
    await lab.worker()
    job_id = await lab.ended(state, max_retries=2)
    clock.advance(SECOND)
    [answer] = await store.jobs.retry([job_id])
    assert (answer.state, answer.done) == (JobState.AVAILABLE, True)
    job = await lab.get(job_id)
    assert (job.state, job.finished_at, job.result) == (JobState.AVAILABLE, None, None)
    # The count goes on and never falls; three more attempts follow the one there was.
    assert (job.attempt, job.attempt_limit, job.max_retries) == (1, 4, 2)
    assert job.created_at == START
    again = await lab.claim_one()
    assert (again.id, again.attempt, again.attempt_limit) == (job_id, 2, 4)
    await lab.finish(again, JobState.SUCCEEDED, result=b"2")
    job = await lab.get(job_id)
    assert (job.state, job.result, job.error) == (JobState.SUCCEEDED, b"2", None)


async def test_the_attempts_before_are_still_told(lab: Lab, store: Store) -> None:
    await lab.worker()
    job_id = await lab.ended(JobState.DEAD, max_retries=0)
    await store.jobs.retry([job_id])
    again = await lab.claim_one()
    await lab.finish(again, JobState.DEAD)
    await store.jobs.retry([job_id])
    again = await lab.claim_one()
    await lab.finish(again, JobState.SUCCEEDED)
    attempts = await store.queries.attempts(job_id)
    assert [each.number for each in attempts] == [1, 2, 3]
    assert [each.outcome for each in attempts] == ["failed", "failed", "succeeded"]
    assert [each.error is None for each in attempts] == [False, False, True]
    assert (await lab.get(job_id)).attempt_limit == 3


async def test_a_job_cancelled_before_it_ran(lab: Lab, store: Store) -> None:
    await lab.worker()
    job_id = await lab.add(delay=MINUTE, max_retries=1)
    await store.jobs.cancel([job_id], None)
    [answer] = await store.jobs.retry([job_id])
    assert (answer.state, answer.done) == (JobState.AVAILABLE, True)
    claimed = await lab.claim_one()
    assert (claimed.attempt, claimed.attempt_limit) == (1, 2)
    assert [each.number for each in await store.queries.attempts(job_id)] == [1]


async def test_a_retried_job_is_fenced_against_its_last_claim(lab: Lab, store: Store) -> None:
    await lab.worker()
    first = await lab.running()
    await lab.finish(first, JobState.DEAD)
    await store.jobs.retry([first.id])
    assert await lab.finish(first, JobState.SUCCEEDED) in (None, JobState.DEAD)
    assert await lab.state(first.id) == JobState.AVAILABLE
    await lab.claim_one()
    assert await lab.finish(first, JobState.SUCCEEDED) is None


async def test_an_expired_job_runs_when_a_person_says_so(lab: Lab, store: Store, clock: SteeredClock) -> None:
    await lab.worker(lease=10 * MINUTE)
    job_id = await lab.add(expires_in=SECOND)
    clock.advance(MINUTE)
    assert await store.duties.expire(await lab.lead(), 100) == 1
    [answer] = await store.jobs.retry([job_id])
    assert answer.done
    assert await store.duties.expire(lab.epoch, 100) == 0
    assert (await lab.claim_one()).id == job_id


async def test_what_lives_or_succeeded_is_not_retried(lab: Lab, store: Store) -> None:
    await lab.worker()
    succeeded = await lab.ended(JobState.SUCCEEDED)
    running = await lab.running()
    waiting, scheduled = await lab.add(), await lab.add(delay=SECOND)
    answers = await store.jobs.retry([waiting, succeeded, running.id, lab.new_id(), scheduled])
    assert [(each.state, each.done) for each in answers] == [
        (JobState.AVAILABLE, False),
        (JobState.SUCCEEDED, False),
        (JobState.RUNNING, False),
        (None, False),
        (JobState.SCHEDULED, False),
    ]
    assert await store.jobs.retry([]) == []


async def test_an_id_twice_in_one_batch_is_retried_once(lab: Lab, store: Store) -> None:
    await lab.worker()
    job_id = await lab.ended(JobState.DEAD, max_retries=0)
    answers = await store.jobs.retry([job_id, job_id])
    assert [each.state for each in answers] == [JobState.AVAILABLE] * 2
    assert (await lab.get(job_id)).attempt_limit == 2
    assert len(await lab.every_id()) == 1


async def test_a_retried_job_takes_its_unique_key_back(lab: Lab, store: Store) -> None:
    await lab.worker()
    job_id = await lab.ended(JobState.DEAD, unique=UNIQUE)
    await store.jobs.retry([job_id])
    [twin] = await lab.insert(lab.job(unique=UNIQUE))
    assert (twin.id, twin.how) == (job_id, "duplicate")


async def test_a_job_whose_unique_key_is_taken_is_not_retried(lab: Lab, store: Store) -> None:
    await lab.worker()
    job_id = await lab.ended(JobState.DEAD, unique=UNIQUE)
    other = await lab.add(unique=UNIQUE)
    [answer] = await store.jobs.retry([job_id])
    assert (answer.state, answer.done) == (JobState.DEAD, False)
    assert answer.why
    # Until it is free again.
    await store.jobs.cancel([other], None)
    [answer] = await store.jobs.retry([job_id])
    assert (answer.state, answer.done) == (JobState.AVAILABLE, True)


async def test_of_two_dead_jobs_with_one_key_one_is_retried(lab: Lab, store: Store) -> None:
    await lab.worker()
    first = await lab.ended(JobState.DEAD, unique=UNIQUE)
    second = await lab.ended(JobState.DEAD, unique=UNIQUE)
    answers = await store.jobs.retry([first, second])
    assert sorted(each.done for each in answers) == [False, True]


# --- change -------------------------------------------------------------------------------------------------------


async def test_every_field_can_be_changed(lab: Lab, store: Store) -> None:
    job_id = await lab.add(timeout=SECOND)
    change = Change(
        payload=b'{"b":2}',
        queue="other",
        priority=9,
        timeout=MINUTE,
        max_retries=9,
        expires_at=START + MINUTE,
        tags=("x", "y"),
    )
    answer = await store.jobs.change(job_id, change)
    assert (answer.state, answer.done) == (JobState.AVAILABLE, True)
    job = await lab.get(job_id)
    assert (job.payload, job.queue, job.priority, job.timeout) == (b'{"b":2}', "other", 9, MINUTE)
    assert (job.max_retries, job.attempt_limit) == (9, 10)
    assert (job.expires_at, job.options.tags) == (START + MINUTE, ("x", "y"))
    assert await lab.every_id(tag="y") == [job_id]


async def test_what_is_not_named_stays(lab: Lab, store: Store) -> None:
    job_id = await lab.add(timeout=SECOND, priority=7, expires_in=MINUTE, payload=b'{"a":1}')
    before = await lab.get(job_id)
    await store.jobs.change(job_id, Change(priority=3))
    before.priority = 3
    assert await lab.get(job_id) == before


async def test_a_bound_can_be_lifted(lab: Lab, store: Store) -> None:
    job_id = await lab.add(timeout=SECOND, expires_in=MINUTE)
    await store.jobs.change(job_id, Change(timeout=None, expires_at=None))
    job = await lab.get(job_id)
    assert (job.timeout, job.expires_at) == (None, None)


async def test_the_claim_follows_the_change(lab: Lab, store: Store) -> None:
    await lab.worker()
    first, second = await lab.add(), await lab.add()
    await store.jobs.change(second, Change(priority=10))
    await store.jobs.change(first, Change(queue="aside"))
    assert [each.id for each in await lab.claim(slots=1)] == [second]
    assert [each.id for each in await lab.claim(queues={"aside": 5}, every_queue=False)] == [first]


async def test_a_later_time_makes_it_wait(lab: Lab, store: Store, clock: SteeredClock) -> None:
    await lab.worker(lease=10 * MINUTE)
    job_id = await lab.add()
    answer = await store.jobs.change(job_id, Change(run_at=START + MINUTE))
    assert (answer.state, answer.done) == (JobState.SCHEDULED, True)
    assert await lab.claim() == []
    clock.advance(MINUTE)
    await lab.promote()
    assert (await lab.claim_one()).id == job_id


@pytest.mark.parametrize("retrying", [False, True])
async def test_an_earlier_time_lets_it_run(
    lab: Lab, store: Store, clock: SteeredClock, retrying: bool
) -> None:
    await lab.worker()
    if retrying:
        claimed = await lab.running()
        await lab.finish(claimed, JobState.RETRYING, delay=MINUTE)
        job_id = claimed.id
    else:
        job_id = await lab.add(delay=MINUTE)
    answer = await store.jobs.change(job_id, Change(run_at=START + SECOND))
    assert answer.done
    assert await lab.claim() == []
    clock.advance(SECOND)
    await lab.promote()
    assert (await lab.claim_one()).id == job_id


async def test_fewer_retries_never_fall_below_what_was_used(lab: Lab, store: Store) -> None:
    await lab.worker()
    claimed = await lab.running()
    await lab.finish(claimed, JobState.RETRYING, delay=0)
    await lab.promote()
    claimed = await lab.claim_one()
    await lab.finish(claimed, JobState.RETRYING, delay=0)
    await store.jobs.change(claimed.id, Change(max_retries=0))
    await lab.promote()
    again = await lab.claim(slots=1)
    for each in again:
        assert each.attempt <= each.attempt_limit, "an attempt past the limit"


async def change_of(lab: Lab, job_id: str) -> tuple[JobState | None, bool]:
    answer = await lab.store.jobs.change(job_id, Change(priority=1))
    return answer.state, answer.done


async def test_only_what_waits_is_changed(lab: Lab) -> None:
    await lab.worker()
    running = await lab.running()
    before: dict[str, Any] = {}
    cases = {running.id: JobState.RUNNING}
    for state in (JobState.SUCCEEDED, JobState.DEAD, JobState.CANCELLED):
        cases[await lab.ended(state)] = state
    for job_id, state in cases.items():
        before[job_id] = await lab.get(job_id)
        assert await change_of(lab, job_id) == (state, False)
        assert await lab.get(job_id) == before[job_id]
    assert await change_of(lab, lab.new_id()) == (None, False)
