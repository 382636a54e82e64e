"""Schedules and their pending occurrences, which change together."""

from __future__ import annotations

import sqlite3
from typing import Any, TypeAlias, TypeVar

import msgspec

from flux.domain.errors import Conflict
from flux.domain.job import Idempotency, Inserted, JobState, NewJob
from flux.engine.ports import Schedule
from flux.stores.sqlite.database import Database
from flux.stores.sqlite.editing import withdraw
from flux.stores.sqlite.ending import standing
from flux.stores.sqlite.events import EventLog
from flux.stores.sqlite.inserting import Inserter

T = TypeVar("T")
List: TypeAlias = list[T]  # inside the class the name is taken by the verb


class SqliteSchedules:
    """The port ``Schedules``."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._namespace = database.namespace

    async def put(
        self, schedule: Schedule, pending: NewJob | None, expect: int | None, key: Idempotency | None = None
    ) -> Schedule:
        """Create or replace by name together with the pending occurrence. Raises ``Conflict``, ``KeyTaken``."""

        def work(connection: sqlite3.Connection) -> Schedule:
            now = self._database.now()
            inserter = Inserter(self._namespace, now)
            if key is not None and (holder := inserter.holder(connection, key)) is not None:
                there = schedule_by_id(connection, self._namespace, holder)
                if there is not None:
                    return there
            old = _get(connection, self._namespace, schedule.name)
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
                self._withdraw(connection, old.id, reason, now, events)
            if pending is not None:
                new.next_fire_at = pending.options.fire_at
                if inserter.occurrence(connection, new.id, pending):
                    new.next_job_id = pending.id
            if key is not None:
                inserter.hold(connection, key, new.id)
            _put(connection, self._namespace, new)
            events.other("schedule", new.name, _what_happened(old, new))
            events.write(connection)
            return new

        return await self._database.write(work)

    def _withdraw(
        self, connection: sqlite3.Connection, schedule_id: str, reason: str, now: int, events: EventLog
    ) -> None:
        """End the occurrences that were not taken up yet, and free their fire times to be planned again."""
        rows = connection.execute(_PENDING, (self._namespace, schedule_id)).fetchall()
        ids = [job_id for job_id, _ in rows]
        waiting = standing(connection, self._namespace, ids)
        withdraw(connection, self._namespace, now, waiting.values(), reason, events)
        for job_id, fire_at in rows:
            connection.execute(_FREE_FIRE, (self._namespace, schedule_id, fire_at, job_id))

    async def get(self, name: str) -> Schedule | None:
        """By name."""
        return await self._database.read(lambda connection: _get(connection, self._namespace, name))

    async def list(self, after: str | None, limit: int) -> List[Schedule]:
        """In the order of names."""

        def work(connection: sqlite3.Connection) -> List[Schedule]:
            rows = connection.execute(_LIST, (self._namespace, after or "", limit)).fetchall()
            return [_schedule(row) for row in rows]

        return await self._database.read(work)

    async def delete(self, name: str) -> bool:
        """Delete the rule and withdraw its pending occurrence; occurrences that ran stay."""

        def work(connection: sqlite3.Connection) -> bool:
            now = self._database.now()
            schedule = _get(connection, self._namespace, name)
            if schedule is None:
                return False
            events = EventLog(self._namespace, now)
            self._withdraw(connection, schedule.id, "schedule deleted", now, events)
            # Its id never comes back, so nothing is left for these rows to guard; the jobs stay.
            for statement in (_FREE_ALL, _FREE_KEYS):
                connection.execute(statement, (self._namespace, schedule.id))
            connection.execute(_DELETE, (self._namespace, name))
            events.other("schedule", name, "deleted")
            events.write(connection)
            return True

        return await self._database.write(work)

    async def occurrences(self, schedule_id: str, limit: int) -> List[tuple[int, str, str]]:
        """The newest (fire time, job id, state), newest first; of a job that is forgotten the state is ``pruned``."""
        text = await self._database.read(
            lambda connection: connection.execute(
                _OCCURRENCES, (self._namespace, schedule_id, limit)
            ).fetchone()[0]
        )
        return msgspec.json.decode(text, type=list[tuple[int, str, str]])


def _what_happened(old: Schedule | None, new: Schedule) -> str:
    if old is None:
        return "created"
    if old.paused != new.paused:
        return "paused" if new.paused else "resumed"
    return "changed"


def _get(connection: sqlite3.Connection, namespace: str, name: str) -> Schedule | None:
    row = connection.execute(_GET, (namespace, name)).fetchone()
    return None if row is None else _schedule(row)


def schedule_by_id(connection: sqlite3.Connection, namespace: str, id: str) -> Schedule | None:
    """The schedule that made a job; None when it was deleted."""
    row = connection.execute(_BY_ID, (namespace, id)).fetchone()
    return None if row is None else _schedule(row)


def _schedule(row: tuple[Any, ...]) -> Schedule:
    id, name, spec, paused, declared, version, created_at, updated_at, job_id, next_at, last_at, note = row[
        :12
    ]
    forgotten_id, state, job_created_at, job_run_at = row[12:]
    return Schedule(
        id=id,
        name=name,
        spec=spec.encode(),
        paused=bool(paused),
        declared=bool(declared),
        version=version,
        created_at=created_at,
        updated_at=updated_at,
        next_job_id=job_id,
        next_fire_at=next_at,
        last_fire_at=last_at,
        note=note,
        forgotten=None
        if forgotten_id is None
        else Inserted(forgotten_id, JobState(state), job_created_at, job_run_at),
    )


def _put(connection: sqlite3.Connection, namespace: str, one: Schedule) -> None:
    forgotten = one.forgotten
    connection.execute(
        _PUT,
        (
            namespace,
            one.id,
            one.name,
            one.spec.decode(),
            one.paused,
            one.declared,
            one.version,
            one.created_at,
            one.updated_at,
            one.next_job_id,
            one.next_fire_at,
            one.last_fire_at,
            one.note,
            *(
                (None,) * 4
                if forgotten is None
                else (forgotten.id, forgotten.state, forgotten.created_at, forgotten.run_at)
            ),
        ),
    )


_COLUMNS = """id, name, spec, paused, declared, version, created_at, updated_at, next_job_id, next_fire_at,
    last_fire_at, note, forgotten_id, forgotten_state, forgotten_created_at, forgotten_run_at"""

_GET = f"SELECT {_COLUMNS} FROM schedules WHERE namespace = ? AND name = ?"

_BY_ID = f"SELECT {_COLUMNS} FROM schedules WHERE namespace = ? AND id = ?"

_LIST = f"SELECT {_COLUMNS} FROM schedules WHERE namespace = ? AND name > ? ORDER BY name LIMIT ?"

_PUT = f"INSERT OR REPLACE INTO schedules (namespace, {_COLUMNS}) VALUES (?{', ?' * 16})"

_DELETE = "DELETE FROM schedules WHERE namespace = ? AND name = ?"

_FREE_FIRE = """DELETE FROM occurrences
    WHERE namespace = ? AND schedule_id = ? AND fire_at = ? AND job_id = ?"""

_FREE_ALL = "DELETE FROM occurrences WHERE namespace = ? AND schedule_id = ?"

_FREE_KEYS = "DELETE FROM idempotency WHERE namespace = ? AND job_id = ?"

# Not those that a person or a handler put back to `scheduled` after a first attempt: they have been taken up.
_PENDING = """SELECT j.id, o.fire_at FROM live AS j INDEXED BY live_schedule
    JOIN occurrences AS o ON o.namespace = j.namespace AND o.schedule_id = j.schedule_id
        AND o.fire_at = json_extract(j.options, '$.fire_at') AND o.job_id = j.id
    WHERE j.namespace = ? AND j.schedule_id = ? AND j.state = 'scheduled' AND j.attempt = 0
        AND NOT EXISTS (SELECT 1 FROM attempts AS a WHERE a.namespace = j.namespace AND a.job_id = j.id)"""

_OCCURRENCES = """SELECT json_group_array(json_array(fire_at, job_id, state)) FROM (
    SELECT o.fire_at, o.job_id, coalesce(
        (SELECT state FROM live WHERE namespace = o.namespace AND id = o.job_id),
        (SELECT state FROM done WHERE namespace = o.namespace AND id = o.job_id), 'pruned') AS state
    FROM occurrences AS o WHERE o.namespace = ? AND o.schedule_id = ? ORDER BY o.fire_at DESC LIMIT ?)"""
