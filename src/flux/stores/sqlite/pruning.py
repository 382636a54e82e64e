"""Forgetting: finished jobs past retention with all that hangs on them, and whatever else grows with time."""

from __future__ import annotations

import sqlite3

from flux.domain.job import JobState
from flux.engine.ports import Retention
from flux.stores.sqlite.sql import Statements, decoder, json_text, one_value

SQL = Statements("prune.sql")

SECOND = 1_000_000
MINUTE = 60 * SECOND
HOUR = 60 * MINUTE
DAY = 24 * HOUR

EVENTS_FOR = HOUR
EVENTS_SIZE = 64_000_000
"""Events are kept for an hour, but never more than this (bytes): at thousands of jobs a second an hour is gigabytes."""

_KEEP_STATS = 7 * DAY
_FORGET = (
    "remember_states",
    "forget_idempotency",
    "forget_uniqueness",
    "forget_occurrences",
    "forget_attempts",
    "forget_logs",
    "forget_progress",
    "forget_done",
)

_ids = decoder(list[str])
_oldest = decoder(list[tuple[int, str]])
_sizes = decoder(list[tuple[int, int]])


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
) -> int:
    """One chunk of everything; the number of jobs that were forgotten."""
    ids = _aged(connection, namespace, now, retention, limit)
    if excess > len(ids) and len(ids) < limit:
        ids = _and_oldest(connection, namespace, ids, min(excess, limit))
    if ids:
        text = json_text(ids)
        for statement in _FORGET:
            values: tuple[object, ...] = (namespace, text)
            connection.execute(SQL[statement], (*values, now) if statement == "remember_states" else values)
    for statement in ("expired_idempotency", "expired_uniqueness"):
        connection.execute(SQL[statement], (namespace, now, limit))
    _events(connection, now, limit, too_large)
    _statistics(connection, namespace, now)
    connection.execute(SQL["forget_workers"], (namespace, now - HOUR))
    return len(ids)


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


def _events(connection: sqlite3.Connection, now: int, limit: int, too_large: int) -> None:
    last: int | None = one_value(connection, SQL["old_events"], (now - EVENTS_FOR, limit))
    if too_large:
        freed = 0
        for sequence, size in _sizes(one_value(connection, SQL["oldest_events"], (limit,))):
            if freed >= too_large:
                break
            freed += size
            last = max(last or 0, sequence)
    if last is not None:
        connection.execute(SQL["forget_events"], (last,))


def _statistics(connection: sqlite3.Connection, namespace: str, now: int) -> None:
    """Of counts an hour goes at a time; of depths every second, then every tenth, then one a minute is kept."""
    for oldest, forget in (("oldest_rollup", "forget_rollups"), ("oldest_depth", "forget_depths")):
        slot: int | None = one_value(connection, SQL[oldest], (namespace,))
        if slot is not None and slot < now - _KEEP_STATS:
            connection.execute(SQL[forget], (namespace, min(slot + HOUR, now - _KEEP_STATS)))
    for after, step in ((10 * MINUTE, 10 * SECOND), (DAY, MINUTE)):
        until = now - after
        connection.execute(SQL["thin_depths"], (namespace, until - 10 * MINUTE, until, step))
