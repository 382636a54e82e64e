"""Pruning: finished jobs are forgotten by age and by number, with all that hangs on them, and nothing else is."""

from __future__ import annotations

from flux.domain.duration import DAY, HOUR, MINUTE, SECOND
from flux.domain.job import Idempotency, Inserted, JobState, LogLine, Uniqueness
from flux.engine.ports import Note, Retention, Schedule, Store
from tests.conformance.store.lab import LONG, START, Lab, SteeredClock

KEEP_ALL = Retention(succeeded=None, dead=None, cancelled=None, most=None)


async def prune(lab: Lab, retention: Retention, limit: int = 1000) -> None:
    """Prune until nothing is left to forget."""
    epoch = lab.epoch or await lab.lead()
    for _ in range(1000):
        if not await lab.store.duties.prune(epoch, retention, limit):
            return
    raise AssertionError("pruning does not come to an end")


async def test_by_age_of_each_state(lab: Lab, clock: SteeredClock) -> None:
    await lab.worker(lease=LONG)
    states = (JobState.SUCCEEDED, JobState.DEAD, JobState.CANCELLED)
    old = [await lab.ended(state) for state in states]
    clock.advance(HOUR)
    young = [await lab.ended(state) for state in states]
    await prune(lab, Retention(succeeded=30 * MINUTE, dead=2 * HOUR, cancelled=None, most=None))
    assert [await lab.state(job_id) for job_id in old] == [None, JobState.DEAD, JobState.CANCELLED]
    assert [await lab.state(job_id) for job_id in young] == list(states)
    clock.advance(90 * MINUTE)
    await prune(lab, Retention(succeeded=30 * MINUTE, dead=2 * HOUR, cancelled=None, most=None))
    assert [await lab.state(job_id) for job_id in old] == [None, None, JobState.CANCELLED]
    assert [await lab.state(job_id) for job_id in young] == [None, *states[1:]]


async def test_age_is_counted_from_the_end(lab: Lab, clock: SteeredClock) -> None:
    await lab.worker(lease=LONG)
    claimed = await lab.running()
    clock.advance(DAY)
    await lab.finish(claimed, JobState.SUCCEEDED)
    clock.advance(MINUTE)
    await prune(lab, Retention(succeeded=HOUR, dead=HOUR, cancelled=HOUR, most=None))
    assert await lab.state(claimed.id) == JobState.SUCCEEDED


async def test_by_number_the_newest_stay(lab: Lab, clock: SteeredClock) -> None:
    await lab.worker(lease=LONG)
    ids = []
    for _ in range(10):
        ids.append(await lab.ended(JobState.SUCCEEDED))
        clock.advance(SECOND)
    await prune(lab, Retention(succeeded=None, dead=None, cancelled=None, most=3))
    assert await lab.every_id() == list(reversed(ids[-3:]))


async def test_in_small_steps(lab: Lab, store: Store, clock: SteeredClock) -> None:
    await lab.worker(lease=LONG)
    await lab.insert(*[lab.job() for _ in range(10)])
    for claimed in await lab.claim():
        await lab.finish(claimed, JobState.SUCCEEDED)
    clock.advance(HOUR)
    retention = Retention(succeeded=MINUTE, dead=None, cancelled=None, most=None)
    assert await store.duties.prune(await lab.lead(), retention, 3)
    assert len(await lab.every_id()) == 7
    await prune(lab, retention, 3)
    assert await lab.every_id() == []


async def test_what_lives_is_never_forgotten(lab: Lab, clock: SteeredClock) -> None:
    await lab.worker(lease=LONG)
    running = await lab.running()
    retrying = await lab.running()
    await lab.finish(retrying, JobState.RETRYING, delay=LONG)
    live = {running.id, retrying.id, await lab.add(), await lab.add(delay=LONG)}
    clock.advance(300 * DAY)
    await prune(lab, Retention(succeeded=0, dead=0, cancelled=0, most=0))
    assert set(await lab.every_id()) == live


async def test_without_bounds_nothing_is_forgotten(lab: Lab, clock: SteeredClock) -> None:
    await lab.worker(lease=LONG)
    ids = [await lab.ended(state) for state in (JobState.SUCCEEDED, JobState.DEAD, JobState.CANCELLED)]
    clock.advance(3000 * DAY)
    await prune(lab, KEEP_ALL)
    assert await lab.every_id() == list(reversed(ids))


async def test_what_hangs_on_a_job_goes_with_it(lab: Lab, store: Store, clock: SteeredClock) -> None:
    await lab.worker(lease=LONG)
    claimed = await lab.running()
    lines = [LogLine(START, "info", "a")]
    note = Note(job_id=claimed.id, claim_id=claimed.claim_id, attempt=1, progress=b"1", logs=lines)
    await store.jobs.note([note])
    await lab.finish(claimed, JobState.RETRYING)
    await lab.promote()
    again = await lab.claim_one()
    await lab.finish(again, JobState.SUCCEEDED)
    clock.advance(HOUR)
    await prune(lab, Retention(succeeded=MINUTE, dead=None, cancelled=None, most=None))
    assert await store.queries.get(claimed.id) is None
    assert await store.queries.attempts(claimed.id) == []
    assert await store.queries.logs(claimed.id, 0, 10) == []
    # An id that was forgotten leaves nothing that a new job could inherit.
    lab.forgotten.add(claimed.id)
    await lab.insert(lab.job(id=claimed.id))
    job = await lab.get(claimed.id)
    assert (job.progress, job.checkpoint, job.attempts) == (None, None, [])


async def test_a_schedule_knows_the_newest_of_its_jobs_that_are_forgotten(
    lab: Lab, store: Store, clock: SteeredClock
) -> None:
    await lab.worker(lease=LONG)
    for name in ("mine", "other"):
        await store.schedules.put(Schedule(id=f"id-{name}", name=name, spec=b"{}", paused=False), None, 0)

    async def forgotten() -> Inserted | None:
        schedule = await store.schedules.get("mine")
        assert schedule is not None
        other = await store.schedules.get("other")
        assert other is not None
        assert other.forgotten is None
        return schedule.forgotten

    ids = []
    for state in (JobState.SUCCEEDED, JobState.DEAD, JobState.CANCELLED):
        clock.advance(SECOND)
        ids.append(await lab.ended(state, schedule_id="id-mine"))
    stays = await lab.add(schedule_id="id-other")
    clock.advance(HOUR)
    ages = {"succeeded": None, "dead": None, "cancelled": None, "most": None}
    assert await forgotten() is None
    await prune(lab, Retention(**{**ages, "dead": MINUTE}))
    dead = await forgotten()
    assert dead is not None
    assert (dead.id, dead.state, dead.created_at) == (ids[1], JobState.DEAD, START + 2 * SECOND)
    # Older ones do not take its place, newer ones do, and a change of the schedule leaves it.
    await prune(lab, Retention(**{**ages, "succeeded": MINUTE}))
    assert await forgotten() == dead
    await prune(lab, Retention(**{**ages, "cancelled": MINUTE}))
    cancelled = await forgotten()
    assert cancelled is not None
    assert (cancelled.id, cancelled.state) == (ids[2], JobState.CANCELLED)
    await store.schedules.put(Schedule(id="other", name="mine", spec=b"{}", paused=True), None, None)
    assert await forgotten() == cancelled
    # One by one, of which the newest counts.
    more = [await lab.ended(JobState.SUCCEEDED, schedule_id="id-mine") for _ in range(3)]
    clock.advance(HOUR)
    await prune(lab, Retention(**{**ages, "succeeded": MINUTE}), 1)
    newest = await forgotten()
    assert newest is not None
    assert newest.id == more[-1]
    assert await lab.every_id() == [stays]


async def test_a_key_with_a_time_of_its_own_outlives_its_job(
    lab: Lab, store: Store, clock: SteeredClock
) -> None:
    """Held until its ttl or retention, whichever the caller asked."""
    await lab.worker(lease=LONG)
    key = Idempotency(key="k", fingerprint="f", ttl=DAY)
    done = await lab.ended(JobState.SUCCEEDED, idempotency=key)
    clock.advance(HOUR)
    await prune(lab, Retention(succeeded=MINUTE, dead=None, cancelled=None, most=None))
    assert await lab.state(done) is None
    [again] = await lab.insert(lab.job(idempotency=key))
    assert (again.id, again.how, again.state) == (done, "replayed", JobState.SUCCEEDED)
    clock.advance(DAY)
    await prune(lab, KEEP_ALL)
    [again] = await lab.insert(lab.job(idempotency=key))
    assert again.how == "created"


async def test_a_key_of_a_forgotten_job_is_free(lab: Lab, clock: SteeredClock) -> None:
    await lab.worker(lease=LONG)
    key = Idempotency(key="k", fingerprint="f")
    done = await lab.ended(JobState.SUCCEEDED, idempotency=key)
    clock.advance(HOUR)
    await prune(lab, Retention(succeeded=MINUTE, dead=None, cancelled=None, most=None))
    [again] = await lab.insert(lab.job(idempotency=Idempotency(key="k", fingerprint="other")))
    assert again.how == "created"
    assert again.id != done


async def test_a_key_of_a_living_job_is_kept(lab: Lab, clock: SteeredClock) -> None:
    key = Idempotency(key="k", fingerprint="f")
    job_id = await lab.add(idempotency=key)
    clock.advance(300 * DAY)
    await prune(lab, Retention(succeeded=0, dead=0, cancelled=0, most=0))
    [again] = await lab.insert(lab.job(idempotency=key))
    assert (again.id, again.how) == (job_id, "replayed")


async def test_a_worker_with_running_jobs_is_not_forgotten_before_its_jobs_are_rescued(
    lab: Lab, clock: SteeredClock
) -> None:
    await lab.worker()
    claimed = await lab.running()
    clock.advance(300 * DAY)
    await prune(lab, Retention(succeeded=0, dead=0, cancelled=0, most=0))
    assert await lab.rescue() == 1
    assert await lab.state(claimed.id) == JobState.RETRYING


async def test_whatever_there_is_too_much_of_it_says_so(lab: Lab, store: Store, clock: SteeredClock) -> None:
    """Keys and events outnumber jobs: a pass that leaves any of them is no reason to rest."""
    epoch = await lab.lead()
    await lab.insert(
        *[lab.job(idempotency=Idempotency(key=f"k{n}", fingerprint="f", ttl=1)) for n in range(5)]
    )
    clock.advance(MINUTE)
    assert [await store.duties.prune(epoch, KEEP_ALL, 2) for _ in range(3)] == [True, True, False]
    for n in range(50):
        await lab.add(unique=Uniqueness(key=f"u{n}", states=("available",), period=1))
    clock.advance(2 * HOUR)
    passes = 1
    while await store.duties.prune(epoch, KEEP_ALL, 2):
        passes += 1
    assert passes > 20
    assert await lab.all_events() == []


async def test_a_period_outlives_the_job_that_began_it(lab: Lab, clock: SteeredClock) -> None:
    await lab.worker(lease=LONG)
    unique = Uniqueness(key="k", states=("available", "running", "succeeded"), period=HOUR)
    done = await lab.ended(JobState.SUCCEEDED, unique=unique)
    clock.advance(MINUTE)
    await prune(lab, Retention(succeeded=None, dead=None, cancelled=None, most=0))
    assert await lab.state(done) is None
    [again] = await lab.insert(lab.job(unique=unique))
    assert (again.id, again.how, again.state) == (done, "duplicate", JobState.SUCCEEDED)
    assert (again.created_at, again.run_at) == (START, START)
    clock.advance(HOUR)
    [again] = await lab.insert(lab.job(unique=unique))
    assert again.how == "created"


async def test_a_forgotten_job_that_had_given_up_its_period_holds_nothing(
    lab: Lab, clock: SteeredClock
) -> None:
    await lab.worker(lease=LONG)
    unique = Uniqueness(key="k", states=("available", "running", "succeeded"), period=HOUR)
    await lab.ended(JobState.DEAD, unique=unique)
    clock.advance(MINUTE)
    await prune(lab, Retention(succeeded=0, dead=0, cancelled=0, most=None))
    [again] = await lab.insert(lab.job(unique=unique))
    assert again.how == "created"


async def test_a_duplicates_key_goes_with_the_job_it_stands_for(lab: Lab, clock: SteeredClock) -> None:
    await lab.worker(lease=LONG)
    unique = Uniqueness(key="u", states=("available", "running"))
    claimed = await lab.running(unique=unique)
    short, long = Idempotency(key="k", fingerprint="f"), Idempotency(key="l", fingerprint="f", ttl=DAY)
    for key in (short, long):
        [answer] = await lab.insert(lab.job(unique=unique, idempotency=key))
        assert (answer.id, answer.how) == (claimed.id, "duplicate")
    await lab.finish(claimed, JobState.SUCCEEDED)
    clock.advance(HOUR)
    await prune(lab, Retention(succeeded=MINUTE, dead=None, cancelled=None, most=None))
    [answer] = await lab.insert(lab.job(idempotency=long))
    assert (answer.id, answer.how, answer.state) == (claimed.id, "replayed", JobState.SUCCEEDED)
    # Another request under the key would be a conflict as long as anything of it is kept.
    [answer] = await lab.insert(lab.job(idempotency=Idempotency(key="k", fingerprint="other")))
    assert answer.how == "created"
