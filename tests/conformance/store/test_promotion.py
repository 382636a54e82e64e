"""Promotion: what has come due becomes available, and the leader is told when to look next. Also what expires and what
nobody knows."""

from __future__ import annotations

from flux.domain.duration import HOUR, MINUTE, SECOND
from flux.domain.job import JobState
from flux.engine.ports import Store
from tests.conformance.store.lab import LEASE, LONG, START, Lab, SteeredClock, run_plainly


async def test_exactly_when_due(lab: Lab, clock: SteeredClock) -> None:
    job_id = await lab.add(delay=MINUTE)
    clock.advance(MINUTE - 1)
    assert await lab.promote() == 0
    assert await lab.state(job_id) == JobState.SCHEDULED
    clock.advance(1)
    assert await lab.promote() == 1
    assert await lab.state(job_id) == JobState.AVAILABLE
    assert await lab.promote() == 0


async def test_retries_too(lab: Lab, clock: SteeredClock) -> None:
    await lab.worker(lease=HOUR)
    claimed = await lab.running()
    await lab.finish(claimed, JobState.RETRYING, delay=MINUTE)
    clock.advance(MINUTE)
    assert await lab.promote() == 1
    assert await lab.state(claimed.id) == JobState.AVAILABLE


async def test_the_oldest_first_and_no_more_than_the_limit(lab: Lab, clock: SteeredClock) -> None:
    late, early, middle = [await lab.add(delay=delay * SECOND) for delay in (3, 1, 2)]
    clock.advance(MINUTE)
    assert await lab.promote(limit=1) == 1
    assert await lab.state(early) == JobState.AVAILABLE
    assert await lab.promote(limit=1) == 1
    assert await lab.state(middle) == JobState.AVAILABLE
    assert await lab.state(late) == JobState.SCHEDULED
    assert await lab.promote(limit=1) == 1
    assert await lab.promote(limit=1) == 0


async def test_many(lab: Lab, clock: SteeredClock) -> None:
    await lab.insert(*[lab.job(delay=SECOND) for _ in range(2500)])
    clock.advance(SECOND)
    passes = [await lab.promote() for _ in range(4)]
    assert passes == [1000, 1000, 500, 0]


async def test_how_late_it_was(lab: Lab, store: Store, clock: SteeredClock) -> None:
    epoch = await lab.lead()
    await lab.add(delay=SECOND)
    await lab.add(delay=3 * SECOND)
    clock.advance(5 * SECOND)
    promoted = await store.duties.promote_due(epoch, 100, run_plainly)
    assert (promoted.count, promoted.lag) == (2, 4 * SECOND)


async def test_a_promoted_job_keeps_its_time_and_its_place(lab: Lab, clock: SteeredClock) -> None:
    await lab.worker()
    first = await lab.add(delay=SECOND)
    second = await lab.add()
    clock.advance(2 * SECOND)
    await lab.promote()
    assert (await lab.get(first)).run_at == START + SECOND
    # Age is the age of the job, not of its being available.
    assert [each.id for each in await lab.claim()] == [first, second]


# --- when to look next --------------------------------------------------------------------------------------------


async def test_nothing_is_due_in_an_empty_store(store: Store) -> None:
    assert await store.duties.next_due() is None


async def test_the_next_start(lab: Lab, store: Store) -> None:
    await lab.add(delay=HOUR)
    await lab.add(delay=MINUTE)
    await lab.add()
    assert await store.duties.next_due() == START + MINUTE


async def test_the_next_retry(lab: Lab, store: Store) -> None:
    await lab.worker(lease=LONG)
    claimed = await lab.running()
    await lab.finish(claimed, JobState.RETRYING, delay=SECOND)
    assert await store.duties.next_due() == START + SECOND


async def test_the_next_expiry(lab: Lab, store: Store) -> None:
    await lab.add(expires_in=MINUTE)
    await lab.add(delay=HOUR)
    assert await store.duties.next_due() == START + MINUTE


async def test_the_next_deadline_of_a_running_job(lab: Lab, store: Store) -> None:
    await lab.worker(lease=LONG)
    await lab.running(timeout=MINUTE)
    due = await store.duties.next_due()
    assert due is not None
    # The leader adds its grace; a store may tell the bare deadline.
    assert START + MINUTE <= due <= START + 2 * MINUTE


async def test_the_end_of_a_lease_with_running_jobs(lab: Lab, store: Store) -> None:
    await lab.worker(lease=MINUTE)
    await lab.running()
    due = await store.duties.next_due()
    assert due is not None
    assert START + MINUTE <= due <= START + MINUTE + SECOND


# --- expiry -------------------------------------------------------------------------------------------------------


async def test_a_job_never_started_in_time_is_cancelled_as_expired(
    lab: Lab, store: Store, clock: SteeredClock
) -> None:
    await lab.worker()
    waiting = await lab.add(expires_in=SECOND)
    scheduled = await lab.add(expires_in=2 * SECOND, delay=HOUR)
    started = await lab.running(expires_in=MINUTE)
    later = await lab.add(expires_in=HOUR)
    epoch = await lab.lead()
    assert await store.duties.expire(epoch, 100) == 0
    await lab.finish(started, JobState.RETRYING, delay=HOUR)
    clock.advance(MINUTE + 1)
    assert await store.duties.expire(epoch, 100) == 2
    for job_id in (waiting, scheduled):
        job = await lab.get(job_id)
        assert (job.state, job.finished_at) == (JobState.CANCELLED, START + MINUTE + 1)
        assert job.error is not None
        assert job.error.kind == "expired"
    assert await lab.state(started.id) == JobState.RETRYING
    assert await lab.state(later) == JobState.AVAILABLE
    assert await store.duties.expire(epoch, 100) == 0


async def test_no_more_than_the_limit_expire_at_once(lab: Lab, store: Store, clock: SteeredClock) -> None:
    await lab.insert(*[lab.job(expires_in=SECOND) for _ in range(5)])
    clock.advance(MINUTE)
    epoch = await lab.lead()
    assert [await store.duties.expire(epoch, 2) for _ in range(4)] == [2, 2, 1, 0]


# --- types that nobody knows --------------------------------------------------------------------------------------


async def test_types_that_no_live_worker_knows(lab: Lab, store: Store, clock: SteeredClock) -> None:
    await lab.add("unknown", queue="q")
    assert await store.duties.waiting_types() == [], "no worker is alive: it is the workers that are missing"
    await lab.worker("w1", types=("known",))
    await lab.add("known")
    clock.advance(SECOND)
    await lab.add("unknown", queue="q")
    assert await store.duties.waiting_types() == [("unknown", "q", START)]
    await lab.worker("w2", types=("unknown",))
    assert await store.duties.waiting_types() == []
    clock.advance(LEASE - 2 * SECOND)
    await store.leases.renew("w1", LEASE)
    clock.advance(3 * SECOND)
    assert await store.duties.waiting_types() == [("unknown", "q", START)]


async def test_a_worker_of_another_queue_does_not_count(lab: Lab, store: Store) -> None:
    await lab.worker("w1", types=("t",), queues="email:5,reports")
    await lab.add("t", queue="other")
    await lab.add("t", queue="email")
    await lab.add("t", queue="reports")
    waiting = [(type, queue) for type, queue, _ in await store.duties.waiting_types()]
    assert waiting in ([], [("t", "other")])
    await lab.worker("w2", types=("u",))
    assert [(type, queue) for type, queue, _ in await store.duties.waiting_types()] == [("t", "other")]


async def test_a_queue_whose_name_has_colons_is_served_by_its_whole_name(lab: Lab, store: Store) -> None:
    await lab.worker("w1", types=("t",), queues="tenant:acme:*,eu:mail:5")
    await lab.add("t", queue="tenant:acme")
    await lab.add("t", queue="eu:mail")
    assert await store.duties.waiting_types() == []
    await lab.add("t", queue="tenant")
    await lab.add("t", queue="eu")
    await lab.worker("w2", types=("u",))
    waiting = [(type, queue) for type, queue, _ in await store.duties.waiting_types()]
    assert waiting == [("t", "eu"), ("t", "tenant")]


async def test_burying(lab: Lab, store: Store, clock: SteeredClock) -> None:
    epoch = await lab.lead()
    old = await lab.add("unknown")
    other_queue, other_type = await lab.add("unknown", queue="q"), await lab.add("t")
    waiting = await lab.add("unknown", delay=HOUR)
    clock.advance(MINUTE)
    young = await lab.add("unknown")
    assert await store.duties.bury(epoch, "unknown", "default", START + SECOND, 100) == 1
    job = await lab.get(old)
    assert (job.state, job.finished_at, job.attempt) == (JobState.DEAD, START + MINUTE, 0)
    assert job.error is not None
    assert job.error.kind == "unknown_type"
    for job_id in (other_queue, other_type, young):
        assert await lab.state(job_id) == JobState.AVAILABLE
    assert await lab.state(waiting) == JobState.SCHEDULED
    assert await store.duties.bury(epoch, "unknown", "default", START + HOUR, 100) == 1
    assert await lab.state(young) == JobState.DEAD


async def test_no_more_than_the_limit_are_buried_at_once(lab: Lab, store: Store, clock: SteeredClock) -> None:
    await lab.insert(*[lab.job("unknown") for _ in range(5)])
    clock.advance(MINUTE)
    epoch = await lab.lead()
    before = clock()
    assert [await store.duties.bury(epoch, "unknown", "default", before, 2) for _ in range(4)] == [2, 2, 1, 0]


async def test_a_buried_job_can_be_retried(lab: Lab, store: Store, clock: SteeredClock) -> None:
    job_id = await lab.add("unknown")
    clock.advance(MINUTE)
    await store.duties.bury(await lab.lead(), "unknown", "default", clock(), 2)
    [answer] = await store.jobs.retry([job_id])
    assert answer.done
    # And waits again from now on.
    assert await store.duties.bury(lab.epoch, "unknown", "default", START + SECOND, 2) == 0
    await lab.worker(types=("unknown",))
    assert (await lab.claim_one(types=("unknown",))).attempt == 1
