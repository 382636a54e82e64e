"""Random verbs against a tiny model: whatever people, workers and leaders do, the store stays what the model says."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from flux.domain.duration import HOUR, SECOND
from flux.domain.errors import LeaseLost
from flux.domain.job import FINAL, TRANSITIONS, WAITING, ClaimedJob, JobState, Uniqueness
from flux.engine.ports import Change, JobFilter
from tests.conformance.store.factories import FACTORIES
from tests.conformance.store.lab import LEASE, START, Factory, Lab, illegal_transitions, outcome

T = TypeVar("T")
WORKERS = ("w0", "w1", "w2")
QUEUES = ("a", "b")
UNIQUE_KEYS = ("u0", "u1")
KEEPING = ("scheduled", "available", "running", "retrying")


class Known(msgspec.Struct):
    """What the model knows of one job."""

    state: JobState
    attempt: int
    limit: int
    retries: int
    run_at: int
    queue: str
    priority: int
    unique: str | None = None
    claim: ClaimedJob | None = None
    worker: str | None = None
    asked: bool = False
    successes: int = 0


class StoreMachine(RuleBasedStateMachine):
    """The store under test beside a dict of jobs and a dict of leases."""

    def __init__(self, factory: Factory) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.place = Path(tempfile.mkdtemp(prefix="flux-model-"))
        self.lab = Lab(factory, self.place)
        self.jobs: dict[str, Known] = {}
        self.leases: dict[str, int] = {}
        self.stale: list[ClaimedJob] = []
        self.paused: set[str] = set()
        self.names = 0
        self.worker_of: dict[str, str] = {}

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        return self.runner.run(coroutine)

    def teardown(self) -> None:
        try:
            assert illegal_transitions(self.run(self.lab.all_events())) == []
        finally:
            self.run(self.lab.close())
            self.runner.close()
            shutil.rmtree(self.place, ignore_errors=True)

    @property
    def now(self) -> int:
        return self.lab.clock()

    def move(self, job_id: str, new: JobState) -> None:
        """A transition in the model; it must be a legal one."""
        known = self.jobs[job_id]
        assert new in TRANSITIONS[known.state], f"{known.state} -> {new}"
        if known.state == JobState.RUNNING:
            assert known.claim is not None
            self.stale.append(known.claim)
            known.claim = known.worker = None
        if new == JobState.SUCCEEDED:
            known.successes += 1
        known.state = new
        if new in FINAL or new == JobState.AVAILABLE:
            known.asked = False

    def pick(self, data: st.DataObject, *states: JobState) -> str | None:
        """One of the jobs in these states."""
        ids = sorted(job_id for job_id, known in self.jobs.items() if known.state in states)
        return data.draw(st.sampled_from(ids)) if ids else None

    def holder(self, unique: str) -> str | None:
        """The live job that holds a unique key."""
        for job_id, known in self.jobs.items():
            if known.unique == unique and known.state not in FINAL:
                return job_id
        return None

    # --- rules ------------------------------------------------------------------------------------------------------

    @initialize()
    def open(self) -> None:
        self.run(self.lab.open())
        self.run(self.lab.lead())

    @rule(
        count=st.integers(1, 4),
        delay=st.sampled_from([0, 0, SECOND, HOUR]),
        retries=st.integers(0, 2),
        queue=st.sampled_from(QUEUES),
        priority=st.integers(1, 10),
        unique=st.sampled_from([None, None, *UNIQUE_KEYS]),
    )
    def insert(
        self, count: int, delay: int, retries: int, queue: str, priority: int, unique: str | None
    ) -> None:
        asked = None if unique is None else Uniqueness(key=unique, states=KEEPING)
        jobs = [
            self.lab.job(queue=queue, priority=priority, delay=delay, max_retries=retries, unique=asked)
            for _ in range(count)
        ]
        answers = self.run(self.lab.insert(*jobs))
        for job, answer in zip(jobs, answers, strict=True):
            holder = None if unique is None else self.holder(unique)
            if holder is not None:
                assert (answer.id, answer.how, answer.state) == (holder, "duplicate", self.jobs[holder].state)
                continue
            state = JobState.SCHEDULED if delay else JobState.AVAILABLE
            assert (answer.id, answer.how, answer.state) == (job.id, "created", state)
            self.jobs[job.id] = Known(
                state=state,
                attempt=0,
                limit=retries + 1,
                retries=retries,
                run_at=self.now + delay,
                queue=queue,
                priority=priority,
                unique=unique,
            )

    @precondition(lambda self: self.jobs)
    @rule(data=st.data())
    def insert_an_id_again(self, data: st.DataObject) -> None:
        job_id = data.draw(st.sampled_from(sorted(self.jobs)))
        [refused, accepted] = self.run(self.lab.store.jobs.insert([[self.lab.job("other", id=job_id)], []]))
        assert isinstance(refused, Exception)
        assert accepted == []

    @precondition(lambda self: self.jobs)
    @rule(data=st.data())
    def insert_a_job_again(self, data: st.DataObject) -> None:
        """Its answer was lost."""
        job_id = data.draw(st.sampled_from(sorted(self.jobs)))
        [answer] = self.run(self.lab.insert(self.lab.job(id=job_id)))
        assert (answer.id, answer.how, answer.state) == (job_id, "created", self.jobs[job_id].state)

    @rule(worker=st.sampled_from(WORKERS))
    def register(self, worker: str) -> None:
        """A start: the id is new every time."""
        self.names += 1
        name = f"{worker}-{self.names}"
        self.run(self.lab.worker(name))
        self.worker_of[worker] = name
        self.leases[name] = self.now + LEASE

    @precondition(lambda self: self.worker_of)
    @rule(data=st.data(), slots=st.integers(1, 5), lowest=st.booleans(), one_queue=st.booleans())
    def claim(self, data: st.DataObject, slots: int, lowest: bool, one_queue: bool) -> None:
        name = self.worker_of[data.draw(st.sampled_from(sorted(self.worker_of)))]
        demand: dict[str, Any] = {"slots": slots, "lowest_first": lowest}
        if one_queue:
            demand |= {"queues": {"a": 3}, "every_queue": False}
        if self.leases.get(name, 0) <= self.now:
            with pytest.raises(LeaseLost):
                self.run(self.lab.claim(name, **demand))
            return
        claimed = self.run(self.lab.claim(name, **demand))
        queues = {"a"} if one_queue else set(QUEUES)
        sign = 1 if lowest else -1
        expected = sorted(
            (sign * known.priority, job_id)
            for job_id, known in self.jobs.items()
            if known.state == JobState.AVAILABLE and known.queue in queues - self.paused
        )[: min(slots, 3) if one_queue else slots]
        assert [each.id for each in claimed] == [job_id for _, job_id in expected]
        for each in claimed:
            known = self.jobs[each.id]
            self.move(each.id, JobState.RUNNING)
            known.attempt += 1
            known.claim, known.worker = each, name
            assert (each.attempt, each.attempt_limit) == (known.attempt, known.limit)

    @rule(data=st.data(), delay=st.sampled_from([0, SECOND, HOUR]))
    def finish(self, data: st.DataObject, delay: int) -> None:
        job_id = self.pick(data, JobState.RUNNING)
        if job_id is None:
            return
        known = self.jobs[job_id]
        assert known.claim is not None
        assert known.worker is not None
        choices = sorted(TRANSITIONS[JobState.RUNNING])
        if known.attempt >= known.limit:
            choices.remove(JobState.RETRYING)
        wanted = data.draw(st.sampled_from(choices))
        state = wanted
        if known.asked and wanted not in FINAL:
            state = JobState.CANCELLED
        worker, claim = known.worker, known.claim
        [answer] = self.run(self.lab.store.jobs.finish(worker, [outcome(claim, wanted, delay=delay)]))
        assert answer == state
        if wanted in (JobState.AVAILABLE, JobState.SCHEDULED):
            known.attempt -= 1
        if state in (JobState.RETRYING, JobState.SCHEDULED):
            known.run_at = self.now + delay
        self.move(job_id, state)

    @precondition(lambda self: self.stale)
    @rule(data=st.data(), state=st.sampled_from(sorted(TRANSITIONS[JobState.RUNNING])))
    def finish_with_a_stale_claim(self, data: st.DataObject, state: JobState) -> None:
        claim = data.draw(st.sampled_from(self.stale))
        [answer] = self.run(self.lab.store.jobs.finish("w", [outcome(claim, state)]))
        # A repeat of what was committed may be answered as it was; that it changes nothing, the invariants see.
        assert answer is None or answer == self.jobs[claim.id].state

    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        job_id = self.pick(data, *JobState)
        if job_id is None:
            return
        [answer] = self.run(self.lab.store.jobs.cancel([job_id], None))
        known = self.jobs[job_id]
        if known.state in WAITING:
            assert (answer.state, answer.done) == (JobState.CANCELLED, True)
            self.move(job_id, JobState.CANCELLED)
        elif known.state == JobState.RUNNING:
            assert answer.state == JobState.RUNNING
            known.asked = True
        else:
            assert (answer.state, answer.done) == (known.state, False)

    @rule(data=st.data())
    def retry(self, data: st.DataObject) -> None:
        job_id = self.pick(data, *JobState)
        if job_id is None:
            return
        [answer] = self.run(self.lab.store.jobs.retry([job_id]))
        known = self.jobs[job_id]
        taken = known.unique is not None and self.holder(known.unique) is not None
        if known.state not in (JobState.DEAD, JobState.CANCELLED) or taken:
            assert (answer.state, answer.done) == (known.state, False)
            return
        assert (answer.state, answer.done) == (JobState.AVAILABLE, True)
        self.move(job_id, JobState.AVAILABLE)
        known.limit = known.attempt + known.retries + 1
        known.run_at = self.now

    @rule(data=st.data(), priority=st.integers(1, 10), queue=st.sampled_from(QUEUES))
    def change(self, data: st.DataObject, priority: int, queue: str) -> None:
        job_id = self.pick(data, *JobState)
        if job_id is None:
            return
        answer = self.run(self.lab.store.jobs.change(job_id, Change(priority=priority, queue=queue)))
        known = self.jobs[job_id]
        assert (answer.state, answer.done) == (known.state, known.state in WAITING)
        if answer.done:
            known.priority, known.queue = priority, queue

    @rule(queue=st.sampled_from(QUEUES), paused=st.booleans())
    def pause(self, queue: str, paused: bool) -> None:
        self.run(self.lab.store.queues.set(queue, paused=paused, by="p", max_depth=None, clear_depth=False))
        (self.paused.add if paused else self.paused.discard)(queue)

    @rule(limit=st.sampled_from([1, 3, 100]))
    def promote(self, limit: int) -> None:
        due = sorted(
            (known.run_at, job_id)
            for job_id, known in self.jobs.items()
            if known.state in (JobState.SCHEDULED, JobState.RETRYING) and known.run_at <= self.now
        )
        assert self.run(self.lab.promote(limit=limit)) == min(limit, len(due))
        states = self.run(self.lab.store.queries.states([job_id for _, job_id in due]))
        promoted = [(run_at, job_id) for run_at, job_id in due if states[job_id] == JobState.AVAILABLE]
        # The oldest; which of several due in the same instant, the store may choose.
        assert [run_at for run_at, _ in promoted] == [run_at for run_at, _ in due[:limit]]
        for _, job_id in promoted:
            self.move(job_id, JobState.AVAILABLE)

    @rule(grace=st.just(0))
    def rescue(self, grace: int) -> None:
        lost = [
            job_id
            for job_id, known in self.jobs.items()
            if known.state == JobState.RUNNING and self.leases.get(known.worker or "", 0) <= self.now
        ]
        assert self.run(self.lab.rescue(grace)) == len(lost)
        for job_id in lost:
            known = self.jobs[job_id]
            if known.asked:
                self.move(job_id, JobState.CANCELLED)
            elif known.attempt < known.limit:
                self.move(job_id, JobState.RETRYING)
                known.run_at = self.run(self.lab.get(job_id)).run_at
                assert known.run_at >= self.now
            else:
                self.move(job_id, JobState.DEAD)

    @precondition(lambda self: self.worker_of)
    @rule(data=st.data())
    def renew(self, data: st.DataObject) -> None:
        name = self.worker_of[data.draw(st.sampled_from(sorted(self.worker_of)))]
        if self.leases.get(name, 0) <= self.now:
            with pytest.raises(LeaseLost):
                self.run(self.lab.store.leases.renew(name, LEASE))
            return
        renewal = self.run(self.lab.store.leases.renew(name, LEASE))
        assert set(renewal.cancels) == {
            job_id for job_id, known in self.jobs.items() if known.asked and known.worker == name
        }
        self.leases[name] = self.now + LEASE

    @precondition(lambda self: self.worker_of)
    @rule(data=st.data())
    def leave(self, data: st.DataObject) -> None:
        name = self.worker_of[data.draw(st.sampled_from(sorted(self.worker_of)))]
        self.run(self.lab.store.leases.leave(name))
        self.leases.pop(name, None)

    @rule(by=st.sampled_from([1, SECOND, LEASE // 2, LEASE + 1, 2 * HOUR]))
    def time_passes(self, by: int) -> None:
        self.lab.clock.advance(by)

    # --- invariants -------------------------------------------------------------------------------------------------

    @invariant()
    def no_job_is_lost_and_each_is_where_the_model_says(self) -> None:
        if self.now == START and not self.jobs:
            return
        states = self.run(self.lab.store.queries.states(sorted(self.jobs)))
        assert states == {job_id: known.state for job_id, known in self.jobs.items()}
        listed = self.run(self.lab.store.queries.list(JobFilter(), 500, None, False)).jobs
        assert [job.id for job in listed] == sorted(self.jobs, reverse=True)[:500]
        for job in listed:
            known = self.jobs[job.id]
            assert (job.state, job.attempt, job.attempt_limit) == (
                known.state,
                known.attempt,
                known.limit,
            )
            assert job.attempt <= job.attempt_limit
            assert job.cancel_requested == known.asked or known.state != JobState.RUNNING
            assert known.successes <= 1

    @invariant()
    def lists_by_state_say_the_same(self) -> None:
        if not self.jobs:
            return
        for state in JobState:
            page = self.run(self.lab.store.queries.list(JobFilter(states=(state,)), 500, None, False))
            expected = sorted(
                (job_id for job_id, known in self.jobs.items() if known.state == state), reverse=True
            )
            assert [job.id for job in page.jobs] == expected


@pytest.mark.parametrize("factory", FACTORIES, ids=lambda factory: factory.name)
def test_random_verbs(factory: Factory) -> None:
    run_state_machine_as_test(
        lambda: StoreMachine(factory),
        settings=settings(
            max_examples=25,
            stateful_step_count=40,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
