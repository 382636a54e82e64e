"""Rows as people read them: a job and its attempts, fetched as JSON built by SQLite.

A cursor's step gives the GIL away and takes it back, which costs more than the row while the event loop is busy:
so what a person asks for comes as one row of JSON, and msgspec makes structs of it.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from flux.domain.job import NO_OPTIONS, Attempt, Job, JobError, JobState, Options


class _Row(msgspec.Struct, array_like=True):
    """The columns of ``_columns``, in its order. Documents are the texts that are stored."""

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
    timeout: int | None
    expires_at: int | None
    started_at: int | None
    finished_at: int | None
    worker_id: str | None
    error: str | None
    schedule_id: str | None
    workflow_id: str | None
    step: int | None
    cancel_requested: int
    options: str | None
    how: str | None
    progress: str | None
    checkpoint: str | None
    heartbeat_at: int | None
    payload: str | None
    result: str | None
    attempts: list[_AttemptRow] | None


class _AttemptRow(msgspec.Struct, array_like=True):
    number: int
    worker_id: str | None
    started_at: int | None
    finished_at: int
    outcome: str
    error: str | None


_options = msgspec.json.Decoder(Options)
_error = msgspec.json.Decoder(JobError)
_rows = msgspec.json.Decoder(list[_Row])

ATTEMPTS = """json((
    SELECT json_group_array(json_array(number, worker_id, started_at, finished_at, outcome, error))
    FROM (SELECT * FROM attempts WHERE namespace = j.namespace AND job_id = j.id ORDER BY sequence)))"""


def _columns(table: str, full: bool) -> str:
    """One row of ``table`` (named ``j``) with its progress (``p``), as a JSON array."""
    live = table == "live"
    return f"""json_array(
        j.id, j.type, j.queue, j.priority, j.state, j.attempt, j.attempt_limit, j.max_retries, j.created_at,
        j.run_at, j.timeout, j.expires_at, j.started_at, {"NULL" if live else "j.finished_at"}, j.worker_id,
        j.error, j.schedule_id, j.workflow_id, j.step, {"j.cancel_requested" if live else "0"}, j.options,
        {"NULL" if live else "j.how"}, p.progress, p.checkpoint,
        CASE WHEN p.heartbeat_at >= j.started_at THEN p.heartbeat_at END, {"j.payload" if full else "NULL"},
        {"NULL" if live or not full else "j.result"}, {ATTEMPTS if full else "NULL"})"""


def select_jobs(full: bool) -> str:
    """The SQL that gives the jobs of ``:ids`` (a JSON array) as one JSON array, in no particular order."""
    parts = " UNION ALL ".join(
        f"""SELECT {_columns(table, full)} AS row
        FROM {table} AS j LEFT JOIN progress AS p ON p.namespace = j.namespace AND p.job_id = j.id
        WHERE j.namespace = :namespace AND j.id IN (SELECT value FROM json_each(:ids))"""
        for table in ("live", "done")
    )
    return f"SELECT json_group_array(json(row)) FROM ({parts})"


def read_jobs(text: str) -> list[Job]:
    """The jobs in the answer of ``select_jobs``."""
    return [_job(row) for row in _rows.decode(text)]


def _job(row: _Row) -> Job:
    return Job(
        id=row.id,
        type=row.type,
        queue=row.queue,
        priority=row.priority,
        state=row.state,
        attempt=row.attempt,
        attempt_limit=row.attempt_limit,
        max_retries=row.max_retries,
        created_at=row.created_at,
        run_at=row.run_at,
        payload=_bytes(row.payload),
        timeout=row.timeout,
        expires_at=row.expires_at,
        started_at=row.started_at,
        finished_at=row.finished_at,
        worker_id=row.worker_id,
        result=_bytes(row.result),
        error=read_error(row.error),
        progress=_bytes(row.progress),
        checkpoint=_bytes(row.checkpoint),
        heartbeat_at=row.heartbeat_at,
        schedule_id=row.schedule_id,
        workflow_id=row.workflow_id,
        step=row.step,
        cancel_requested=bool(row.cancel_requested),
        options=NO_OPTIONS if row.options is None else _options.decode(row.options),
        attempts=None if row.attempts is None else _attempts(row, row.attempts),
    )


def _attempts(row: _Row, earlier: Iterable[_AttemptRow]) -> list[Attempt]:
    """All attempts: the rows of those that did not end the job, and the last one, which is on the job itself."""
    found = [
        Attempt(
            one.number, one.worker_id, one.started_at, one.finished_at, one.outcome, read_error(one.error)
        )
        for one in earlier
    ]
    if row.state is JobState.RUNNING:
        found.append(Attempt(row.attempt, row.worker_id, row.started_at, None, None, None))
    elif row.how is not None and row.attempt:
        found.append(
            Attempt(
                row.attempt,
                row.worker_id,
                row.started_at,
                row.finished_at,
                row.how,
                read_error(row.error),
            )
        )
    return found


def read_error(text: str | None) -> JobError | None:
    """A stored error."""
    return None if text is None else _error.decode(text)


def _bytes(text: str | None) -> bytes | None:
    return None if text is None else text.encode()
