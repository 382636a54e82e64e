"""Schedules and their pending occurrences, which change together."""

from __future__ import annotations

from typing import TypeAlias, TypeVar

import msgspec

from flux.domain.errors import Conflict
from flux.domain.job import Idempotency, Inserted, JobState, NewJob
from flux.engine.ports import Schedule
from flux.stores.postgres.clock import clock
from flux.stores.postgres.database import Database
from flux.stores.postgres.editing import withdraw
from flux.stores.postgres.ending import standing
from flux.stores.postgres.events import EventLog
from flux.stores.postgres.inserting import Inserter, lock_keys
from flux.stores.postgres.session import Record, Session
from flux.stores.postgres.sql import Statements, is_uuid

SQL = Statements("schedules.sql")

T = TypeVar("T")
List: TypeAlias = list[T]  # inside the class the name is taken by the verb


class PostgresSchedules:
    """The port ``Schedules``."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._namespace = database.namespace

    async def put(
        self, schedule: Schedule, pending: NewJob | None, expect: int | None, key: Idempotency | None = None
    ) -> Schedule:
        """Create or replace by name together with the pending occurrence. Raises ``Conflict``, ``KeyTaken``."""

        async def work(session: Session) -> Schedule:
            old = await self._lock(session, schedule.name, key)
            now = await clock(session, self._database)
            inserter = Inserter(session, self._namespace, now)
            if key is not None and (holder := await inserter.holder(key)) is not None:
                there = await schedule_by_id(session, self._namespace, holder)
                if there is not None:
                    return there
            version = 0 if old is None else old.version
            if expect is not None and expect != version:
                if expect == 0:
                    raise Conflict(f"there is already a schedule {schedule.name!r}")
                raise Conflict(f"the schedule {schedule.name!r} was changed by somebody else meanwhile")
            events = inserter.events
            new = msgspec.structs.replace(
                schedule,
                id=schedule.id if old is None else old.id,
                version=version + 1,
                created_at=now if old is None else old.created_at,
                updated_at=now,
                last_fire_at=None if old is None else old.last_fire_at,
                next_job_id=None,
                next_fire_at=None,
                forgotten=None if old is None else old.forgotten,
            )
            if old is not None:
                reason = "schedule paused" if new.paused else "schedule changed"
                await self._withdraw(session, old.id, reason, events)
            if pending is not None:
                new.next_fire_at = pending.options.fire_at
                if await inserter.occurrence(new.id, pending):
                    new.next_job_id = pending.id
            if key is not None:
                await inserter.hold(key, new.id)
            await self._put(session, new)
            events.other("schedule", new.name, _what_happened(old, new))
            await events.write(session)
            return new

        return await self._database.calm(work)

    async def _lock(self, session: Session, name: str, key: Idempotency | None = None) -> Schedule | None:
        """The schedule of a name, which is nobody else's until the commit, even when there is none yet; and a key."""
        keys = [] if key is None else [f"i {key.key}"]
        await lock_keys(session, self._namespace, [f"s {name}", *keys])
        row = await session.row(SQL["lock_schedule"], namespace=self._namespace, name=name)
        return None if row is None else _schedule(row)

    async def _put(self, session: Session, one: Schedule) -> None:
        await session.run(
            SQL["put_schedule"],
            namespace=self._namespace,
            name=one.name,
            id=one.id,
            spec=one.spec,
            jitter=_jitter(one.spec),
            paused=one.paused,
            declared=one.declared,
            version=one.version,
            created_at=one.created_at,
            updated_at=one.updated_at,
            next_job_id=one.next_job_id,
            next_fire_at=one.next_fire_at,
            last_fire_at=one.last_fire_at,
            note=one.note,
        )

    async def _withdraw(self, session: Session, schedule_id: str, reason: str, events: EventLog) -> None:
        """End the occurrences that were not taken up yet, and free their fire times to be planned again."""
        rows = await session.fetch(
            SQL["pending_occurrences"], namespace=self._namespace, schedule_id=schedule_id
        )
        ids = [str(row[0]) for row in rows]
        waiting = await standing(session, self._namespace, ids)
        await withdraw(session, self._namespace, waiting.values(), reason, events)
        await session.run(
            SQL["free_fires"], namespace=self._namespace, schedule_id=schedule_id, ids=list(waiting)
        )

    async def get(self, name: str) -> Schedule | None:
        """By name."""
        rows = await self._database.statement(SQL["get_schedule"], namespace=self._namespace, name=name)
        return _schedule(rows[0]) if rows else None

    async def list(self, after: str | None, limit: int) -> List[Schedule]:
        """In the order of names."""
        rows = await self._database.statement(
            SQL["list_schedules"], namespace=self._namespace, after=after or "", limit=limit
        )
        return [_schedule(row) for row in rows]

    async def delete(self, name: str) -> bool:
        """Delete the rule and withdraw its pending occurrence; occurrences that ran stay."""

        async def work(session: Session) -> bool:
            schedule = await self._lock(session, name)
            if schedule is None:
                return False
            events = EventLog(self._namespace, await clock(session, self._database))
            await self._withdraw(session, schedule.id, "schedule deleted", events)
            # Its id never comes back, so nothing is left for these rows to guard; the jobs stay.
            await session.run(SQL["free_all_fires"], namespace=self._namespace, schedule_id=schedule.id)
            if is_uuid(schedule.id):
                await session.run(SQL["free_keys"], namespace=self._namespace, schedule_id=schedule.id)
            await session.run(SQL["delete_schedule"], namespace=self._namespace, name=name)
            events.other("schedule", name, "deleted")
            await events.write(session)
            return True

        return await self._database.calm(work)

    async def occurrences(self, schedule_id: str, limit: int) -> List[tuple[int, str, str]]:
        """The newest (fire time, job id, state), newest first; of a job that is forgotten the state is ``pruned``."""
        rows = await self._database.statement(
            SQL["occurrences"], namespace=self._namespace, schedule_id=schedule_id, limit=limit
        )
        return [(fire_at, str(job_id), state) for fire_at, job_id, state in rows]


def _what_happened(old: Schedule | None, new: Schedule) -> str:
    if old is None:
        return "created"
    if old.paused != new.paused:
        return "paused" if new.paused else "resumed"
    return "changed"


def _jitter(spec: bytes) -> int:
    """What an occurrence may be late by its own rule; promotion asks for it in SQL."""
    try:
        return int(msgspec.json.decode(spec).get("jitter") or 0)
    except (msgspec.DecodeError, AttributeError, TypeError, ValueError):
        return 0


async def schedule_by_id(session: Session, namespace: str, id: str) -> Schedule | None:
    """The schedule that made a job, nobody else's until the commit; None when it was deleted."""
    row = await session.row(SQL["lock_schedule_by_id"], namespace=namespace, id=id)
    return None if row is None else _schedule(row)


def _schedule(row: Record) -> Schedule:
    next_job_id = row["next_job_id"]
    return Schedule(
        id=row["id"],
        name=row["name"],
        spec=row["spec"],
        paused=row["paused"],
        declared=row["declared"],
        version=row["version"],
        created_at=row["created_at"],
        updated_at=row["updated_at"],
        next_job_id=None if next_job_id is None else str(next_job_id),
        next_fire_at=row["next_fire_at"],
        last_fire_at=row["last_fire_at"],
        note=row["note"],
        forgotten=_forgotten(row),
    )


def _forgotten(row: Record) -> Inserted | None:
    if row["forgotten_id"] is None:
        return None
    state = JobState(row["forgotten_state"])
    return Inserted(str(row["forgotten_id"]), state, row["forgotten_created_at"], row["forgotten_run_at"])
