"""The partitions of ``done``: one a day, made ahead, and dropped whole once everything in it is past retention."""

from __future__ import annotations

import logging
import re
from datetime import UTC, datetime

from flux.domain.duration import DAY
from flux.engine.ports import Retention
from flux.stores.postgres.pruning import SQL
from flux.stores.postgres.session import Session
from flux.stores.postgres.sql import Statement

logger = logging.getLogger("flux.pruner")

AHEAD = 3
"""Days for which there are partitions: so long the pruner may be away before rows land in the default one."""

_BOUND = re.compile(r"FROM \('(\d+)'\) TO \('(\d+)'\)")

_PATIENCE = "SET LOCAL lock_timeout = '500ms'"
"""Whoever waits for a lock on a whole table makes everybody behind him wait."""


async def _known(session: Session) -> dict[str, tuple[int, int]]:
    """Name, first and last (exclusive) instant of each partition but the default one."""
    found = {}
    for name, bound in await session.fetch(SQL["partitions"]):
        match = _BOUND.search(bound)
        if match is not None:
            found[name] = (int(match[1]), int(match[2]))
    return found


async def make_ahead(session: Session, now: int) -> frozenset[int]:
    """Make those of today and of the next days. A day of which the default one holds rows already stays there.

    Returns such days, by the instants (µs) at which they begin.
    """
    known = await _known(session)
    bounds = set(known.values())
    strays = set()
    today = now - now % DAY
    for day in range(today, today + (AHEAD + 1) * DAY, DAY):
        if (day, day + DAY) in bounds:
            continue
        if await session.value(SQL["in_default"], since=day, until=day + DAY):
            strays.add(day)
            continue
        await session.script(
            f"{_PATIENCE}; CREATE TABLE flux.done_{_date(day).replace('-', '')} PARTITION OF flux.done "
            f"FOR VALUES FROM ({day}) TO ({day + DAY})"
        )
    return frozenset(strays)


def warn_of(strays: frozenset[int]) -> None:
    """Say that jobs ended on days that had no partition."""
    for day in sorted(strays):
        logger.warning(
            "jobs that ended on %s are in done_default: no partition had been made for them, "
            "so they are forgotten one by one",
            _date(day),
        )


async def past_retention(session: Session, now: int, retention: Retention) -> list[str]:
    """The partitions in which nothing is to be kept any more, whatever its state. One with a workflow's jobs waits for
    that to be forgotten."""
    ages = (retention.succeeded, retention.dead, retention.cancelled)
    if None in ages:
        return []
    oldest = now - max(age for age in ages if age is not None)
    old = [name for name, (_, until) in sorted((await _known(session)).items()) if until <= oldest]
    return [name for name in old if not await session.value(_holds_steps(name))]


def _holds_steps(name: str) -> Statement:
    return Statement(
        "holds_steps", f"SELECT EXISTS (SELECT 1 FROM flux.{name} WHERE workflow_id IS NOT NULL)"
    )


_HANGING = {
    # what goes with a job that is forgotten: table -> how its rows are found
    "attempts": "h.namespace = d.namespace AND h.job_id = d.id",
    "logs": "h.namespace = d.namespace AND h.job_id = d.id",
    "progress": "h.namespace = d.namespace AND h.job_id = d.id",
    "idempotency": "h.namespace = d.namespace AND h.job_id = d.id AND h.expires_at IS NULL",
    "uniqueness": "h.namespace = d.namespace AND h.key = d.unique_key AND h.job_id = d.id AND h.expires_at IS NULL",
    "occurrences": "h.namespace = d.namespace AND h.schedule_id = d.schedule_id AND h.job_id = d.id",
}
_KEPT = {
    # keys that outlive their job remember how it ended
    "idempotency": "state = d.state",
    "uniqueness": "state = d.state, created_at = d.created_at, run_at = d.run_at",
}
_LARGE = 20
"""How many times the chunk of single jobs may hang on a partition before it takes several passes."""


async def drop(session: Session, now: int, name: str, limit: int) -> bool:
    """Forget all in a partition, and what hangs on it, a chunk of that at a time; True when there is more."""
    for table, match in _HANGING.items():
        count = await session.count(
            f"DELETE FROM flux.{table} WHERE ctid IN (SELECT h.ctid FROM flux.{table} h "
            f"JOIN flux.{name} d ON {match} LIMIT {limit * _LARGE})"
        )
        if count >= limit * _LARGE:
            return True
    for table, values in _KEPT.items():
        key = "h.key = d.unique_key AND " if table == "uniqueness" else ""
        await session.count(
            f"UPDATE flux.{table} h SET {values} FROM flux.{name} d WHERE h.namespace = d.namespace AND {key}"
            f"h.job_id = d.id AND h.expires_at > {now}"
        )
    await session.count(
        "UPDATE flux.schedules h SET forgotten_id = d.id, forgotten_state = d.state, "
        "forgotten_created_at = d.created_at, forgotten_run_at = d.run_at "
        "FROM (SELECT DISTINCT ON (namespace, schedule_id) namespace, schedule_id, id, state, created_at, run_at "
        f"FROM flux.{name} WHERE schedule_id IS NOT NULL ORDER BY namespace, schedule_id, id DESC) d "
        "WHERE h.namespace = d.namespace AND h.id = d.schedule_id "
        "AND (h.forgotten_id IS NULL OR h.forgotten_id < d.id)"
    )
    await session.script(f"{_PATIENCE}; DROP TABLE flux.{name}")
    return False


def _date(day: int) -> str:
    return datetime.fromtimestamp(day / 1_000_000, UTC).strftime("%Y-%m-%d")
