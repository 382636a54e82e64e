"""Where live jobs stand and where they go: what every store knows of them before it writes an end."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import msgspec

from flux.domain import stats
from flux.domain.job import FINAL, AttemptOutcome, ErrorKind, JobError, JobState, Outcome

GIVES_BACK = frozenset({AttemptOutcome.RELEASED, AttemptOutcome.SNOOZED})
"""Attempts that end so are not counted."""


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
    """Endings, sorted by what has to be written for them.

    ``waits`` are (job, state, run_at, error, attempts given back), ``attempts`` (job, how, error), ``finals``
    (job, state, how, result, error).
    """

    def __init__(self, endings: Sequence[Ending], now: int) -> None:
        self.waits: list[tuple[Standing, JobState, int, JobError | None, int]] = []
        self.attempts: list[tuple[Standing, str, JobError | None]] = []
        self.finals: list[tuple[Standing, JobState, str | None, bytes | None, JobError | None]] = []
        self.rollups: Counter[RollupKey] = Counter()
        for ending in endings:
            self._sort(ending, now)

    def _sort(self, ending: Ending, now: int) -> None:
        job, state, final = ending.job, ending.state, ending.state in FINAL
        # An attempt that is given back did not end its job: when a cancel does at the same moment, it waits in between.
        waits_first = not final or ending.back
        if waits_first:
            run_at, known = (job.run_at, None) if final else (ending.run_at, ending.error)
            self.waits.append((job, JobState.AVAILABLE if final else state, run_at, known, int(ending.back)))
            if ending.how is not None:
                self.attempts.append((job, ending.how, known))
        if final:
            started = None if waits_first else job.started_at
            self.finals.append((job, state, None if waits_first else ending.how, ending.result, ending.error))
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
