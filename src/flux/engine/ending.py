"""What a handler's value or exception means, first by itself (``Ending``), then for its job (``Outcome``)."""

from __future__ import annotations

import traceback

import msgspec

from flux.domain.backoff import DEFAULT, Backoff
from flux.domain.job import (
    UNMENDABLE,
    AttemptOutcome,
    ClaimedJob,
    ErrorKind,
    JobError,
    JobState,
    LogLine,
    Options,
    Outcome,
)
from flux.domain.request import encode_value, json_problem
from flux.engine.handler import BadArguments, BadResult, Cancel, Discard, RetryAfter, Snooze

MOST_MESSAGE = 4_000
MOST_TRACEBACK = 16_000


class Ending(msgspec.Struct, frozen=True):
    """How a handler ended. ``final``: no retry can mend it; ``delay``: the wish of Snooze or RetryAfter (µs)."""

    how: AttemptOutcome
    result: bytes | None = None
    error: JobError | None = None
    delay: int | None = None
    final: bool = False


NOTHING = Ending(AttemptOutcome.SUCCEEDED, b"null")


def of_value(value: object, most: int) -> Ending:
    """The end of a handler that returned ``value``; ``most`` bounds the bytes of its JSON."""
    if value is None:
        return NOTHING
    if isinstance(value, Snooze):
        return Ending(AttemptOutcome.SNOOZED, delay=max(0, value.delay))
    if isinstance(value, Cancel):
        return Ending(AttemptOutcome.CANCELLED, error=_error(ErrorKind.CANCELLED, value.reason), final=True)
    if isinstance(value, Discard):
        return Ending(AttemptOutcome.FAILED, error=_error(ErrorKind.DISCARDED, value.reason), final=True)
    try:
        raw = encode_value(value)
    except ValueError as error:
        return failed(ErrorKind.BAD_RESULT, f"the handler's result is not JSON: {error}")
    if len(raw) > most:
        return failed(
            ErrorKind.RESULT_TOO_LARGE,
            f"the handler's result has {len(raw)} bytes; the limit is {most} (FLUX_MAX_RESULT)",
        )
    if problem := json_problem(raw, most):
        return failed(ErrorKind.BAD_RESULT, f"the handler's result {problem}")
    return Ending(AttemptOutcome.SUCCEEDED, raw)


def of_exception(error: BaseException, no_retry: tuple[type[BaseException], ...] = ()) -> Ending:
    """The end of a handler that raised ``error``: any exception, SystemExit and KeyboardInterrupt included."""
    if isinstance(error, BadArguments):
        return failed(ErrorKind.BAD_ARGUMENTS, str(error))
    if isinstance(error, BadResult):
        return failed(ErrorKind.BAD_RESULT, str(error))
    delay = getattr(error, "delay", None) if isinstance(error, RetryAfter) else None
    name = type(error).__name__
    try:
        said = str(error)
    except Exception:
        said = "(its text cannot be read)"
    message = f"{name}: {said}" if said else name
    # Our own frames say nothing about the handler: the trace starts where its code starts.
    frames = error.__traceback__
    while frames is not None and _ours(frames.tb_frame.f_code.co_filename):
        frames = frames.tb_next
    try:
        text = "".join(traceback.format_exception(type(error), error, frames))
    except Exception:
        text = message
    return Ending(
        AttemptOutcome.FAILED,
        error=_error(ErrorKind.EXCEPTION, message, text),
        delay=delay if isinstance(delay, int) else None,
        final=bool(no_retry) and isinstance(error, no_retry),
    )


def failed(kind: ErrorKind, message: str) -> Ending:
    """A failure that Flux itself found."""
    return Ending(AttemptOutcome.FAILED, error=_error(kind, message), final=kind in UNMENDABLE)


def timed_out(why: str) -> Ending:
    """A deadline passed first."""
    return Ending(AttemptOutcome.TIMEOUT, error=_error(ErrorKind.TIMEOUT, why))


def cancelled(reason: str | None) -> Ending:
    """A person cancelled it while it ran."""
    return Ending(
        AttemptOutcome.CANCELLED, error=_error(ErrorKind.CANCELLED, reason or "cancelled"), final=True
    )


SKIPPED = Ending(AttemptOutcome.SKIPPED)
"""The condition of a workflow's step was false: no handler was called."""

RELEASED = Ending(AttemptOutcome.RELEASED)
"""Interrupted by a graceful shutdown: handed back, no attempt counted."""


def outcome_of(ending: Ending, job: ClaimedJob, random: float, logs: list[LogLine] | None = None) -> Outcome:
    """What becomes of the job: the retry and its time, or the end."""
    how, error = ending.how, ending.error
    state, delay = JobState.SUCCEEDED, 0
    if how is AttemptOutcome.SUCCEEDED:
        pass
    elif how is AttemptOutcome.SNOOZED:
        state, delay = JobState.SCHEDULED, ending.delay or 0
    elif how is AttemptOutcome.RELEASED:
        state = JobState.AVAILABLE
    elif how is AttemptOutcome.CANCELLED:
        state = JobState.CANCELLED
    elif how is AttemptOutcome.SKIPPED:
        state = JobState.SKIPPED
    elif ending.final or job.attempt >= job.attempt_limit:
        state = JobState.DEAD
    else:
        state = JobState.RETRYING
        delay = backoff_of(job).delay(job.attempt, random) if ending.delay is None else max(0, ending.delay)
    return Outcome(
        job_id=job.id,
        claim_id=job.claim_id,
        attempt=job.attempt,
        state=state,
        how=how,
        delay=delay,
        result=ending.result,
        error=error,
        logs=logs,
        in_workflow=job.workflow_id is not None,
    )


def backoff_of(job: ClaimedJob) -> Backoff:
    """The job's backoff, or the default."""
    if job.options is None:
        return DEFAULT
    raw = msgspec.json.decode(job.options, type=Options).backoff
    return DEFAULT if raw is None else Backoff.parse(msgspec.json.decode(raw))


def _error(kind: ErrorKind, message: str, trace: str | None = None) -> JobError:
    if trace is not None and len(trace) > MOST_TRACEBACK:
        trace = trace[: MOST_TRACEBACK // 4] + "\n… (cut)\n" + trace[-MOST_TRACEBACK * 3 // 4 :]
    return JobError(kind, _keepable(message[:MOST_MESSAGE]), None if trace is None else _keepable(trace))


def _keepable(text: str) -> str:
    """Without what no store can keep: NUL characters and lone surrogates."""
    return text.replace("\0", "\N{REPLACEMENT CHARACTER}").encode("utf-8", "replace").decode()


def _ours(file: str) -> bool:
    return "/flux/engine/" in file or "/flux/sdk/" in file
