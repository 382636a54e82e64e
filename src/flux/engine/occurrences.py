"""Planning occurrences: what becomes of one that has come due, and which one follows. Pure."""

from __future__ import annotations

from random import Random

import msgspec

from flux.domain.duration import format_duration, format_instant
from flux.domain.errors import Conflict
from flux.domain.ids import IdSource
from flux.domain.job import NewJob, Origin
from flux.domain.request import Bounds, JobRequest, validate
from flux.domain.schedule import Cron, Misfire, Overlap, ScheduleSpec
from flux.engine.ports import DueOccurrence, OccurrencePlan, Schedule

# What was accepted once stays accepted, whatever the limits are today.
_NO_BOUNDS = Bounds(max_payload=1 << 62, max_result=1 << 62)

_spec = msgspec.json.Decoder(ScheduleSpec)


def read_spec(schedule: Schedule) -> ScheduleSpec:
    """The rule and the policies of a stored schedule, paused as the row says.

    Raises ``Conflict`` when this program cannot read it: its zone has left the time zone data, a newer one wrote it.
    """
    try:
        spec = _spec.decode(schedule.spec)
    except msgspec.DecodeError as error:
        raise Conflict(f"the stored rule of {schedule.name!r} cannot be read here: {error}") from error
    return msgspec.structs.replace(spec, paused=schedule.paused)


def job_of(spec: ScheduleSpec, schedule_id: str, job_id: str) -> NewJob:
    """A job as the schedule makes them, to run at once. Raises ``Conflict`` when it cannot be read here."""
    try:
        request = msgspec.json.decode(msgspec.json.encode(spec.job), type=JobRequest)
    except msgspec.DecodeError as error:
        raise Conflict(f"the stored job of {spec.name!r} cannot be read here: {error}") from error
    job = validate(request, job_id, _NO_BOUNDS)
    job.schedule_id = schedule_id
    job.options = msgspec.structs.replace(job.options, schedule=_origin(spec))
    return job


def _origin(spec: ScheduleSpec) -> Origin:
    if isinstance(spec.rule, Cron):
        return Origin(spec.name, spec.rule.expression, spec.rule.timezone)
    return Origin(spec.name)


def occurrence_of(
    spec: ScheduleSpec, schedule_id: str, fire_at: int, ids: IdSource, random: Random
) -> NewJob:
    """The job of one fire time."""
    job = job_of(spec, schedule_id, ids.new())
    job.options = msgspec.structs.replace(job.options, fire_at=fire_at)
    job.run_at = spec.occurrence_at(fire_at, random.random())
    if job.expires_in is not None:
        # Counted from its start and not from now: the next run of a monthly job is made a month ahead.
        job.expires_at, job.expires_in = job.run_at + job.expires_in, None
    return job


def first_occurrence(schedule: Schedule, now: int, ids: IdSource, random: Random) -> NewJob | None:
    """What a schedule that was made or changed now waits for; None when it is paused or over."""
    if schedule.paused:
        return None
    spec = read_spec(schedule)
    fire_at = spec.next_after(now)
    return None if fire_at is None else occurrence_of(spec, schedule.id, fire_at, ids, random)


def plan_occurrence(due: DueOccurrence, ids: IdSource, random: Random) -> OccurrencePlan:
    """Decide by the schedule's policies.

    Exactly one occurrence follows, the earliest that has to run or be waited for. When that one is late too, it comes
    due at once and is planned in its turn: so one commit never carries a year of missed minutes.

    One that a person moved runs at the time it was given: early it stands for its fire time, late it was not missed.
    """
    schedule = due.schedule
    if schedule is None:
        return OccurrencePlan(run=False, reason="schedule deleted")
    if schedule.paused:
        return OccurrencePlan(run=False, reason="schedule paused")
    spec = read_spec(schedule)
    if due.fire_at > due.now or (due.run_at is not None and due.run_at > due.fire_at + spec.jitter):
        runs = spec.next_after(due.fire_at - 1) == due.fire_at
        fires, later = spec.fires_due(due.fire_at + 1, due.now, 1)
    else:
        fires, later = spec.fires_due(due.fire_at, due.now, 2)
        runs = bool(fires) and fires[0] == due.fire_at
        if runs:
            fires = fires[1:]
    next_at = fires[0] if fires else later
    following = () if next_at is None else (occurrence_of(spec, schedule.id, next_at, ids, random),)
    if not runs:
        return OccurrencePlan(run=False, reason=_why_not(spec, due, next_at), following=following)
    if due.previous_alive and spec.overlap is Overlap.SKIP:
        reason = "the previous occurrence has not ended (overlap: skip)"
        return OccurrencePlan(run=False, reason=reason, following=following)
    cancel = due.previous_alive and spec.overlap is Overlap.CANCEL_PREVIOUS
    return OccurrencePlan(run=True, following=following, cancel_previous=cancel)


def _why_not(spec: ScheduleSpec, due: DueOccurrence, next_at: int | None) -> str:
    if spec.next_after(due.fire_at - 1) != due.fire_at:
        return "schedule changed"
    late = f"missed by {format_duration(due.now - due.fire_at)}"
    if spec.misfire is Misfire.RUN_ONCE and next_at is not None and next_at <= due.now:
        return f"{late}; the occurrence of {format_instant(next_at)} runs in its place (misfire: run_once)"
    return f"{late} (misfire: {spec.misfire})"
