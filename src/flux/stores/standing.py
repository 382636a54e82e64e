"""Where live jobs stand and where they go: what every store knows of them before it writes an end."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence

import msgspec

from flux.domain import stats
from flux.domain.job import FINAL, AttemptOutcome, ErrorKind, JobError, JobState, LogLine, Outcome
from flux.engine.ports import Rescued

GIVES_BACK = frozenset({AttemptOutcome.RELEASED, AttemptOutcome.SNOOZED})
"""Attempts that end so are not counted."""

STEP = "The job is a step of a workflow, which has gone on from its end."
"""Why such a job cannot be retried by itself."""


class Standing(msgspec.Struct, array_like=True):
    """What is known of a live job before something happens to it."""

    id: str
    state: JobState
    claim_id: int | None
    type: str
    queue: str
    run_at: int
    started_at: int | None
    attempt: int
    attempt_limit: int
    worker_id: str | None
    cancel_requested: int
    cancel_reason: str | None
    schedule_id: str | None
    created_at: int
    workflow_id: str | None = None
    step: int | None = None


class Ending(msgspec.Struct):
    """Where a live job goes. ``how`` is None when no attempt ended with it; ``back`` gives the attempt back."""

    job: Standing
    state: JobState
    how: str | None
    run_at: int = 0
    result: bytes | None = None
    error: JobError | None = None
    back: bool = False


RollupKey = tuple[str, str, str, str, int, int]
"""Queue, type, outcome, kind, and the buckets of waiting and running time."""


class Ledger:
    """Endings, sorted by what has to be written for them, as rows of plain values.

    ``waits`` are (id, state, run_at, error, attempts given back), ``attempts`` (id, number, worker, started_at, how,
    error), ``finals`` (id, state, how, result, error). ``document`` makes of JSON what the driver takes for it.
    """

    def __init__(self, endings: Sequence[Ending], now: int, document: Callable[[bytes], bytes | str]) -> None:
        self.waits: list[tuple[str, JobState, int, bytes | str | None, int]] = []
        self.attempts: list[tuple[str, int, str | None, int | None, str, bytes | str | None]] = []
        self.finals: list[tuple[str, JobState, str | None, bytes | str | None, bytes | str | None]] = []
        self.rollups: Counter[RollupKey] = Counter()
        for ending in endings:
            job, state, final, how = ending.job, ending.state, ending.state in FINAL, ending.how
            error = None if ending.error is None else document(msgspec.json.encode(ending.error))
            started = job.started_at
            # An attempt that is given back did not end its job: when a cancel does at that moment, it waits between.
            if not final or ending.back:
                run_at, known = (job.run_at, None) if final else (ending.run_at, error)
                between = JobState.AVAILABLE if final else state
                self.waits.append((job.id, between, run_at, known, int(ending.back)))
                if how is not None:
                    self.attempts.append((job.id, job.attempt, job.worker_id, started, how, known))
                how = started = None
            if final:
                result = None if ending.result is None else document(ending.result)
                self.finals.append((job.id, state, how, result, error))
                waited = stats.NONE if started is None else stats.bucket(_wait(job, started))
                ran = stats.NONE if started is None else stats.bucket(now - started)
                kind = "" if ending.error is None else ending.error.kind
                self.rollups[job.queue, job.type, state, kind, waited, ran] += 1


def _wait(job: Standing, started: int) -> int:
    """How long a job waited for its start. A run_at may be given that lies before the job itself."""
    return max(started - max(job.run_at, job.created_at), 0)


def cancelled_error(reason: str | None) -> JobError:
    """The error of a job that somebody cancelled."""
    return JobError("cancelled", reason or "The job was cancelled.")


def applied(outcome: Outcome, job: Standing, now: int) -> Ending:
    """What an outcome makes of the job it belongs to: a cancel that was asked wins over whatever would run it again."""
    state, error = outcome.state, outcome.error
    if job.cancel_requested and (state not in FINAL or outcome.how is AttemptOutcome.CANCELLED):
        state, error = JobState.CANCELLED, cancelled_error(job.cancel_reason)
    back = outcome.how in GIVES_BACK
    return Ending(job, state, outcome.how, now + outcome.delay, outcome.result, error, back)


class Settled(msgspec.Struct):
    """What a batch of outcomes comes to: an answer for each, and what is to be written."""

    answers: list[JobState | None]
    endings: list[Ending]
    logs: list[tuple[str, int, Sequence[LogLine]]]
    """Job, attempt, lines."""


def settle(running: dict[str, Standing], outcomes: Iterable[Outcome], now: int) -> Settled:
    """Apply outcomes to the jobs that are under their claims; the others are answered None. Empties ``running``."""
    settled = Settled([], [], [])
    for outcome in outcomes:
        job = running.get(outcome.job_id)
        if job is None or not runs_under(job, outcome.claim_id):
            settled.answers.append(None)
            continue
        del running[outcome.job_id]  # repeated in one batch, the second comes too late
        ending = applied(outcome, job, now)
        settled.endings.append(ending)
        if outcome.logs:
            settled.logs.append((job.id, job.attempt, outcome.logs))
        settled.answers.append(ending.state)
    return settled


def runs_under(job: Standing, claim_id: int) -> bool:
    """Whether the claim is still the one that may say something about the job."""
    return job.claim_id == claim_id and job.state is JobState.RUNNING


def expired(job: Standing) -> Ending:
    """Where a job goes that is of no use any more."""
    error = JobError(ErrorKind.EXPIRED, "The job had not started by the time it was to expire.")
    return Ending(job, JobState.CANCELLED, None, error=error)


def buried(job: Standing) -> Ending:
    """Where a job goes that nobody can run."""
    words = f"No live worker of queue {job.queue!r} knows the type {job.type!r}."
    return Ending(job, JobState.DEAD, None, error=JobError(ErrorKind.UNKNOWN_TYPE, words))


def rescued(job: Standing, lost: bool, now: int) -> Ending:
    """Where a job goes whose attempt nobody will end: its worker was ``lost``, or its time is over."""
    if lost:
        how = AttemptOutcome.LOST
        error = JobError(ErrorKind.LOST, f"Its worker {job.worker_id} was lost: it did not renew its lease.")
    else:
        how = AttemptOutcome.TIMEOUT
        error = JobError(ErrorKind.TIMEOUT, "The attempt ran past its deadline and did not end.")
    if job.cancel_requested:
        return Ending(job, JobState.CANCELLED, how, error=cancelled_error(job.cancel_reason))
    state = JobState.DEAD if job.attempt >= job.attempt_limit else JobState.RETRYING
    return Ending(job, state, how, run_at=now, error=error)


def report(ending: Ending, lost: bool) -> Rescued:
    """What is told of a rescue."""
    return Rescued(
        job_id=ending.job.id,
        type=ending.job.type,
        worker_id=ending.job.worker_id,
        why=AttemptOutcome.LOST if lost else AttemptOutcome.TIMEOUT,
        state=ending.state,
    )
