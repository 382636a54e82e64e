"""A job: its states, the legal transitions between them, and the values that travel with it.

Times and durations are integer microseconds (times: since the Unix epoch, UTC, by the store's clock). Payload,
result, progress, checkpoint and backoff are JSON *bytes*: encoded and size-checked in the process that has the
value, so that no value can poison a batch.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import TYPE_CHECKING, TypeAlias

import msgspec

if TYPE_CHECKING:
    MaybeRaw: TypeAlias = msgspec.Raw | None
else:
    # msgspec cannot decode a union with Raw; a field that is absent is None all the same, by its default.
    MaybeRaw = msgspec.Raw


class JobState(StrEnum):
    """Where a job stands in its life. Everything but the last four is *live*, the last four are *done*."""

    BLOCKED = "blocked"
    SCHEDULED = "scheduled"
    AVAILABLE = "available"
    RUNNING = "running"
    RETRYING = "retrying"
    SUCCEEDED = "succeeded"
    DEAD = "dead"
    CANCELLED = "cancelled"
    SKIPPED = "skipped"


_S = JobState

TRANSITIONS: Mapping[JobState, frozenset[JobState]] = MappingProxyType(
    {
        _S.BLOCKED: frozenset({_S.SCHEDULED, _S.AVAILABLE, _S.CANCELLED, _S.SKIPPED}),
        _S.SCHEDULED: frozenset({_S.AVAILABLE, _S.CANCELLED}),
        _S.RETRYING: frozenset({_S.AVAILABLE, _S.CANCELLED}),
        # available -> dead: a type that no live worker knows
        _S.AVAILABLE: frozenset({_S.RUNNING, _S.SCHEDULED, _S.CANCELLED, _S.DEAD}),
        # running -> available: given back at shutdown; running -> scheduled: snoozed. Neither counts an attempt.
        # running -> skipped: the worker found a step's condition false, and called no handler
        _S.RUNNING: frozenset(
            {_S.SUCCEEDED, _S.RETRYING, _S.DEAD, _S.CANCELLED, _S.SKIPPED, _S.AVAILABLE, _S.SCHEDULED}
        ),
        # a person's retry
        _S.DEAD: frozenset({_S.AVAILABLE}),
        _S.CANCELLED: frozenset({_S.AVAILABLE}),
        _S.SUCCEEDED: frozenset(),
        _S.SKIPPED: frozenset(),
    }
)
"""The one table of legal transitions; stores, simulation and documentation are checked against it."""

FINAL = frozenset({_S.SUCCEEDED, _S.DEAD, _S.CANCELLED, _S.SKIPPED})
LIVE = frozenset(set(_S) - FINAL)
WAITING = frozenset({_S.BLOCKED, _S.SCHEDULED, _S.AVAILABLE, _S.RETRYING})
"""Live and not running: such a job may still be changed, and a cancel of it is final at once."""


def may_become(old: JobState, new: JobState) -> bool:
    """Whether the transition is legal."""
    return new in TRANSITIONS[old]


class AttemptOutcome(StrEnum):
    """How one attempt ended."""

    SUCCEEDED = "succeeded"
    FAILED = "failed"
    TIMEOUT = "timeout"
    LOST = "lost"
    CANCELLED = "cancelled"
    SKIPPED = "skipped"
    SNOOZED = "snoozed"
    RELEASED = "released"


class ErrorKind(StrEnum):
    """Why an attempt or a job failed. From ``UNKNOWN_TYPE`` on a retry cannot mend it."""

    EXCEPTION = "exception"
    TIMEOUT = "timeout"
    LOST = "lost"
    CRASHED = "crashed"
    CANCELLED = "cancelled"
    EXPIRED = "expired"
    DISCARDED = "discarded"
    UNKNOWN_TYPE = "unknown_type"
    BAD_ARGUMENTS = "bad_arguments"
    BAD_RESULT = "bad_result"
    RESULT_TOO_LARGE = "result_too_large"
    EXPRESSION = "expression"


UNMENDABLE = frozenset(
    {
        ErrorKind.UNKNOWN_TYPE,
        ErrorKind.BAD_ARGUMENTS,
        ErrorKind.BAD_RESULT,
        ErrorKind.RESULT_TOO_LARGE,
        ErrorKind.EXPRESSION,
    }
)


class JobError(msgspec.Struct, frozen=True, omit_defaults=False):
    """Why a job or an attempt failed, in words first. ``traceback`` has the handler's own frames."""

    kind: str
    message: str
    traceback: str | None = None


class Origin(msgspec.Struct, frozen=True, omit_defaults=True):
    """The schedule that made a job, as it was then. Without ``cron`` it goes by an interval, or was for once."""

    name: str
    cron: str | None = None
    timezone: str | None = None


class Options(msgspec.Struct, frozen=True, omit_defaults=True):
    """What only some jobs carry; kept as one JSON column so that a plain job stays small.

    ``backoff`` is the JSON form that ``Backoff.parse`` reads, None for the default. ``unique`` is the request's
    own form, kept to be shown, as is ``schedule``. ``fire_at`` is the fire time of a schedule's occurrence. ``step`` is
    the name of a workflow's step, ``definition`` the id of what its expressions stand in (None: it has none).
    """

    tags: tuple[str, ...] = ()
    headers: dict[str, str] = {}
    backoff: MaybeRaw = None
    idempotency_key: str | None = None
    unique: MaybeRaw = None
    copied_from: str | None = None
    step: str | None = None
    definition: str | None = None
    fire_at: int | None = None
    schedule: Origin | None = None


NO_OPTIONS = Options()


class Idempotency(msgspec.Struct, frozen=True):
    """A caller's key, the fingerprint of its request, and how long it is held (None: as long as the job)."""

    key: str
    fingerprint: str
    ttl: int | None = None


class Uniqueness(msgspec.Struct, frozen=True):
    """At most one job with this key, while it is in one of ``states``, for ``period`` from its creation if given."""

    key: str
    states: tuple[str, ...]
    period: int | None = None


class NewJob(msgspec.Struct, kw_only=True):
    """A validated job, ready to be inserted. ``created_at`` and what ``delay`` counts from are the store's clock."""

    id: str
    type: str
    payload: bytes = b"{}"
    queue: str = "default"
    priority: int = 5
    delay: int = 0
    run_at: int | None = None
    timeout: int | None = None
    max_retries: int = 3
    expires_at: int | None = None
    expires_in: int | None = None
    options: Options = NO_OPTIONS
    idempotency: Idempotency | None = None
    unique: Uniqueness | None = None
    schedule_id: str | None = None
    workflow_id: str | None = None


class Inserted(msgspec.Struct, frozen=True):
    """The store's answer for one new job.

    ``how``: ``created``; ``replayed`` (the idempotency key already had this job); ``duplicate`` (a unique job
    already stands for it). For the last two ``id`` and ``state`` are those of the job that was there.
    """

    id: str
    state: JobState
    created_at: int
    run_at: int
    how: str = "created"


class ClaimedJob(msgspec.Struct, array_like=True):
    """What a worker needs to run one attempt. ``claim_id`` is the fence of everything it writes afterwards.

    ``step``: the number of the step that it is in its workflow.
    """

    id: str
    claim_id: int
    type: str
    queue: str
    priority: int
    payload: str
    attempt: int
    attempt_limit: int
    timeout: int | None
    options: str | None
    created_at: int
    run_at: int
    started_at: int
    schedule_id: str | None
    workflow_id: str | None
    step: int | None = None
    checkpoint: str | None = None


class LogLine(msgspec.Struct, array_like=True):
    """One line that a handler logged."""

    at: int
    level: str
    text: str


class Outcome(msgspec.Struct, kw_only=True):
    """How an attempt ended and what becomes of its job; the store applies it only under ``claim_id``.

    ``state`` is where the job goes from ``running``; ``delay`` (µs from the store's now) belongs to ``retrying`` and
    ``scheduled``. A job whose cancel was requested goes to ``cancelled`` instead of any state that would run it again.
    ``in_workflow``: other steps may wait for this end. It saves the store a look, and decides nothing.
    """

    job_id: str
    claim_id: int
    attempt: int
    state: JobState
    how: AttemptOutcome
    delay: int = 0
    result: bytes | None = None
    error: JobError | None = None
    logs: list[LogLine] | None = None
    in_workflow: bool = False


class Attempt(msgspec.Struct, frozen=True):
    """One attempt, as people see it."""

    number: int
    worker_id: str | None
    started_at: int | None
    finished_at: int | None
    outcome: str | None
    error: JobError | None


class Job(msgspec.Struct, kw_only=True):
    """A job as it is read. ``payload``, ``result`` and ``attempts`` are None where the reader left them out.

    ``step``: the number of the step that it is in its workflow.
    ``heartbeat_at``: when the handler of its last attempt was last heard (a heartbeat, progress or a checkpoint).
    """

    id: str
    type: str
    queue: str
    priority: int
    state: JobState
    attempt: int
    attempt_limit: int
    max_retries: int
    created_at: int
    run_at: int
    payload: bytes | None = None
    timeout: int | None = None
    expires_at: int | None = None
    started_at: int | None = None
    finished_at: int | None = None
    worker_id: str | None = None
    result: bytes | None = None
    error: JobError | None = None
    progress: bytes | None = None
    checkpoint: bytes | None = None
    heartbeat_at: int | None = None
    schedule_id: str | None = None
    workflow_id: str | None = None
    step: int | None = None
    cancel_requested: bool = False
    options: Options = NO_OPTIONS
    attempts: list[Attempt] | None = None


def as_job(job: NewJob, inserted: Inserted) -> Job:
    """A job as it stands right after its insert, without reading it back; of a forgotten one, what is known of it."""
    expires_at = job.expires_at
    if job.expires_in is not None:
        expires_at = inserted.created_at + job.expires_in
    return Job(
        id=inserted.id,
        type=job.type,
        queue=job.queue,
        priority=job.priority,
        state=inserted.state,
        attempt=0,
        attempt_limit=job.max_retries + 1,
        max_retries=job.max_retries,
        created_at=inserted.created_at,
        run_at=inserted.run_at,
        payload=job.payload,
        timeout=job.timeout,
        expires_at=expires_at,
        schedule_id=job.schedule_id,
        workflow_id=job.workflow_id,
        options=job.options,
        attempts=[],
    )
