"""Schedules: rules and their pending occurrences change together, and no fire time happens twice."""

from __future__ import annotations

import asyncio

import pytest

from flux.domain.duration import HOUR, MINUTE, SECOND
from flux.domain.errors import Conflict, KeyTaken
from flux.domain.job import Idempotency, JobState, NewJob, Options
from flux.engine.ports import PARKED, Change, DueOccurrence, OccurrencePlan, Retention, Schedule, Store
from tests.conformance.store.lab import LONG, START, Lab, SteeredClock


def rule(name: str = "nightly", **fields: object) -> Schedule:
    fields.setdefault("id", f"id-{name}")
    fields.setdefault("spec", b'{"every":60}')
    fields.setdefault("paused", False)
    return Schedule(name=name, **fields)  # type: ignore[arg-type]


def occurrence(lab: Lab, fire_at: int, name: str = "nightly") -> NewJob:
    return lab.job(run_at=fire_at, schedule_id=f"id-{name}", options=Options(fire_at=fire_at))


class Planner:
    """Runs every occurrence, lets the next one follow a minute later, and remembers what it was asked."""

    def __init__(self, lab: Lab, **plan: object) -> None:
        self.lab = lab
        self.asked: list[DueOccurrence] = []
        self.plan = {"run": True, **plan}

    def __call__(self, due: DueOccurrence) -> OccurrencePlan:
        self.asked.append(due)
        plan = dict(self.plan)
        if due.schedule is not None and "following" not in plan:
            plan["following"] = (occurrence(self.lab, due.fire_at + MINUTE, due.schedule.name),)
        return OccurrencePlan(**plan)  # type: ignore[arg-type]


async def test_a_schedule_is_stored_with_its_pending_occurrence(
    lab: Lab, store: Store, clock: SteeredClock
) -> None:
    clock.advance(SECOND)
    pending = occurrence(lab, START + MINUTE)
    put = await store.schedules.put(rule(declared=True), pending, 0)
    assert (put.id, put.name, put.spec, put.paused, put.declared) == (
        "id-nightly",
        "nightly",
        b'{"every":60}',
        False,
        True,
    )
    assert (put.version, put.created_at, put.updated_at) == (1, START + SECOND, START + SECOND)
    assert (put.next_job_id, put.next_fire_at, put.last_fire_at) == (pending.id, START + MINUTE, None)
    assert await store.schedules.get("nightly") == put
    job = await lab.get(pending.id)
    assert (job.state, job.run_at, job.schedule_id) == (
        JobState.SCHEDULED,
        START + MINUTE,
        "id-nightly",
    )
    assert job.options.fire_at == START + MINUTE
    assert await lab.every_id(schedule_id="id-nightly") == [pending.id]
    assert await store.schedules.occurrences("id-nightly", 10) == [(START + MINUTE, pending.id, "scheduled")]


async def test_what_does_not_exist(store: Store) -> None:
    assert await store.schedules.get("none") is None
    assert await store.schedules.list(None, 10) == []
    assert not await store.schedules.delete("none")
    assert await store.schedules.occurrences("none", 10) == []


async def test_they_are_listed_by_name(lab: Lab, store: Store) -> None:
    for name in ("c", "a", "d", "b"):
        await store.schedules.put(rule(name), None, 0)
    assert [each.name for each in await store.schedules.list(None, 3)] == ["a", "b", "c"]
    assert [each.name for each in await store.schedules.list("c", 3)] == ["d"]


async def test_a_change_counts_and_replaces_the_pending_occurrence(
    lab: Lab, store: Store, clock: SteeredClock
) -> None:
    first = occurrence(lab, START + HOUR)
    await store.schedules.put(rule(), first, 0)
    clock.advance(SECOND)
    second = occurrence(lab, START + MINUTE)
    put = await store.schedules.put(rule(spec=b'{"every":1}'), second, 1)
    assert (put.version, put.created_at, put.updated_at) == (2, START, START + SECOND)
    assert (put.spec, put.next_job_id, put.next_fire_at) == (
        b'{"every":1}',
        second.id,
        START + MINUTE,
    )
    # The one that was withdrawn will never run: it is gone or cancelled.
    assert await lab.state(first.id) in (None, JobState.CANCELLED)
    clock.advance(2 * HOUR)
    await lab.promote(Planner(lab, following=()))
    assert await lab.state(first.id) in (None, JobState.CANCELLED)
    assert await lab.state(second.id) == JobState.AVAILABLE


async def test_a_change_without_an_occurrence_withdraws_the_pending_one(lab: Lab, store: Store) -> None:
    pending = occurrence(lab, START + HOUR)
    await store.schedules.put(rule(), pending, 0)
    put = await store.schedules.put(rule(paused=True), None, None)
    assert (put.paused, put.next_job_id, put.next_fire_at) == (True, None, None)
    assert await lab.state(pending.id) in (None, JobState.CANCELLED)


async def test_the_same_fire_time_again_after_it_was_withdrawn(
    lab: Lab, store: Store, clock: SteeredClock
) -> None:
    """Pausing and resuming a schedule must not lose the next run."""
    await store.schedules.put(rule(), occurrence(lab, START + MINUTE), 0)
    await store.schedules.put(rule(paused=True), None, None)
    again = occurrence(lab, START + MINUTE)
    put = await store.schedules.put(rule(), again, None)
    assert put.next_fire_at == START + MINUTE
    assert put.next_job_id is not None
    clock.advance(MINUTE)
    planner = Planner(lab)
    await lab.promote(planner)
    assert [due.fire_at for due in planner.asked] == [START + MINUTE]
    assert await lab.state(put.next_job_id) == JobState.AVAILABLE


async def test_a_change_that_expects_another_version_is_refused(lab: Lab, store: Store) -> None:
    with pytest.raises(Conflict):
        await store.schedules.put(rule(), None, 1)
    pending = occurrence(lab, START + HOUR)
    await store.schedules.put(rule(), pending, 0)
    for expect in (0, 2, 7):
        with pytest.raises(Conflict):
            await store.schedules.put(rule(spec=b"{}"), occurrence(lab, START + MINUTE), expect)
    kept = await store.schedules.get("nightly")
    assert kept is not None
    assert (kept.version, kept.spec, kept.next_job_id) == (1, b'{"every":60}', pending.id)
    assert await lab.every_id() == [pending.id]
    assert (await store.schedules.put(rule(), occurrence(lab, START + HOUR), 1)).version == 2


# --- the key of a schedule ---------------------------------------------------------------------------------------

KEY = Idempotency(key="k", fingerprint="f1")
OTHER = Idempotency(key="k", fingerprint="f2")


async def test_a_key_answers_with_the_schedule_that_it_stands_for(
    lab: Lab, store: Store, clock: SteeredClock
) -> None:
    first = rule(id=lab.new_id())
    pending = occurrence(lab, START + MINUTE)
    put = await store.schedules.put(first, pending, 0, KEY)
    clock.advance(SECOND)
    again = await store.schedules.put(
        rule("another", id=lab.new_id(), spec=b"{}"), occurrence(lab, START + HOUR), 0, KEY
    )
    assert again == put
    assert await store.schedules.get("another") is None
    assert await lab.every_id() == [pending.id]
    assert await lab.every_id(key="k") == [pending.id]


async def test_a_key_stands_for_a_schedule_that_was_changed_since(lab: Lab, store: Store) -> None:
    first = rule(id=lab.new_id())
    await store.schedules.put(first, occurrence(lab, START + MINUTE), 0, KEY)
    changed = await store.schedules.put(rule(paused=True, spec=b"{}"), None, 1)
    assert await store.schedules.put(rule(id=lab.new_id()), occurrence(lab, START + HOUR), 0, KEY) == changed


async def test_a_key_of_another_request_is_taken(lab: Lab, store: Store) -> None:
    await store.schedules.put(rule(id=lab.new_id()), None, 0, KEY)
    with pytest.raises(KeyTaken):
        await store.schedules.put(rule("another", id=lab.new_id()), occurrence(lab, START + HOUR), 0, OTHER)
    [[refused]] = [await store.jobs.insert([[lab.job(idempotency=OTHER)]])]
    assert isinstance(refused, KeyTaken)
    assert "'k'" in str(refused)
    assert await lab.every_id() == []
    assert [each.name for each in await store.schedules.list(None, 10)] == ["nightly"]


async def test_a_key_of_a_job_is_taken(lab: Lab, store: Store) -> None:
    await lab.insert(lab.job(idempotency=KEY))
    with pytest.raises(KeyTaken):
        await store.schedules.put(rule(id=lab.new_id()), None, 0, OTHER)
    assert await store.schedules.list(None, 10) == []


async def test_a_refused_schedule_holds_no_key(lab: Lab, store: Store) -> None:
    await store.schedules.put(rule(id=lab.new_id()), None, 0)
    with pytest.raises(Conflict) as refused:
        await store.schedules.put(rule(id=lab.new_id()), None, 0, KEY)
    assert not isinstance(refused.value, KeyTaken)
    assert (await store.schedules.put(rule("b", id=lab.new_id()), None, 0, OTHER)).name == "b"


async def test_a_key_outlives_the_first_occurrence_and_goes_with_its_schedule(
    lab: Lab, store: Store, clock: SteeredClock
) -> None:
    pending = occurrence(lab, START + MINUTE)
    put = await store.schedules.put(rule(id=lab.new_id()), pending, 0, KEY)
    await lab.worker(lease=LONG)
    clock.advance(MINUTE)
    await lab.promote(Planner(lab, following=()))
    await lab.finish(await lab.claim_one(), JobState.SUCCEEDED)
    clock.advance(HOUR)
    await store.duties.prune(lab.epoch, Retention(succeeded=0, dead=0, cancelled=0, most=None), 100)
    assert await lab.state(pending.id) is None
    assert (await store.schedules.put(rule("b", id=lab.new_id()), None, 0, KEY)).id == put.id
    assert await store.schedules.delete("nightly")
    assert (await store.schedules.put(rule("b", id=lab.new_id()), None, 0, OTHER)).name == "b"


async def test_a_key_of_a_schedule_is_free_after_its_time(
    lab: Lab, store: Store, clock: SteeredClock
) -> None:
    short = Idempotency(key="k", fingerprint="f1", ttl=MINUTE)
    first = await store.schedules.put(rule(id=lab.new_id()), None, 0, short)
    clock.advance(MINUTE - 1)
    assert (await store.schedules.put(rule("b", id=lab.new_id()), None, 0, short)).id == first.id
    clock.advance(1)
    assert (await store.schedules.put(rule("b", id=lab.new_id()), None, 0, short)).name == "b"
    clock.advance(MINUTE)
    await lab.insert(lab.job(idempotency=OTHER))


async def test_one_request_of_two_processes_makes_one_schedule(lab: Lab) -> None:
    handles = [lab.store, *[await lab.another() for _ in range(3)]]
    put = await asyncio.gather(
        *[
            store.schedules.put(rule(f"n{index}", id=lab.new_id()), None, 0, KEY)
            for index, store in enumerate(handles)
        ]
    )
    assert len({schedule.id for schedule in put}) == 1
    assert len(await lab.store.schedules.list(None, 10)) == 1


# --- several processes --------------------------------------------------------------------------------------------


async def test_two_processes_declare_one_schedule(lab: Lab) -> None:
    handles = [lab.store, *[await lab.another() for _ in range(3)]]
    jobs = [occurrence(lab, START + MINUTE) for _ in handles]
    await asyncio.gather(
        *[store.schedules.put(rule(), job, None) for store, job in zip(handles, jobs, strict=True)]
    )
    schedule = await lab.store.schedules.get("nightly")
    assert schedule is not None
    states = await lab.store.queries.states([job.id for job in jobs])
    live = [job_id for job_id, state in states.items() if state == JobState.SCHEDULED]
    assert live == [schedule.next_job_id]


async def test_one_of_several_creators_wins(lab: Lab) -> None:
    handles = [lab.store, *[await lab.another() for _ in range(3)]]
    answers = await asyncio.gather(
        *[store.schedules.put(rule(), occurrence(lab, START + MINUTE), 0) for store in handles],
        return_exceptions=True,
    )
    assert sorted(type(answer).__name__ for answer in answers) == [
        "Conflict",
        "Conflict",
        "Conflict",
        "Schedule",
    ]
    assert len(await lab.every_id()) == 1


# --- firing -------------------------------------------------------------------------------------------------------


async def test_a_due_occurrence_runs_and_the_next_one_follows(
    lab: Lab, store: Store, clock: SteeredClock
) -> None:
    pending = occurrence(lab, START + MINUTE)
    await store.schedules.put(rule(), pending, 0)
    clock.advance(MINUTE + SECOND)
    planner = Planner(lab)
    assert await lab.promote(planner) == 1
    [due] = planner.asked
    assert (due.job_id, due.fire_at, due.previous_alive) == (pending.id, START + MINUTE, False)
    assert due.now == START + MINUTE + SECOND
    assert due.schedule is not None
    assert (due.schedule.name, due.schedule.spec) == ("nightly", b'{"every":60}')
    assert await lab.state(pending.id) == JobState.AVAILABLE
    schedule = await store.schedules.get("nightly")
    assert schedule is not None
    assert (schedule.last_fire_at, schedule.next_fire_at) == (START + MINUTE, START + 2 * MINUTE)
    assert schedule.next_job_id is not None
    assert await lab.state(schedule.next_job_id) == JobState.SCHEDULED
    assert await store.schedules.occurrences("id-nightly", 10) == [
        (START + 2 * MINUTE, schedule.next_job_id, "scheduled"),
        (START + MINUTE, pending.id, "available"),
    ]
    assert (schedule.version, schedule.updated_at) == (1, START), "firing is no change of the rule"


async def test_an_occurrence_that_is_not_to_run_is_cancelled_with_the_reason(
    lab: Lab, store: Store, clock: SteeredClock
) -> None:
    pending = occurrence(lab, START + MINUTE)
    await store.schedules.put(rule(), pending, 0)
    clock.advance(MINUTE)
    await lab.promote(Planner(lab, run=False, reason="the previous one still runs"))
    job = await lab.get(pending.id)
    assert job.state == JobState.CANCELLED
    assert job.error is not None
    assert "the previous one still runs" in job.error.message
    schedule = await store.schedules.get("nightly")
    assert schedule is not None
    assert schedule.next_fire_at == START + 2 * MINUTE


async def test_a_schedule_that_ends_has_nothing_pending(lab: Lab, store: Store, clock: SteeredClock) -> None:
    await store.schedules.put(rule(), occurrence(lab, START + MINUTE), 0)
    clock.advance(MINUTE)
    await lab.promote(Planner(lab, following=()))
    schedule = await store.schedules.get("nightly")
    assert schedule is not None
    assert (schedule.next_job_id, schedule.next_fire_at) == (None, None)
    assert schedule.last_fire_at == START + MINUTE


async def test_several_may_follow(lab: Lab, store: Store, clock: SteeredClock) -> None:
    """After a time without anybody, misfire=run_all makes each occurrence that was missed."""
    await store.schedules.put(rule(), occurrence(lab, START + MINUTE), 0)
    clock.advance(3 * MINUTE)
    missed = tuple(occurrence(lab, START + n * MINUTE) for n in (2, 3, 4))

    def plan(due: DueOccurrence) -> OccurrencePlan:
        return OccurrencePlan(run=True, following=missed if due.fire_at == START + MINUTE else ())

    await lab.promote(plan)
    await lab.promote(plan)
    states = [await lab.state(job.id) for job in missed]
    assert states == [JobState.AVAILABLE, JobState.AVAILABLE, JobState.SCHEDULED]


async def test_a_fire_time_happens_once(lab: Lab, store: Store, clock: SteeredClock) -> None:
    """The plan may give a fire time that has its occurrence already, as after a change of the rule."""
    await store.schedules.put(rule(), occurrence(lab, START + MINUTE), 0)
    clock.advance(MINUTE)
    await lab.promote(Planner(lab))
    schedule = await store.schedules.get("nightly")
    assert schedule is not None
    # Declared once more with the fire time that is already there.
    await store.schedules.put(rule(), occurrence(lab, START + 2 * MINUTE), None)
    clock.advance(MINUTE)
    await lab.promote(Planner(lab))
    await store.schedules.put(rule(), occurrence(lab, START + 2 * MINUTE), None)
    clock.advance(SECOND)
    await lab.promote(Planner(lab))
    fired = [await lab.get(job_id) for job_id in await lab.every_id()]
    ran = [job.options.fire_at for job in fired if job.state == JobState.AVAILABLE]
    assert sorted(ran) == [START + MINUTE, START + 2 * MINUTE]


async def test_the_previous_one_is_known_to_live(lab: Lab, store: Store, clock: SteeredClock) -> None:
    await lab.worker(lease=LONG)
    await store.schedules.put(rule(), occurrence(lab, START + MINUTE), 0)
    clock.advance(MINUTE)
    planner = Planner(lab)
    await lab.promote(planner)
    clock.advance(MINUTE)
    await lab.promote(planner)
    claimed = await lab.claim()
    clock.advance(MINUTE)
    await lab.promote(planner)
    for each in [*claimed, *await lab.claim()]:
        await lab.finish(each, JobState.SUCCEEDED)
    clock.advance(MINUTE)
    await lab.promote(planner)
    assert [due.previous_alive for due in planner.asked] == [False, True, True, False]


async def test_the_previous_one_is_cancelled_when_the_plan_says_so(
    lab: Lab, store: Store, clock: SteeredClock
) -> None:
    await lab.worker(lease=LONG)
    await store.schedules.put(rule(), occurrence(lab, START + MINUTE), 0)
    clock.advance(MINUTE)
    await lab.promote(Planner(lab))
    running = await lab.claim_one()
    clock.advance(MINUTE)
    planner = Planner(lab, cancel_previous=True)
    await lab.promote(planner)
    assert (await store.leases.orders("w1")).cancels == (running.id,)
    await lab.finish(running, JobState.CANCELLED)
    [waiting] = await lab.claim(slots=1)
    await lab.finish(waiting, JobState.AVAILABLE)
    clock.advance(MINUTE)
    await lab.promote(planner)
    assert await lab.state(waiting.id) == JobState.CANCELLED
    assert len(await lab.claim()) == 1


async def test_a_snoozed_occurrence_is_not_planned_again(lab: Lab, store: Store, clock: SteeredClock) -> None:
    await lab.worker(lease=LONG)
    pending = occurrence(lab, START + MINUTE)
    await store.schedules.put(rule(), pending, 0)
    clock.advance(MINUTE)
    planner = Planner(lab)
    await lab.promote(planner)
    claimed = await lab.claim_one()
    await lab.finish(claimed, JobState.SCHEDULED, delay=SECOND)
    clock.advance(SECOND)
    refusing = Planner(lab, run=False, reason="planned twice")
    assert await lab.promote(refusing) == 1
    assert refusing.asked == []
    assert await lab.state(pending.id) == JobState.AVAILABLE


async def test_a_retried_occurrence_is_not_planned_again(lab: Lab, store: Store, clock: SteeredClock) -> None:
    await lab.worker(lease=LONG)
    await store.schedules.put(rule(), occurrence(lab, START + MINUTE), 0)
    clock.advance(MINUTE)
    await lab.promote(Planner(lab))
    claimed = await lab.claim_one()
    await lab.finish(claimed, JobState.RETRYING, delay=SECOND)
    clock.advance(SECOND)
    refusing = Planner(lab, run=False, reason="planned twice")
    assert await lab.promote(refusing) == 1
    assert refusing.asked == []
    assert await lab.state(claimed.id) == JobState.AVAILABLE


async def test_an_occurrence_that_a_person_moved_or_cancelled(
    lab: Lab, store: Store, clock: SteeredClock
) -> None:
    """Cancelling the pending occurrence skips it; it must not end the schedule."""
    pending = occurrence(lab, START + MINUTE)
    await store.schedules.put(rule(), pending, 0)
    [answer] = await store.jobs.cancel([pending.id], "not today")
    assert answer.done
    clock.advance(MINUTE)
    await lab.promote(Planner(lab))
    schedule = await store.schedules.get("nightly")
    assert schedule is not None
    assert schedule.next_job_id is not None, "nothing follows any more"
    assert await lab.state(schedule.next_job_id) == JobState.SCHEDULED


async def test_one_that_a_person_put_off_holds_nothing_up(
    lab: Lab, store: Store, clock: SteeredClock
) -> None:
    pending = occurrence(lab, START + MINUTE)
    await store.schedules.put(rule(), pending, 0)
    assert (await store.jobs.change(pending.id, Change(run_at=START + HOUR))).done
    assert await store.duties.next_due() == START + MINUTE
    clock.advance(MINUTE)
    planner = Planner(lab)
    assert await lab.promote(planner) == 0
    assert [(due.fire_at, due.run_at) for due in planner.asked] == [(START + MINUTE, None)]
    schedule = await store.schedules.get("nightly")
    assert schedule is not None
    assert schedule.next_fire_at == START + 2 * MINUTE
    assert await lab.state(pending.id) == JobState.SCHEDULED
    clock.advance(HOUR)
    planner = Planner(lab)
    await lab.promote(planner)
    assert (START + MINUTE, START + HOUR) in [(due.fire_at, due.run_at) for due in planner.asked]
    assert await lab.state(pending.id) == JobState.AVAILABLE


async def test_what_jitter_delays_was_not_put_off(lab: Lab, store: Store, clock: SteeredClock) -> None:
    pending = lab.job(run_at=START + 90 * SECOND, options=Options(fire_at=START + MINUTE))
    await store.schedules.put(rule(spec=b'{"jitter":60000000}'), pending, 0)
    clock.advance(MINUTE)
    planner = Planner(lab)
    await lab.promote(planner)
    assert planner.asked == []
    assert await store.duties.next_due() == START + 90 * SECOND


async def test_one_that_a_person_started_early_holds_nothing_up(
    lab: Lab, store: Store, clock: SteeredClock
) -> None:
    """Cancelled and retried it is available, and nobody takes it."""
    pending = occurrence(lab, START + MINUTE)
    await store.schedules.put(rule(), pending, 0)
    await store.jobs.cancel([pending.id], None)
    await store.jobs.retry([pending.id])
    clock.advance(MINUTE)
    planner = Planner(lab)
    await lab.promote(planner)
    clock.advance(MINUTE)
    await lab.promote(planner)
    assert [due.previous_alive for due in planner.asked] == [False, True]
    assert len(await lab.every_id()) == 3


async def test_what_follows_late_is_planned_too(lab: Lab, store: Store, clock: SteeredClock) -> None:
    """So that the policies are asked, and that it has a successor however long it runs."""
    await lab.worker(lease=LONG)
    await store.schedules.put(rule(), occurrence(lab, START + MINUTE), 0)
    clock.advance(10 * MINUTE + SECOND)
    asked: list[int] = []

    def newest(due: DueOccurrence) -> OccurrencePlan:
        asked.append(due.fire_at)
        late = due.fire_at < START + 10 * MINUTE
        following = START + 10 * MINUTE if late else due.fire_at + MINUTE
        return OccurrencePlan(run=not late, following=(occurrence(lab, following),))

    # At the same instant, or it might be missed in its turn.
    assert await lab.promote(newest) == 1
    assert asked == [START + MINUTE, START + 10 * MINUTE]
    claimed = await lab.claim_one()
    assert (await lab.get(claimed.id)).options.fire_at == START + 10 * MINUTE
    for _ in range(3):
        clock.advance(MINUTE)
        await lab.promote(newest)
    assert asked[2:] == [START + n * MINUTE for n in (11, 12, 13)]


async def test_it_goes_on_past_fire_times_that_have_their_occurrence(
    lab: Lab, store: Store, clock: SteeredClock
) -> None:
    """As after the clock was set back."""
    await store.schedules.put(rule(), occurrence(lab, START + MINUTE), 0)
    for _ in range(5):
        clock.advance(MINUTE)
        await lab.promote(Planner(lab))
    clock.advance(-5 * MINUTE)
    put = await store.schedules.put(rule(), occurrence(lab, START), None)
    assert put.next_job_id is not None
    await lab.promote(Planner(lab))
    schedule = await store.schedules.get("nightly")
    assert schedule is not None
    assert schedule.next_fire_at == START + 6 * MINUTE
    assert schedule.next_job_id is not None


async def test_a_put_whose_fire_time_is_taken_goes_on_from_there(
    lab: Lab, store: Store, clock: SteeredClock
) -> None:
    await store.schedules.put(rule(), occurrence(lab, START + MINUTE), 0)
    clock.advance(MINUTE)
    await lab.promote(Planner(lab))
    put = await store.schedules.put(rule(), occurrence(lab, START + MINUTE), None)
    assert (put.next_job_id, put.next_fire_at) == (None, START + MINUTE)
    assert await store.duties.next_due() == START + MINUTE
    await lab.promote(Planner(lab))
    schedule = await store.schedules.get("nightly")
    assert schedule is not None
    assert schedule.next_fire_at == START + 2 * MINUTE
    assert schedule.next_job_id is not None
    assert await lab.state(schedule.next_job_id) == JobState.SCHEDULED
    assert await store.duties.next_due() == START + 2 * MINUTE


@pytest.mark.parametrize("gone", [False, True])
async def test_a_plan_that_fails_pauses_its_schedule_and_stops_nothing_else(
    lab: Lab, store: Store, clock: SteeredClock, gone: bool
) -> None:
    bad, good = occurrence(lab, START + MINUTE, "bad"), occurrence(lab, START + MINUTE, "good")
    await store.schedules.put(rule("bad", note="ours"), bad, 0)
    await store.schedules.put(rule("good"), good, 0)
    plain = await lab.add(delay=SECOND)
    if gone:
        await store.jobs.cancel([bad.id], None)
    clock.advance(MINUTE)
    planner = Planner(lab)

    def failing(due: DueOccurrence) -> OccurrencePlan:
        if due.schedule is not None and due.schedule.name == "bad":
            raise ValueError("no such zone")
        return planner(due)

    assert await lab.promote(failing) == 2
    assert await lab.state(plain) == await lab.state(good.id) == JobState.AVAILABLE
    job = await lab.get(bad.id)
    assert job.error is not None
    assert (job.state, "no such zone" in job.error.message) == (JobState.CANCELLED, not gone)
    schedule = await store.schedules.get("bad")
    assert schedule is not None
    assert (schedule.paused, schedule.version, schedule.updated_at) == (True, 2, START + MINUTE)
    assert schedule.note == f"{PARKED}no such zone\nours"
    assert (schedule.next_job_id, schedule.next_fire_at) == (None, None)
    assert ("bad", "paused") in [(event.key, event.state) for event in await lab.all_events()]
    assert await store.duties.next_due() == START + 2 * MINUTE


async def test_a_retry_that_its_successor_replaces_is_not_announced(
    lab: Lab, store: Store, clock: SteeredClock
) -> None:
    await lab.worker(lease=LONG)
    await store.schedules.put(rule(), occurrence(lab, START + MINUTE), 0)
    clock.advance(MINUTE)
    await lab.promote(Planner(lab))
    await lab.finish(claimed := await lab.claim_one(), JobState.RETRYING, delay=SECOND)
    clock.advance(MINUTE)
    assert await lab.promote(Planner(lab, cancel_previous=True)) == 1
    story = [event.state for event in await lab.all_events() if event.key == claimed.id]
    assert story[-2:] == ["retrying", "cancelled"]


async def test_deleting_withdraws_what_is_pending_and_keeps_what_ran(
    lab: Lab, store: Store, clock: SteeredClock
) -> None:
    first = occurrence(lab, START + MINUTE)
    await store.schedules.put(rule(), first, 0)
    clock.advance(MINUTE)
    await lab.promote(Planner(lab))
    schedule = await store.schedules.get("nightly")
    assert schedule is not None
    assert schedule.next_job_id is not None
    assert await store.schedules.delete("nightly")
    assert await store.schedules.get("nightly") is None
    assert await lab.state(first.id) == JobState.AVAILABLE
    assert await lab.state(schedule.next_job_id) in (None, JobState.CANCELLED)
    clock.advance(HOUR)
    planner = Planner(lab)
    await lab.promote(planner)
    assert planner.asked == []
    assert not await store.schedules.delete("nightly")


async def test_a_deleted_name_can_be_used_again(lab: Lab, store: Store, clock: SteeredClock) -> None:
    await store.schedules.put(rule(), occurrence(lab, START + MINUTE), 0)
    await store.schedules.delete("nightly")
    pending = lab.job(run_at=START + MINUTE, schedule_id="id-2", options=Options(fire_at=START + MINUTE))
    put = await store.schedules.put(rule(id="id-2"), pending, 0)
    assert (put.version, put.next_job_id) == (1, pending.id)
    assert await lab.state(pending.id) == JobState.SCHEDULED
