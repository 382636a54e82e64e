"""What the end of an attempt writes, whoever ended it: its worker, the rescuer, a person or the clock."""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from flux.domain import stats
from flux.domain.job import FINAL, JobError, JobState, LogLine
from flux.stores.sqlite.events import EventLog
from flux.stores.sqlite.sql import Statements, decoder, json_text, one_value

SQL = Statements("finish.sql")


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
    result: str | None = None
    error: JobError | None = None
    back: bool = False


decode_standing = decoder(list[Standing])
_last_logs = decoder(list[tuple[str, int]])


def standing(connection: sqlite3.Connection, namespace: str, ids: Iterable[str]) -> dict[str, Standing]:
    """The live ones of these jobs."""
    text = one_value(connection, SQL["read_standing"], (namespace, json_text(list(ids))))
    return {job.id: job for job in decode_standing(text)}


def cancelled_error(reason: str | None) -> JobError:
    """The error of a job that somebody cancelled."""
    return JobError("cancelled", reason or "The job was cancelled.")


def end(
    connection: sqlite3.Connection, namespace: str, now: int, endings: Sequence[Ending], events: EventLog
) -> None:
    """Apply endings. Each job is live, stands as its ``Standing`` says, and appears once."""
    finals: list[tuple[Any, ...]] = []
    waits: list[tuple[Any, ...]] = []
    attempts: list[tuple[Any, ...]] = []
    rollups: Counter[tuple[str, str, str, str, int, int]] = Counter()
    for ending in endings:
        job = ending.job
        state = ending.state
        error = None if ending.error is None else json_text(ending.error)
        final = state in FINAL
        # An attempt that is given back did not end its job: when a cancel does at the same moment, it waits in between.
        waits_first = not final or ending.back
        if waits_first:
            run_at, known = (job.run_at, None) if final else (ending.run_at, error)
            waits.append((job.id, JobState.AVAILABLE if final else state, run_at, known, int(ending.back)))
            if ending.how is not None:
                attempts.append(
                    (job.id, job.id, job.attempt, job.worker_id, job.started_at, ending.how, known)
                )
        if final:
            started = None if waits_first else job.started_at
            finals.append((job.id, state, None if waits_first else ending.how, ending.result, error))
            waited = stats.NONE if started is None else stats.bucket(_wait(job, started))
            ran = stats.NONE if started is None else stats.bucket(now - started)
            kind = "" if ending.error is None else ending.error.kind
            rollups[job.queue, job.type, state, kind, waited, ran] += 1
        events.job(state, job.id, job.type, job.queue)
    shared = (namespace, now)
    SQL.many["wait_again"].run(connection, (namespace,), waits)
    SQL.many["insert_attempts"].run(connection, shared, attempts)
    if finals:
        SQL.many["move_to_done"].run(connection, shared, finals)
        connection.execute(SQL["delete_live"], (namespace, json_text([row[0] for row in finals])))
        SQL.many["count_rollups"].run(
            connection, (namespace, stats.slot_of(now)), [(*key, count) for key, count in rollups.items()]
        )


def _wait(job: Standing, started: int) -> int:
    """How long a job waited for its start. A run_at may be given that lies before the job itself."""
    return max(started - max(job.run_at, job.created_at), 0)


def keep_logs(
    connection: sqlite3.Connection, namespace: str, lines: Sequence[tuple[str, int, Sequence[LogLine]]]
) -> None:
    """Append (job, attempt, lines)."""
    if not lines:
        return
    text = one_value(connection, SQL["last_logs"], (namespace, json_text([job_id for job_id, _, _ in lines])))
    last: dict[str, int] = dict(_last_logs(text))
    rows: list[tuple[Any, ...]] = []
    for job_id, attempt, mine in lines:
        for line in mine:
            last[job_id] += 1
            rows.append((job_id, last[job_id], attempt, line.at, line.level, line.text))
    SQL.many["insert_logs"].run(connection, (namespace,), rows)
