"""Forgetting: finished jobs past retention with all that hangs on them, and whatever else grows with time."""

from __future__ import annotations

import sqlite3

from flux.domain.duration import DAY, HOUR, MINUTE, SECOND
from flux.domain.job import JobState
from flux.domain.workflow.states import WorkflowState
from flux.engine.ports import Retention
from flux.stores.sqlite.sql import Statements, decoder, json_text, one_value

SQL = Statements("prune.sql")
_WORKFLOWS = Statements("workflows.sql")

EVENTS_FOR = HOUR
EVENTS_SIZE = 64_000_000
"""Events are kept for an hour, but never more than this (bytes): at thousands of jobs a second an hour is gigabytes."""

_EVENTS_AT_ONCE = 8_000_000
"""Bytes of events that one chunk forgets: few large ones take as long as many small ones."""

_KEEP_STATS = 7 * DAY
_FORGET = (
    "remember_states",
    "forget_idempotency",
    "remember_holders",
    "forget_uniqueness",
    "forget_occurrences",
    "mark_schedules",
    "forget_attempts",
    "forget_logs",
    "forget_progress",
    "forget_done",
)

_ids = decoder(list[str])
_oldest = decoder(list[tuple[int, str]])


def surplus(connection: sqlite3.Connection, namespace: str, retention: Retention) -> int:
    """How many finished jobs there are too many; a walk along an index, so not for the writer's thread."""
    if retention.most is None:
        return 0
    count: int = one_value(connection, SQL["count_done"], (namespace,))
    return max(count - retention.most, 0)


def oversize(connection: sqlite3.Connection) -> int:
    """By how many bytes the events are too large."""
    size: int = one_value(connection, SQL["size_of_events"], ())
    return max(size - EVENTS_SIZE, 0)


def prune(
    connection: sqlite3.Connection,
    namespace: str,
    now: int,
    retention: Retention,
    limit: int,
    excess: int,
    too_large: int,
) -> bool:
    """One chunk of everything; whether some of it may have more to come."""
    ids = _aged(connection, namespace, now, retention, limit)
    if excess > len(ids) and len(ids) < limit:
        ids = _and_oldest(connection, namespace, ids, min(excess, limit))
    _forget(connection, namespace, now, ids)
    more = len(ids) >= limit
    more |= _workflows(connection, namespace, now, retention, limit)
    for statement in ("expired_idempotency", "expired_uniqueness"):
        more |= connection.execute(SQL[statement], (namespace, now, limit)).rowcount >= limit
    more |= _events(connection, now, limit, too_large)
    more |= _statistics(connection, namespace, now)
    connection.execute(SQL["forget_workers"], (namespace, now - HOUR))
    return more


def _forget(connection: sqlite3.Connection, namespace: str, now: int, ids: list[str]) -> None:
    if ids:
        values = (namespace, json_text(ids))
        for statement in _FORGET:
            connection.execute(SQL[statement], (*values, now) if statement.startswith("remember") else values)


def _workflows(
    connection: sqlite3.Connection, namespace: str, now: int, retention: Retention, limit: int
) -> bool:
    """Runs go whole, with all their jobs, by how they ended and when; a definition goes with its last run."""

    def names(statement: str, *values: object) -> list[str]:
        found: list[str] = _ids(one_value(connection, _WORKFLOWS[statement], (namespace, *values)))
        return found

    ages = {
        WorkflowState.SUCCEEDED: retention.succeeded,
        WorkflowState.FAILED: retention.dead,
        WorkflowState.CANCELLED: retention.cancelled,
    }
    aged: list[str] = []
    for state, age in ages.items():
        if age is not None and len(aged) < limit:
            aged += names("aged_workflows", state, now - age, limit - len(aged))
    if not aged:
        return False
    jobs = names("jobs_of_workflows", json_text(aged), limit)
    _forget(connection, namespace, now, jobs)
    if gone := names("without_jobs", json_text(aged)):
        definitions = names("definitions_of", json_text(gone))
        for statement in ("forget_steps", "forget_workflows"):
            connection.execute(_WORKFLOWS[statement], (namespace, json_text(gone)))
        unused = json_text(names("unused_definitions", json_text(definitions)))
        for statement in ("forget_definition_steps", "forget_definition_edges", "forget_definitions"):
            connection.execute(_WORKFLOWS[statement], (namespace, unused))
    return len(aged) >= limit or len(jobs) >= limit


def _aged(
    connection: sqlite3.Connection, namespace: str, now: int, retention: Retention, limit: int
) -> list[str]:
    ages = {
        JobState.SUCCEEDED: retention.succeeded,
        JobState.DEAD: retention.dead,
        JobState.CANCELLED: retention.cancelled,
        JobState.SKIPPED: retention.cancelled,  # like a cancelled one, it did nothing
    }
    ids: list[str] = []
    for state, age in ages.items():
        if age is not None and len(ids) < limit:
            text = one_value(connection, SQL["aged"], (namespace, state, now - age, limit - len(ids)))
            ids += _ids(text)
    return ids


def _and_oldest(connection: sqlite3.Connection, namespace: str, ids: list[str], wanted: int) -> list[str]:
    """These, and of the others those that ended first, up to ``wanted`` in all."""
    candidates: list[tuple[int, str]] = []
    for state in (JobState.SUCCEEDED, JobState.DEAD, JobState.CANCELLED, JobState.SKIPPED):
        candidates += _oldest(one_value(connection, SQL["oldest_of_state"], (namespace, state, wanted)))
    chosen = dict.fromkeys(ids)
    for _, id in sorted(candidates):
        if len(chosen) >= wanted:
            break
        chosen[id] = None
    return list(chosen)


def _events(connection: sqlite3.Connection, now: int, limit: int, too_large: int) -> bool:
    """A batch of changes is one event, and a job of its own three: so several times as many as of jobs."""
    limit *= 10
    values = (now - EVENTS_FOR, too_large, limit, _EVENTS_AT_ONCE)
    last, count, size = connection.execute(SQL["old_events"], values).fetchone()
    if last is None:
        return False
    connection.execute(SQL["forget_events"], (last,))
    return bool(count >= limit or size >= _EVENTS_AT_ONCE)


def _statistics(connection: sqlite3.Connection, namespace: str, now: int) -> bool:
    """Of counts an hour goes at a time; of depths every second, then every tenth, then one a minute is kept."""
    more = False
    for oldest, forget in (("oldest_rollup", "forget_rollups"), ("oldest_depth", "forget_depths")):
        slot: int | None = one_value(connection, SQL[oldest], (namespace,))
        if slot is not None and slot < now - _KEEP_STATS:
            until = min(slot + HOUR, now - _KEEP_STATS)
            connection.execute(SQL[forget], (namespace, until))
            more |= until < now - _KEEP_STATS
    for after, step in ((10 * MINUTE, 10 * SECOND), (DAY, MINUTE)):
        until = now - after
        connection.execute(SQL["thin_depths"], (namespace, until - 10 * MINUTE, until, step))
    return more
