"""Promotion: what is due becomes available, and an occurrence brings the one that follows it."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable

from flux.domain.job import JobState, NewJob
from flux.engine.ports import DueOccurrence, OccurrencePlan, Promoted, Schedule
from flux.stores.sqlite.editing import withdraw
from flux.stores.sqlite.ending import Ending, cancelled_error, end, standing
from flux.stores.sqlite.events import EventLog
from flux.stores.sqlite.inserting import Inserter
from flux.stores.sqlite.sql import Statements, decoder, json_text, one_value

SQL = Statements("duties.sql")

Plan = Callable[[DueOccurrence], OccurrencePlan]

_due = decoder(list[tuple[str, str, str, int, str | None, int | None]])
_ids = decoder(list[str])


class Promotion:
    """One pass, at one instant of the store's clock."""

    def __init__(self, connection: sqlite3.Connection, namespace: str, now: int, plan: Plan) -> None:
        self._connection = connection
        self._namespace = namespace
        self._now = now
        self._plan = plan
        self._inserter = Inserter(namespace, now)
        self._events = EventLog(namespace, now)

    def run(self, limit: int) -> Promoted:
        """Promote up to ``limit`` jobs."""
        text = one_value(self._connection, SQL["due"], (self._namespace, self._now, limit))
        plain: list[tuple[str, str | None, str | None]] = []
        count = 0
        earliest = self._now
        for id, type, queue, run_at, schedule_id, fire_at in _due(text):
            if fire_at is None or schedule_id is None:
                plain.append((id, type, queue))
            elif not self._occurrence(id, type, queue, schedule_id, fire_at):
                continue
            else:
                count += 1
            earliest = min(earliest, run_at)
        if plain:
            self._promote([id for id, _, _ in plain])
            self._events.jobs(JobState.AVAILABLE, plain)
        self._wake_stalled()
        self._events.write(self._connection)
        self._inserter.events.write(self._connection)
        count += len(plain)
        return Promoted(count, self._now - earliest if count else 0)

    def _promote(self, ids: list[str]) -> None:
        self._connection.execute(SQL["promote"], (self._namespace, json_text(ids)))

    def _occurrence(self, id: str, type: str, queue: str, schedule_id: str, fire_at: int) -> bool:
        """Do what the plan says; True when the occurrence was let go."""
        schedule = self._schedule(schedule_id)
        previous = self._previous(schedule_id, id)
        plan = self._plan(DueOccurrence(id, fire_at, schedule, bool(previous), self._now))
        if plan.cancel_previous and previous:
            jobs = standing(self._connection, self._namespace, previous).values()
            reason = plan.reason or "The next occurrence of its schedule replaced it."
            withdraw(self._connection, self._namespace, self._now, jobs, reason, self._events)
        if plan.run:
            self._promote([id])
            self._events.job(JobState.AVAILABLE, id, type, queue)
        else:
            job = standing(self._connection, self._namespace, [id])[id]
            ending = Ending(job, JobState.CANCELLED, None, error=cancelled_error(plan.reason))
            end(self._connection, self._namespace, self._now, [ending], self._events)
        if schedule is not None:
            self._follow(schedule, id, fire_at, plan.following)
        return plan.run

    def _follow(self, schedule: Schedule, id: str, fire_at: int, following: tuple[NewJob, ...]) -> None:
        """Store what follows, each fire time once; the latest of it is what the schedule waits for."""
        next_id, next_at = schedule.next_job_id, schedule.next_fire_at
        if next_id == id:
            next_id = next_at = None
        for job in following:
            at = job.options.fire_at
            if at is None:
                at = self._now + job.delay if job.run_at is None else job.run_at
            held = self._connection.execute(
                SQL["hold_occurrence"], (self._namespace, schedule.id, at, job.id)
            ).rowcount
            if held:
                self._inserter.store(self._connection, [job])
                if next_at is None or at > next_at:
                    next_id, next_at = job.id, at
        self._connection.execute(
            SQL["schedule_fired"], (self._namespace, schedule.id, next_id, next_at, fire_at)
        )

    def _wake_stalled(self) -> None:
        text = one_value(self._connection, SQL["stalled_schedules"], (self._namespace, self._now))
        for schedule_id in _ids(text):
            schedule = self._schedule(schedule_id)
            if schedule is None or schedule.next_job_id is None or schedule.next_fire_at is None:
                continue
            id, fire_at = schedule.next_job_id, schedule.next_fire_at
            alive = bool(self._previous(schedule_id, id))
            # Its occurrence is gone, so only what follows is taken from the plan.
            plan = self._plan(DueOccurrence(id, fire_at, schedule, alive, self._now))
            self._follow(schedule, id, fire_at, plan.following)

    def _previous(self, schedule_id: str, id: str) -> list[str]:
        text = one_value(self._connection, SQL["previous_occurrences"], (self._namespace, schedule_id, id))
        found: list[str] = _ids(text)
        return found

    def _schedule(self, id: str) -> Schedule | None:
        row = self._connection.execute(SQL["read_schedule"], (self._namespace, id)).fetchone()
        if row is None:
            return None
        return Schedule(
            id=row[0],
            name=row[1],
            spec=row[2].encode(),
            paused=bool(row[3]),
            declared=bool(row[4]),
            version=row[5],
            created_at=row[6],
            updated_at=row[7],
            next_job_id=row[8],
            next_fire_at=row[9],
            last_fire_at=row[10],
            note=row[11],
        )
