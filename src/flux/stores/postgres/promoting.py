"""Promotion: what is due becomes available, and an occurrence brings the one that follows it."""

from __future__ import annotations

import logging
from collections.abc import Callable

from flux.domain.job import JobState, NewJob
from flux.engine.ports import PARKED, DueOccurrence, OccurrencePlan, Promoted, Schedule
from flux.stores.postgres.clock import SQL
from flux.stores.postgres.editing import withdraw
from flux.stores.postgres.ending import end, standing
from flux.stores.postgres.inserting import Inserter
from flux.stores.postgres.schedules import schedule_by_id
from flux.stores.postgres.session import Session
from flux.stores.standing import Ending, cancelled_error

logger = logging.getLogger("flux.promoter")

Plan = Callable[[DueOccurrence], OccurrencePlan]

_HELD = 1000
"""How many fire times that are taken one commit goes past; the rest of them when the last one comes."""

_LONGEST_NOTE = 2000


class Promotion:
    """One pass, at one instant of the store's clock."""

    def __init__(self, session: Session, namespace: str, now: int, plan: Plan) -> None:
        self._session = session
        self._namespace = namespace
        self._now = now
        self._plan = plan
        self._inserter = Inserter(session, namespace, now)
        self._events = self._inserter.events
        self._replaced: set[str] = set()
        self._earliest = now
        self._late = False

    async def run(self, limit: int) -> Promoted:
        """Promote up to ``limit`` jobs."""
        count = await self._round(limit)
        if self._late and count < limit:
            # What runs in the place of what was missed has its turn at the same instant: later it might be missed too.
            await self._events.write(self._session)
            count += await self._round(limit - count)
        await self._wake_stalled()
        await self._events.write(self._session)
        return Promoted(count, self._now - self._earliest if count else 0)

    async def _round(self, limit: int) -> int:
        plain: list[tuple[str, str, str, int]] = []
        count = 0
        due = await self._session.fetch(
            SQL["lock_due"], namespace=self._namespace, now=self._now, limit=limit
        )
        for key, type, queue, run_at, since, schedule_id, fire_at in due:
            id = str(key)
            if fire_at is None or schedule_id is None:
                plain.append((id, type, queue, since))
            elif await self._occurrence(id, type, queue, run_at, schedule_id, fire_at):
                count += 1
                self._earliest = min(self._earliest, since)
        # A retry that was due is not, when the next occurrence of its schedule came in its place.
        plain = [job for job in plain if job[0] not in self._replaced]
        if plain:
            await self._promote([job[0] for job in plain])
            self._events.jobs(JobState.AVAILABLE, [job[:3] for job in plain])
            self._earliest = min(self._earliest, *(job[3] for job in plain))
        return count + len(plain)

    async def _promote(self, ids: list[str]) -> None:
        # In the order of ids, in which whoever else has several of them locks them.
        await self._session.run(SQL["promote"], namespace=self._namespace, ids=sorted(ids))

    async def _occurrence(
        self, id: str, type: str, queue: str, run_at: int, schedule_id: str, fire_at: int
    ) -> bool:
        """Do what the plan says; True when the occurrence was let go."""
        schedule = await schedule_by_id(self._session, self._namespace, schedule_id)
        previous = await self._previous(schedule_id, id)
        due = DueOccurrence(id, fire_at, schedule, bool(previous), self._now, run_at)
        plan = await self._ask(due)
        if plan.cancel_previous and previous:
            # One of them may have become available in this very pass.
            await self._events.write(self._session)
            jobs = await standing(self._session, self._namespace, previous)
            reason = plan.reason or "The next occurrence of its schedule replaced it."
            await withdraw(self._session, self._namespace, jobs.values(), reason, self._events)
            self._replaced.update(previous)
        if plan.run:
            await self._promote([id])
            self._events.job(JobState.AVAILABLE, id, type, queue)
        else:
            jobs = await standing(self._session, self._namespace, [id])
            ending = Ending(jobs[id], JobState.CANCELLED, None, error=cancelled_error(plan.reason))
            await end(self._session, self._namespace, self._now, [ending], self._events)
        if schedule is not None:
            await self._follow(schedule, due, plan.following)
        return plan.run

    async def _ask(self, due: DueOccurrence) -> OccurrencePlan:
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
                await self._session.run(
                    SQL["park_schedule"],
                    namespace=self._namespace,
                    id=schedule.id,
                    note=note[:_LONGEST_NOTE],
                    now=self._now,
                )
                self._events.other("schedule", schedule.name, "paused")
            return OccurrencePlan(run=False, reason=reason)

    async def _follow(self, schedule: Schedule, due: DueOccurrence, following: tuple[NewJob, ...]) -> None:
        """Store what follows, each fire time once; the latest of it is what the schedule waits for."""
        next_id, next_at = schedule.next_job_id, schedule.next_fire_at
        if due.job_id == (next_id or ""):
            next_id = next_at = None
        at = due.fire_at
        for _ in range(_HELD):
            for job in following:
                if await self._inserter.occurrence(schedule.id, job):
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
            following = (await self._ask(ask)).following
        if next_id is None and following:
            next_at = at  # from there it goes on, when that time comes
        await self._session.run(
            SQL["schedule_fired"],
            namespace=self._namespace,
            id=schedule.id,
            job_id=next_id,
            next_fire_at=next_at,
            fire_at=due.fire_at,
        )

    async def _wake_stalled(self) -> None:
        stalled = await self._session.fetch(
            SQL["stalled_schedules"], namespace=self._namespace, now=self._now
        )
        for row in stalled:
            schedule = await schedule_by_id(self._session, self._namespace, row[0])
            if schedule is None or schedule.next_fire_at is None or schedule.paused:
                continue
            id, fire_at = schedule.next_job_id or "", schedule.next_fire_at
            alive = bool(await self._previous(schedule.id, schedule.next_job_id))
            # Its occurrence is gone or goes its own way, so only what follows is taken from the plan.
            due = DueOccurrence(id, fire_at, schedule, alive, self._now)
            await self._follow(schedule, due, (await self._ask(due)).following)

    async def _previous(self, schedule_id: str, id: str | None) -> list[str]:
        rows = await self._session.fetch(
            SQL["previous_occurrences"], namespace=self._namespace, schedule_id=schedule_id, id=id
        )
        return [str(row[0]) for row in rows]
