"""People's verbs on jobs: cancel, retry, change. Each one call is one transaction."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import Any

import msgspec

from flux.domain.job import WAITING, JobState
from flux.engine.ports import Change, Changed
from flux.stores.sqlite.ending import SQL as FINISH
from flux.stores.sqlite.ending import end, standing
from flux.stores.sqlite.events import EventLog
from flux.stores.sqlite.sql import Statements, decoder, json_text, one_value
from flux.stores.standing import STEP, Ending, Standing, cancelled_error

SQL = Statements("edits.sql")

_states = decoder(list[tuple[str, JobState]])
_retryable = decoder(list[tuple[str, JobState, str, str, str | None, str | None, str | None]])

_MISSING = Changed(None, False, "There is no such job.")


def cancel(
    connection: sqlite3.Connection, namespace: str, now: int, ids: Sequence[str], reason: str | None
) -> list[Changed]:
    """Waiting jobs end at once; running ones are asked to."""
    live = standing(connection, namespace, ids)
    done: dict[str, JobState] = dict(
        _states(one_value(connection, SQL["read_done_states"], (namespace, json_text(ids))))
    )
    events = EventLog(namespace, now)
    withdraw(connection, namespace, now, live.values(), reason, events)
    events.write(connection)
    answers: list[Changed] = []
    for id in ids:
        job = live.pop(id, None)
        if job is not None and job.state is JobState.RUNNING:
            answers.append(Changed(JobState.RUNNING, True))
            live[id] = job  # named twice, it is asked twice
        elif job is not None:
            answers.append(Changed(JobState.CANCELLED, True))
            done[id] = JobState.CANCELLED
        elif id in done:
            answers.append(Changed(done[id], False, f"The job has already ended as {done[id]}."))
        else:
            answers.append(_MISSING)
    return answers


def withdraw(
    connection: sqlite3.Connection,
    namespace: str,
    now: int,
    jobs: Any,
    reason: str | None,
    events: EventLog,
) -> None:
    """Cancel live jobs, whether they wait or run."""
    waiting: list[Ending] = []
    running: list[str] = []
    job: Standing
    for job in jobs:
        if job.state is JobState.RUNNING:
            running.append(job.id)
        else:
            # Its start, if there was one, is in its attempts.
            waiting.append(Ending(job, JobState.CANCELLED, None, error=cancelled_error(reason)))
    end(connection, namespace, now, waiting, events)
    if running:
        connection.execute(FINISH["request_cancel"], (namespace, json_text(running), reason))


def retry(connection: sqlite3.Connection, namespace: str, now: int, ids: Sequence[str]) -> list[Changed]:
    """Dead and cancelled jobs become available with as many attempts as at first."""
    found = _retryable(one_value(connection, SQL["read_retryable"], (namespace, json_text(ids), now)))
    done = {row[0]: row[1:] for row in found}
    live = standing(connection, namespace, ids)
    events = EventLog(namespace, now)
    answers: list[Changed] = []
    back: dict[str, None] = {}
    taken: set[str] = set()
    for id in ids:
        if id in back:
            answers.append(Changed(JobState.AVAILABLE, True))
            continue
        if id in live:
            state = live[id].state
            answers.append(
                Changed(state, False, f"The job is {state}; only dead and cancelled jobs can be retried.")
            )
            continue
        if id not in done:
            answers.append(_MISSING)
            continue
        state, type, queue, workflow_id, key, holder = done.pop(id)
        if state not in (JobState.DEAD, JobState.CANCELLED):
            answers.append(
                Changed(state, False, f"The job is {state}; only dead and cancelled jobs can be retried.")
            )
        elif workflow_id is not None:
            answers.append(Changed(state, False, STEP))
        elif holder is not None or (key is not None and key in taken):
            holder = holder or "a job retried just now"
            answers.append(
                Changed(state, False, f"Its unique key {key!r} is held by another job ({holder}).")
            )
        else:
            back[id] = None
            if key is not None:
                taken.add(key)
                connection.execute(SQL["retake_unique"], (namespace, key, id))
            events.job(JobState.AVAILABLE, id, type, queue)
            answers.append(Changed(JobState.AVAILABLE, True))
    if back:
        text = json_text(list(back))
        connection.execute(SQL["keep_last_attempt"], (namespace, text))
        connection.execute(SQL["back_to_live"], (namespace, text, now))
        connection.execute(SQL["delete_done"], (namespace, text))
        events.write(connection)
    return answers


def change(connection: sqlite3.Connection, namespace: str, now: int, job_id: str, wish: Change) -> Changed:
    """Edit a waiting job."""
    row = connection.execute(SQL["read_editable"], (namespace, job_id)).fetchone()
    if row is None:
        text = one_value(connection, SQL["read_done_states"], (namespace, json_text([job_id])))
        for _, state in _states(text):
            return Changed(state, False, f"The job has already ended as {state}.")
        return _MISSING
    state = JobState(row[0])
    if state not in WAITING:
        return Changed(state, False, f"The job is {state}; only a waiting job can be changed.")
    (
        _,
        type,
        queue,
        run_at,
        max_retries,
        attempt_limit,
        options,
        timeout,
        expires_at,
        payload,
        priority,
        attempt,
    ) = row
    if wish.max_retries is not msgspec.UNSET:
        # A job that waits has an attempt before it, whatever it has used up.
        attempt_limit = max(attempt_limit + wish.max_retries - max_retries, attempt + 1)
        max_retries = wish.max_retries
    if wish.run_at is not msgspec.UNSET:
        run_at = wish.run_at
        # A scheduled or retrying job whose time has come is made available by promotion, like any other.
        if state is JobState.AVAILABLE and run_at > now:
            state = JobState.SCHEDULED
    if wish.tags is not msgspec.UNSET:
        kept: dict[str, Any] = msgspec.json.decode(options or "{}")
        options = json_text(kept | {"tags": wish.tags})
    queue = _or(wish.queue, queue)
    connection.execute(
        SQL["edit"],
        (
            namespace,
            job_id,
            payload if wish.payload is msgspec.UNSET else wish.payload.decode(),
            queue,
            _or(wish.priority, priority),
            run_at,
            _or(wish.timeout, timeout),
            max_retries,
            attempt_limit,
            _or(wish.expires_at, expires_at),
            options,
            state,
        ),
    )
    events = EventLog(namespace, now)
    events.job(state, job_id, type, queue)
    events.write(connection)
    return Changed(state, True)


def _or(wish: Any, value: Any) -> Any:
    return value if wish is msgspec.UNSET else wish
