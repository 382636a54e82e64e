"""What must hold at every moment and at the end, checked against the store's own log of events."""

from __future__ import annotations

from collections import Counter
from typing import Any

import msgspec

from flux.domain.job import FINAL, TRANSITIONS, ClaimedJob, Inserted, JobState, Outcome
from flux.engine.ports import JobFilter, Store
from tests.simulation.faults import Observer
from tests.simulation.handlers import Witness, result_of

ALWAYS_FINAL = frozenset(
    {
        "unknown_type",
        "bad_arguments",
        "bad_result",
        "result_too_large",
        "discarded",
    }
)


class Violation(AssertionError):
    """An invariant does not hold."""


class Auditor(Observer):
    """Knows what was promised to callers, and what the store did."""

    def __init__(self, store: Store, witness: Witness) -> None:
        self._store = store
        self._witness = witness
        self._cursor = "0.0"
        self.accepted: set[str] = set()
        self.ordered: set[str] = set()
        """Created in a caller's own transaction, whatever became of that."""
        self.keys: dict[str, set[str]] = {}
        self.unique: dict[str, str] = {}
        self.cancelled: set[str] = set()
        self.retried: set[str] = set()
        self.state: dict[str, JobState] = {}
        self.path: dict[str, list[JobState]] = {}
        self._holders: dict[str, str] = {}
        self._claims: dict[str, int] = {}
        self._found: list[str] = []
        """What is wrong, seen inside of a process: raised there, it would only end that process."""

    # --- what callers were told -------------------------------------------------------------------------------------

    def promised(self, job_id: str) -> None:
        """A caller has the id: from now on the job must not be lost."""
        self.accepted.add(job_id)

    def promised_by_key(self, key: str, job_id: str) -> None:
        """The same, for an idempotency key: it must always be the same id."""
        self.accepted.add(job_id)
        ids = self.keys.setdefault(key, set())
        ids.add(job_id)
        if len(ids) > 1:
            self._found.append(f"the idempotency key {key} stands for {sorted(ids)}")

    # --- what the store did -----------------------------------------------------------------------------------------

    def applied(self, port: str, verb: str, args: tuple[Any, ...], answer: Any) -> None:
        """Look at every verb the moment it was applied."""
        if port != "jobs":
            return
        if verb == "claim":
            self._claimed(answer)
        elif verb == "finish":
            self._ended(args[1], answer)
        elif verb == "insert":
            self._inserted(args[0], answer)

    def _inserted(self, batches: Any, answers: Any) -> None:
        for batch, answer in zip(batches, answers, strict=True):
            if isinstance(answer, Exception):
                continue
            for job, inserted in zip(batch, answer, strict=True):
                assert isinstance(inserted, Inserted)
                if job.unique is not None and inserted.how == "created":
                    self.unique[inserted.id] = job.unique.key

    def _claimed(self, jobs: list[ClaimedJob]) -> None:
        for job in jobs:
            if job.attempt > job.attempt_limit:
                self._found.append(f"{job.id} was claimed for attempt {job.attempt} of {job.attempt_limit}")
            self._claims[job.id] = job.claim_id

    def _ended(self, outcomes: list[Outcome], states: list[JobState | None]) -> None:
        for outcome, state in zip(outcomes, states, strict=True):
            if state is None:
                continue
            if self._claims.get(outcome.job_id) != outcome.claim_id:
                self._found.append(f"{outcome.job_id} came to {state} by a claim that was not its last")
            if outcome.state == JobState.SUCCEEDED and not self._witness.completed(outcome):
                self._found.append(f"{outcome.job_id} was completed by an attempt that did not end")

    async def look(self) -> None:
        """Read what is new in the log of events. Raises ``Violation``."""
        while page := await self._store.queries.events(self._cursor, 1000):
            for event in page:
                if event.subject == "job":
                    self._transition(event.key, JobState(event.state))
            self._cursor = page[-1].id
        if wrong := self._found + self._witness.wrong:
            raise Violation("; ".join(wrong[:5]))

    def _transition(self, job_id: str, new: JobState) -> None:
        path = self.path.setdefault(job_id, [])
        old = self.state.get(job_id)
        path.append(new)
        # The same state again is a change of a waiting job, or a cancel asked of a running one.
        if old is not None and (new not in TRANSITIONS[old] if old != new else new in FINAL):
            raise Violation(f"{job_id} went {' -> '.join(path)}")
        self.state[job_id] = new
        key = self.unique.get(job_id)
        if key is None:
            return
        holder = self._holders.get(key)
        if new in FINAL:
            if holder == job_id:
                del self._holders[key]
        elif holder is None or holder == job_id:
            self._holders[key] = job_id
        else:
            raise Violation(f"{holder} and {job_id} live at once with the unique key {key}")

    # --- the end ----------------------------------------------------------------------------------------------------

    async def unfinished(self) -> int:
        """How many jobs are not final (at most a page is counted)."""
        states = tuple(sorted(set(JobState) - FINAL))
        page = await self._store.queries.list(JobFilter(states=states), 100, None, False)
        return len(page.jobs)

    async def final(self) -> int:
        """Everything at the end; how many lives there were. Raises ``Violation``."""
        await self.look()
        seen: Counter[JobState] = Counter()
        ids: set[str] = set()
        cursor = None
        while True:
            page = await self._store.queries.list(JobFilter(), 500, cursor, True)
            for job in page.jobs:
                ids.add(job.id)
                seen[job.state] += 1
                self._explain(job)
            cursor = page.next_cursor
            if cursor is None:
                break
        lost = self.accepted - ids
        if lost:
            raise Violation(f"accepted and lost: {sorted(lost)}")
        if set(self.state) != ids:
            raise Violation(f"jobs without events or events without jobs: {sorted(set(self.state) ^ ids)}")
        for job_id, path in self.path.items():
            if path.count(JobState.SUCCEEDED) > 1:
                raise Violation(f"{job_id} succeeded {path.count(JobState.SUCCEEDED)} times")
        for key, promised in self.keys.items():
            page = await self._store.queries.list(JobFilter(key=key), 10, None, False)
            if {job.id for job in page.jobs} != promised:
                raise Violation(f"the key {key} was answered {promised}, stored are {page.jobs}")
        counted = sum(row.count for row in await self._store.queries.rollups(0) if row.outcome == "succeeded")
        if counted != seen[JobState.SUCCEEDED]:
            raise Violation(f"{seen[JobState.SUCCEEDED]} jobs succeeded, {counted} successes were counted")
        return len(ids)

    def _explain(self, job: Any) -> None:
        """Every end has a reason, and is what the events say."""
        if job.state not in FINAL:
            raise Violation(f"{job.id} ({job.type}) is {job.state} at the end: {self.path.get(job.id)}")
        if self.state.get(job.id) != job.state:
            raise Violation(f"{job.id} is {job.state}, its events say {self.state.get(job.id)}")
        if job.attempt > job.attempt_limit:
            raise Violation(f"{job.id} has had {job.attempt} attempts of {job.attempt_limit}")
        kind = job.error.kind if job.error is not None else None
        if job.state == JobState.SUCCEEDED:
            if job.result != result_of(job.id) or kind is not None:
                raise Violation(f"{job.id} succeeded with {job.result!r}, {kind}")
            if not self._witness.times(job.id):
                raise Violation(f"{job.id} succeeded and never ran")
        elif job.state == JobState.DEAD:
            if job.attempt < job.attempt_limit and kind not in ALWAYS_FINAL:
                raise Violation(f"{job.id} died after {job.attempt} of {job.attempt_limit} attempts: {kind}")
        elif job.state == JobState.CANCELLED:
            wish = msgspec.json.decode(job.payload).get("wish") if job.payload else None
            by_schedule = job.schedule_id is not None
            if not (job.id in self.cancelled or kind == "expired" or wish == "cancel" or by_schedule):
                raise Violation(f"{job.id} is cancelled and nobody asked for it: {job.error}")
