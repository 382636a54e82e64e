"""Forgetting: finished jobs past retention with all that hangs on them, and whatever else grows with time."""

from __future__ import annotations

from typing import Any

from flux.domain.duration import DAY, HOUR, MINUTE, SECOND
from flux.domain.job import JobState
from flux.domain.stats import SLOT
from flux.domain.workflow.states import WorkflowState
from flux.engine.ports import Retention
from flux.stores.postgres.session import Session
from flux.stores.postgres.sql import Statements

SQL = Statements("prune.sql")
_WORKFLOWS = Statements("workflows.sql")

EVENTS_FOR = HOUR
EVENTS_SIZE = 64_000_000
"""Events are kept for an hour, but never more than this (bytes): at thousands of jobs a second an hour is gigabytes."""

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


async def prune(session: Session, namespace: str, now: int, retention: Retention, limit: int) -> bool:
    """One chunk of everything; whether some of it may have more to come."""
    house = _House(session, namespace, now, limit)
    ids = await house.aged(retention)
    if retention.most is not None and len(ids) < limit:
        excess = await session.value(SQL["surplus"], namespace=namespace, most=retention.most)
        if excess > len(ids):
            ids = await house.and_oldest(ids, min(excess, limit))
    more = len(ids) >= limit
    await house.forget(ids)
    more |= await house.workflows(retention)
    for statement in ("expired_idempotency", "expired_uniqueness"):
        more |= await house.run(statement, now=now, limit=limit) >= limit
    more |= await house.events()
    more |= await house.statistics()
    await house.run("forget_workers", before=now - HOUR)
    return more


class _House:
    """One chunk, at one instant."""

    def __init__(self, session: Session, namespace: str, now: int, limit: int) -> None:
        self._session = session
        self._namespace = namespace
        self._now = now
        self._limit = limit

    async def run(self, statement: str, **values: Any) -> int:
        return await self._session.run(SQL[statement], namespace=self._namespace, **values)

    async def value(self, statement: str, **values: Any) -> Any:
        return await self._session.value(SQL[statement], namespace=self._namespace, **values)

    async def aged(self, retention: Retention) -> list[str]:
        ages = {
            JobState.SUCCEEDED: retention.succeeded,
            JobState.DEAD: retention.dead,
            JobState.CANCELLED: retention.cancelled,
            JobState.SKIPPED: retention.cancelled,  # like a cancelled one, it did nothing
        }
        ids: list[str] = []
        for state, age in ages.items():
            if age is not None and len(ids) < self._limit:
                rows = await self._session.fetch(
                    SQL["aged"],
                    namespace=self._namespace,
                    state=state,
                    before=self._now - age,
                    limit=self._limit - len(ids),
                )
                ids += [str(row[0]) for row in rows]
        return ids

    async def and_oldest(self, ids: list[str], wanted: int) -> list[str]:
        """These, and of the others those that ended first, up to ``wanted`` in all."""
        candidates: list[tuple[int, str]] = []
        for state in (JobState.SUCCEEDED, JobState.DEAD, JobState.CANCELLED, JobState.SKIPPED):
            rows = await self._session.fetch(
                SQL["oldest_of_state"], namespace=self._namespace, state=state, limit=wanted
            )
            candidates += [(row[0], str(row[1])) for row in rows]
        chosen = dict.fromkeys(ids)
        for _, id in sorted(candidates):
            if len(chosen) >= wanted:
                break
            chosen[id] = None
        return list(chosen)

    async def forget(self, ids: list[str]) -> None:
        if not ids:
            return
        for statement in _FORGET:
            values = {"now": self._now} if statement.startswith("remember") else {}
            await self.run(statement, ids=ids, **values)

    async def workflows(self, retention: Retention) -> bool:
        """Runs go whole, with all their jobs, by how they ended and when; a definition goes with its last run."""
        ages = {
            WorkflowState.SUCCEEDED: retention.succeeded,
            WorkflowState.FAILED: retention.dead,
            WorkflowState.CANCELLED: retention.cancelled,
        }
        aged: list[str] = []
        for state, age in ages.items():
            if age is not None and len(aged) < self._limit:
                room = self._limit - len(aged)
                aged += await self._names("aged_workflows", state=state, before=self._now - age, limit=room)
        if not aged:
            return False
        jobs = await self._names("jobs_of_workflows", ids=aged, limit=self._limit)
        await self.forget(jobs)
        if gone := await self._names("without_jobs", ids=aged):
            await self._write("forget_steps", ids=gone)
            definitions = sorted(set(await self._names("forget_workflows", ids=gone)))
            held = await self._names("take_definitions", ids=definitions)
            if unused := await self._names("unused_definitions", ids=held):
                for statement in ("forget_definition_steps", "forget_definition_edges", "forget_definitions"):
                    await self._write(statement, ids=unused)
        return len(aged) >= self._limit or len(jobs) >= self._limit

    async def _names(self, statement: str, **values: Any) -> list[str]:
        rows = await self._session.fetch(_WORKFLOWS[statement], namespace=self._namespace, **values)
        return [str(row[0]) for row in rows]

    async def _write(self, statement: str, **values: Any) -> None:
        await self._session.run(_WORKFLOWS[statement], namespace=self._namespace, **values)

    async def events(self) -> bool:
        """A batch of changes is one event, and a job of its own three: so several times as many as of jobs."""
        limit = self._limit * 10
        surplus = await self.value("surplus_events", most=EVENTS_SIZE)
        last, count = await self._session.row(
            SQL["old_events"],
            namespace=self._namespace,
            before=self._now - EVENTS_FOR,
            surplus=surplus,
            limit=limit,
        ) or (None, 0)
        if last is None:
            return False
        await self.run("forget_events", last=last)
        return bool(count >= limit)

    async def statistics(self) -> bool:
        """Counts are added up once their time is over, and go by hours; of depths every second, then every tenth, then
        one a minute is kept."""
        more = await self._add_up()
        for oldest, forget in (("oldest_rollup", "forget_rollups"), ("oldest_depth", "forget_depths")):
            slot = await self.value(oldest)
            if slot is not None and slot < self._now - _KEEP_STATS:
                until = min(slot + HOUR, self._now - _KEEP_STATS)
                await self.run(forget, until=until)
                more |= until < self._now - _KEEP_STATS
        for after, step in ((10 * MINUTE, 10 * SECOND), (DAY, MINUTE)):
            until = self._now - after
            await self.run("thin_depths", since=until - 10 * MINUTE, until=until, step=step)
        return more

    async def _add_up(self) -> bool:
        until = self._now - self._now % SLOT - 2 * SLOT
        slot = await self.value("loose_rollups", since=until - HOUR, until=until)
        if slot is None:
            return False
        await self.run("add_up_rollups", since=slot, until=slot + 6 * SLOT)
        return True
