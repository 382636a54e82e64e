"""Promotion: what is due becomes available, and an occurrence brings the one that follows it."""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Callable

from flux.domain.job import JobState, NewJob
from flux.engine.ports import PARKED, DueOccurrence, OccurrencePlan, Promoted, Schedule
from flux.stores.sqlite.editing import withdraw
from flux.stores.sqlite.ending import end, standing
from flux.stores.sqlite.inserting import Inserter
from flux.stores.sqlite.schedules import schedule_by_id
from flux.stores.sqlite.sql import Statements, decoder, json_text, one_value
from flux.stores.standing import Ending, cancelled_error

logger = logging.getLogger("flux.promoter")

SQL = Statements("duties.sql")

Plan = Callable[[DueOccurrence], OccurrencePlan]

_due = decoder(list[tuple[str, str, str, int, int, str | None, int | None]])
_ids = decoder(list[str])

_HELD = 1000
"""How many fire times that are taken one commit goes past; the rest of them when the last one comes."""

_LONGEST_NOTE = 2000


class Promotion:
    """One pass, at one instant of the store's clock."""

    def __init__(self, connection: sqlite3.Connection, namespace: str, now: int, plan: Plan) -> None:
        self._connection = connection
        self._namespace = namespace
        self._now = now
        self._plan = plan
        self._inserter = Inserter(namespace, now)
        self._events = self._inserter.events
        self._replaced: set[str] = set()
        self._earliest = now
        self._late = False

    def run(self, limit: int) -> Promoted:
        """Promote up to ``limit`` jobs."""
        count = self._round(limit)
        if self._late and count < limit:
            # What runs in the place of what was missed has its turn at the same instant: later it might be missed too.
            self._events.write(self._connection)
            count += self._round(limit - count)
        self._wake_stalled()
        self._events.write(self._connection)
        return Promoted(count, self._now - self._earliest if count else 0)

    def _round(self, limit: int) -> int:
        text = one_value(self._connection, SQL["due"], (self._namespace, self._now, limit))
        plain: list[tuple[str, str, str, int]] = []
        count = 0
        for id, type, queue, run_at, since, schedule_id, fire_at in _due(text):
            if fire_at is None or schedule_id is None:
                plain.append((id, type, queue, since))
            elif self._occurrence(id, type, queue, run_at, schedule_id, fire_at):
                count += 1
                self._earliest = min(self._earliest, since)
        # A retry that was due is not, when the next occurrence of its schedule came in its place.
        plain = [job for job in plain if job[0] not in self._replaced]
        if plain:
            self._promote([job[0] for job in plain])
            self._events.jobs(JobState.AVAILABLE, [job[:3] for job in plain])
            self._earliest = min(self._earliest, *(job[3] for job in plain))
        return count + len(plain)

    def _promote(self, ids: list[str]) -> None:
        self._connection.execute(SQL["promote"], (self._namespace, json_text(ids)))

    def _occurrence(
        self, id: str, type: str, queue: str, run_at: int, schedule_id: str, fire_at: int
    ) -> bool:
        """Do what the plan says; True when the occurrence was let go."""
        schedule = schedule_by_id(self._connection, self._namespace, schedule_id)
        previous = self._previous(schedule_id, id)
        due = DueOccurrence(id, fire_at, schedule, bool(previous), self._now, run_at)
        plan = self._ask(due)
        if plan.cancel_previous and previous:
            self._events.write(self._connection)  # one of them may have become available in this very pass
            jobs = standing(self._connection, self._namespace, previous).values()
            reason = plan.reason or "The next occurrence of its schedule replaced it."
            withdraw(self._connection, self._namespace, self._now, jobs, reason, self._events)
            self._replaced.update(previous)
        if plan.run:
            self._promote([id])
            self._events.job(JobState.AVAILABLE, id, type, queue)
        else:
            job = standing(self._connection, self._namespace, [id])[id]
            ending = Ending(job, JobState.CANCELLED, None, error=cancelled_error(plan.reason))
            end(self._connection, self._namespace, self._now, [ending], self._events)
        if schedule is not None:
            self._follow(schedule, due, plan.following)
        return plan.run

    def _ask(self, due: DueOccurrence) -> OccurrencePlan:
        """The plan; of one that fails, that nothing runs nor follows until a person has seen to it."""
        try:
            return self._plan(due)
        except Exception as error:
            # Whatever is wrong with one schedule, everything else that is due must not wait for it.
            reason = PARKED + " ".join(str(error).split())
            schedule = due.schedule
            if schedule is not None:
                logger.warning("the schedule %r was paused: %s", schedule.name, error)
                note = reason if schedule.note is None else f"{reason}\n{schedule.note}"
                values = (self._namespace, schedule.id, note[:_LONGEST_NOTE], self._now)
                self._connection.execute(SQL["park_schedule"], values)
                self._events.other("schedule", schedule.name, "paused")
            return OccurrencePlan(run=False, reason=reason)

    def _follow(self, schedule: Schedule, due: DueOccurrence, following: tuple[NewJob, ...]) -> None:
        """Store what follows, each fire time once; the latest of it is what the schedule waits for."""
        next_id, next_at = schedule.next_job_id, schedule.next_fire_at
        if due.job_id == (next_id or ""):
            next_id = next_at = None
        at = due.fire_at
        for _ in range(_HELD):
            for job in following:
                if self._inserter.occurrence(self._connection, schedule.id, job):
                    fire_at = job.options.fire_at or 0
                    self._late = self._late or (job.run_at or fire_at) <= self._now
                    if next_at is None or fire_at > next_at:
                        next_id, next_at = job.id, fire_at
            latest = max((job.options.fire_at or 0 for job in following), default=at)
            if next_id is not None or latest <= at:
                break
            # Each of them has its occurrence already, as after the clock was set back: ask for the next.
            at = latest
            ask = DueOccurrence("", at, schedule, due.previous_alive, self._now)
            following = self._ask(ask).following
        if next_id is None and following:
            next_at = at  # from there it goes on, when that time comes
        self._connection.execute(
            SQL["schedule_fired"], (self._namespace, schedule.id, next_id, next_at, due.fire_at)
        )

    def _wake_stalled(self) -> None:
        text = one_value(self._connection, SQL["stalled_schedules"], (self._namespace, self._now))
        for schedule_id in _ids(text):
            schedule = schedule_by_id(self._connection, self._namespace, schedule_id)
            if schedule is None or schedule.next_fire_at is None:
                continue
            id, fire_at = schedule.next_job_id or "", schedule.next_fire_at
            alive = bool(self._previous(schedule_id, id))
            # Its occurrence is gone or goes its own way, so only what follows is taken from the plan.
            due = DueOccurrence(id, fire_at, schedule, alive, self._now)
            self._follow(schedule, due, self._ask(due).following)

    def _previous(self, schedule_id: str, id: str) -> list[str]:
        text = one_value(self._connection, SQL["previous_occurrences"], (self._namespace, schedule_id, id))
        found: list[str] = _ids(text)
        return found
