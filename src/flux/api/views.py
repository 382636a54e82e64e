"""Jobs as JSON: the fields of the contract, in one struct that msgspec writes in a few microseconds."""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import UNSET, Raw, UnsetType

from flux.domain.backoff import DEFAULT
from flux.domain.duration import format_duration, format_instant
from flux.domain.job import Attempt, Job, JobError, JobState

NULL = Raw(b"null")
_BACKOFF = Raw(msgspec.json.encode(DEFAULT.to_json()))


class AttemptOut(msgspec.Struct, frozen=True):
    """One attempt of a job."""

    number: int
    worker_id: str | None
    started_at: str | None
    finished_at: str | None
    outcome: str | None
    error: JobError | None


class JobOut(msgspec.Struct):
    """A job as clients see it. What a list leaves out is absent; what a job does not have is null.

    ``schedule`` (a name), ``cron`` and ``timezone`` are of the schedule that made the job, as it was then. A ``delay``
    has become ``run_at``, and ``expires_in`` has become ``expires_at``. ``cancel_requested``: it runs and was asked to
    stop; false once it has ended, however that was. ``heartbeat_at``: when the handler of its last attempt was last
    heard to get on, to the second (a heartbeat, progress or a checkpoint); null when it said none.
    """

    id: str
    type: str
    queue: str
    state: JobState
    priority: int
    attempt: int
    max_retries: int
    created_at: str
    run_at: str
    started_at: str | None
    finished_at: str | None
    expires_at: str | None
    timeout: str | None
    worker_id: str | None
    payload: Raw | UnsetType
    result: Raw | UnsetType
    error: JobError | None
    progress: Raw
    checkpoint: Raw
    heartbeat_at: str | None
    cancel_requested: bool
    waiting_for: dict[str, Any] | None
    backoff: Raw
    idempotency_key: str | None
    unique: Raw
    tags: tuple[str, ...]
    headers: dict[str, str]
    schedule_id: str | None
    schedule: str | None
    cron: str | None
    timezone: str | None
    workflow_id: str | None
    step: str | None
    copied_from: str | None
    attempts: list[AttemptOut] | UnsetType


def job_out(job: Job, waiting_for: dict[str, Any] | None = None, *, full: bool = True) -> JobOut:
    """A job with (``full``) or without its payload, result and attempts."""
    options = job.options
    origin = options.schedule
    name, cron, timezone = (
        (None, None, None) if origin is None else (origin.name, origin.cron, origin.timezone)
    )
    created_at = format_instant(job.created_at)
    # Positional: this is on the hot path, and keywords of a struct cost half as much again.
    return JobOut(
        job.id,
        job.type,
        job.queue,
        job.state,
        job.priority,
        job.attempt,
        job.max_retries,
        created_at,
        created_at if job.run_at == job.created_at else format_instant(job.run_at),
        instant(job.started_at),
        instant(job.finished_at),
        instant(job.expires_at),
        duration(job.timeout),
        job.worker_id,
        raw(job.payload) if full else UNSET,
        raw(job.result) if full else UNSET,
        job.error,
        raw(job.progress),
        raw(job.checkpoint),
        instant(job.heartbeat_at),
        job.cancel_requested,
        waiting_for,
        options.backoff if options.backoff is not None else _BACKOFF,
        options.idempotency_key,
        options.unique if options.unique is not None else NULL,
        options.tags,
        options.headers,
        job.schedule_id,
        name,
        cron,
        timezone,
        job.workflow_id,
        options.step,
        options.copied_from,
        [_attempt(attempt) for attempt in job.attempts or ()] if full else UNSET,
    )


def instant(us: int | None) -> str | None:
    """A time, or null. Times outside the years 1 to 9999 have no text; they are shown as the nearest that has."""
    if us is None:
        return None
    try:
        return format_instant(us)
    except OverflowError:
        return "0001-01-01T00:00:00.000000Z" if us < 0 else "9999-12-31T23:59:59.999999Z"


def duration(us: int | None) -> str | None:
    """A duration, or null."""
    return None if us is None else format_duration(us)


def raw(value: bytes | None) -> Raw:
    """Stored JSON as it is, or null."""
    return NULL if value is None else Raw(value)


def _attempt(attempt: Attempt) -> AttemptOut:
    return AttemptOut(
        attempt.number,
        attempt.worker_id,
        instant(attempt.started_at),
        instant(attempt.finished_at),
        attempt.outcome,
        attempt.error,
    )
