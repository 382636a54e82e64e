"""What the suite needs of a store beside its ports, and the short words its tests are written in."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path
from random import Random
from typing import Any, Protocol

from flux.domain.duration import SECOND
from flux.domain.ids import IdSource
from flux.domain.job import (
    FINAL,
    TRANSITIONS,
    AttemptOutcome,
    ClaimedJob,
    Inserted,
    Job,
    JobError,
    JobState,
    LogLine,
    NewJob,
    Outcome,
)
from flux.engine.ports import Demand, DueOccurrence, Event, JobFilter, OccurrencePlan, Store, WorkerInfo

LEASE = 30 * SECOND
LONG = 1000 * 365 * 86_400 * SECOND
START = 1_800_000_000_000_000
"""The instant every test begins at: nobody's real clock, so that a store that reads one is found out."""

HOW_OF = {
    JobState.SUCCEEDED: AttemptOutcome.SUCCEEDED,
    JobState.RETRYING: AttemptOutcome.FAILED,
    JobState.DEAD: AttemptOutcome.FAILED,
    JobState.CANCELLED: AttemptOutcome.CANCELLED,
    JobState.SKIPPED: AttemptOutcome.SKIPPED,
    JobState.SCHEDULED: AttemptOutcome.SNOOZED,
    JobState.AVAILABLE: AttemptOutcome.RELEASED,
}


class SteeredClock:
    """A store's clock that moves only when the test says so."""

    def __init__(self, start: int = START) -> None:
        self.time = start

    def __call__(self) -> int:
        return self.time

    def advance(self, by: int) -> int:
        """Let time pass; the new time."""
        self.time += by
        return self.time


class Factory(Protocol):
    """How the suite gets stores of one kind: all from one database, which is fresh and empty at first."""

    name: str

    def handle(self, place: Path, clock: SteeredClock, *, migrate: bool) -> Store:
        """A new handle, not yet opened, on the database that belongs to ``place``; its time is ``clock``'s."""
        ...

    async def remove(self, place: Path) -> None:
        """Remove the database, once every handle is closed."""
        ...


def run_plainly(due: DueOccurrence) -> OccurrencePlan:
    """The plan for suites that are not about schedules: what is due runs, and nothing follows."""
    return OccurrencePlan(run=True)


def outcome(
    claimed: ClaimedJob,
    state: JobState,
    *,
    how: AttemptOutcome | None = None,
    delay: int = 0,
    result: bytes | None = None,
    error: JobError | None = None,
    logs: list[LogLine] | None = None,
) -> Outcome:
    """The outcome of a claimed attempt that sends its job to ``state``."""
    if error is None and state in (JobState.RETRYING, JobState.DEAD):
        error = JobError(kind="exception", message="ValueError: no")
    return Outcome(
        job_id=claimed.id,
        claim_id=claimed.claim_id,
        attempt=claimed.attempt,
        state=state,
        how=how or HOW_OF[state],
        delay=delay,
        result=result,
        error=error,
        logs=logs,
    )


class Lab:
    """One empty database, a first handle on it, its clock, and verbs of one line."""

    def __init__(self, factory: Factory, place: Path) -> None:
        self.factory = factory
        self.place = place
        self.clock = SteeredClock()
        self.store = factory.handle(place, self.clock, migrate=True)
        self._handles = [self.store]
        self._ids = IdSource(self.clock, Random(1))
        self.epoch = 0
        self.forgotten: set[str] = set()
        """Ids that were pruned and used once more: their logs tell two lives."""

    async def open(self) -> None:
        """Open the first handle."""
        await self.store.open()

    async def another(self) -> Store:
        """One more handle on the same database: what another process would have."""
        store = self.factory.handle(self.place, self.clock, migrate=True)
        self._handles.append(store)
        await store.open()
        return store

    async def close(self) -> None:
        """Close every handle and remove the database."""
        for store in reversed(self._handles):
            await store.close()
        await self.factory.remove(self.place)

    # --- jobs ---------------------------------------------------------------------------------------------------

    def new_id(self) -> str:
        """An id greater than all before."""
        return self._ids.new()

    def job(self, type: str = "t", **fields: Any) -> NewJob:
        """A new job with an id of its own."""
        fields.setdefault("id", self.new_id())
        return NewJob(type=type, **fields)

    async def insert(self, *jobs: NewJob) -> list[Inserted]:
        """Insert one batch that must be accepted."""
        [answer] = await self.store.jobs.insert([jobs])
        assert isinstance(answer, list), answer
        return answer

    async def add(self, type: str = "t", **fields: Any) -> str:
        """Insert one job; its id."""
        [answer] = await self.insert(self.job(type, **fields))
        return answer.id

    async def get(self, job_id: str) -> Job:
        """A job that must exist."""
        job = await self.store.queries.get(job_id)
        assert job is not None, f"{job_id} is lost"
        return job

    async def state(self, job_id: str) -> JobState | None:
        """The state of a job; None when there is none."""
        return (await self.store.queries.states([job_id])).get(job_id)

    # --- workers ------------------------------------------------------------------------------------------------

    async def worker(
        self,
        id: str = "w1",
        *,
        types: Sequence[str] = ("t",),
        queues: str = "*",
        slots: int = 100,
        lease: int = LEASE,
        store: Store | None = None,
    ) -> str:
        """Register a worker; its id."""
        info = WorkerInfo(
            id=id, host="host", pid=1, version="0", queues=queues, types=tuple(types), slots=slots
        )
        await (store or self.store).leases.register(info, lease)
        return id

    async def claim(self, worker: str = "w1", slots: int = 100, **demand: Any) -> list[ClaimedJob]:
        """Claim for a worker."""
        demand.setdefault("types", ("t",))
        store = demand.pop("store", self.store)
        claimed: list[ClaimedJob] = await store.jobs.claim(Demand(worker_id=worker, slots=slots, **demand))
        return claimed

    async def claim_one(self, worker: str = "w1", **demand: Any) -> ClaimedJob:
        """Claim when exactly one job must be there."""
        [claimed] = await self.claim(worker, **demand)
        return claimed

    async def finish(
        self, claimed: ClaimedJob, state: JobState, *, worker: str = "w1", **fields: Any
    ) -> JobState | None:
        """Finish one attempt; the store's answer."""
        [answer] = await self.store.jobs.finish(worker, [outcome(claimed, state, **fields)])
        return answer

    async def running(self, worker: str = "w1", **fields: Any) -> ClaimedJob:
        """A new job that the worker (registered already) has claimed."""
        job_id = await self.add(**fields)
        for claimed in await self.claim(worker, types=(fields.get("type", "t"),), hints=(job_id,)):
            if claimed.id == job_id:
                return claimed
        raise AssertionError(f"{job_id} could not be claimed")

    async def ended(self, state: JobState, **fields: Any) -> str:
        """A new job that has already come to ``state``, a final one; worker w1 must be registered."""
        claimed = await self.running(**fields)
        assert await self.finish(claimed, state) == state
        return claimed.id

    # --- the leader ---------------------------------------------------------------------------------------------

    async def lead(self, holder: str = "leader") -> int:
        """Become the leader; the epoch."""
        epoch = await self.store.duties.lead(holder, LONG)
        assert epoch is not None
        self.epoch = epoch
        return epoch

    async def promote(
        self, plan: Callable[[DueOccurrence], OccurrencePlan] = run_plainly, limit: int = 1000
    ) -> int:
        """One pass of promotion by the leader; how many."""
        return (await self.store.duties.promote_due(self.epoch or await self.lead(), limit, plan)).count

    async def rescue(self, grace: int = 5 * SECOND, limit: int = 1000) -> int:
        """One pass of rescue by the leader; how many."""
        return len(await self.store.duties.rescue_lost(self.epoch or await self.lead(), grace, limit))

    # --- looking back -------------------------------------------------------------------------------------------

    async def all_events(self) -> list[Event]:
        """Every event there is, oldest first."""
        events: list[Event] = []
        after = "0.0"
        while page := await self.store.queries.events(after, 500):
            events += page
            after = page[-1].id
        return events

    async def every_id(self, **filter: Any) -> list[str]:
        """The ids of every job that a filter lists, gathered page by page."""
        ids: list[str] = []
        cursor = None
        while True:
            page = await self.store.queries.list(JobFilter(**filter), 50, cursor, False)
            ids += [job.id for job in page.jobs]
            cursor = page.next_cursor
            if cursor is None:
                return ids


def illegal_transitions(events: Sequence[Event]) -> list[str]:
    """What in a log of events no job may do, in words; empty when all is well.

    The same state twice is no transition (a change of a waiting job, a cancel asked of a running one).
    """
    wrong: list[str] = []
    histories: dict[str, list[JobState]] = defaultdict(list)
    for event in events:
        if event.subject == "job":
            history = histories[event.key]
            new = JobState(event.state)
            if history and history[-1] != new and new not in TRANSITIONS[history[-1]]:
                wrong.append(f"{event.key}: {' -> '.join([*history, new])}")
            if history and history[-1] == new and new in FINAL:
                wrong.append(f"{event.key}: {new} twice")
            history.append(new)
    return wrong
