"""A commit whose answer was lost: what it did is found again, and counts once."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from flux.domain.errors import Unavailable
from flux.domain.job import ClaimedJob, JobState, Outcome
from flux.engine.context import Context
from flux.engine.handler import Handler, Mode
from flux.engine.ports import Demand
from tests.integration.engine.conftest import Rig


class Forgetful:
    """Applies one verb, then loses its answer, once."""

    def __init__(self, jobs: Any, verb: str) -> None:
        self._jobs = jobs
        self._verb: str | None = verb

    def __getattr__(self, name: str) -> Any:
        return getattr(self._jobs, name)

    def _lose(self, verb: str) -> None:
        if self._verb == verb:
            self._verb = None
            raise Unavailable("the connection broke after the commit")

    async def claim(self, demand: Demand) -> list[ClaimedJob]:
        jobs: list[ClaimedJob] = await self._jobs.claim(demand)
        if jobs:
            self._lose("claim")
        return jobs

    async def finish(self, worker_id: str, outcomes: Sequence[Outcome]) -> list[JobState | None]:
        states: list[JobState | None] = await self._jobs.finish(worker_id, outcomes)
        self._lose("finish")
        return states


async def test_jobs_of_a_claim_that_was_not_heard_are_handed_back(rig: Rig) -> None:
    calls = 0

    async def call(ctx: Context) -> int:
        nonlocal calls
        calls += 1
        return ctx.attempt

    rig.engine.store.jobs = Forgetful(rig.engine.store.jobs, "claim")
    ids = [await rig.submit("t") for _ in range(3)]
    # No scheduler: nobody rescues them, and no lease ends. Without the hand-back they would run on paper for ever.
    async with rig.worker(Handler(type="t", call=call)):
        jobs = [await rig.ended(job_id) for job_id in ids]
    assert [(job.state, job.result) for job in jobs] == [(JobState.SUCCEEDED, b"1")] * 3
    assert [attempt.outcome for attempt in jobs[0].attempts or []] == ["released", "succeeded"]
    assert calls == 3
    assert rig.engine.counts.reconciliations == 3


async def test_an_outcome_that_was_committed_unheard_counts_once(rig: Rig) -> None:
    calls = 0

    async def call(_: Context) -> str:
        nonlocal calls
        calls += 1
        return "done"

    rig.engine.store.jobs = Forgetful(rig.engine.store.jobs, "finish")
    async with rig.worker(Handler(type="t", call=call)):
        job = await rig.ended(await rig.submit("t"))
    assert (job.state, calls, len(job.attempts or [])) == (JobState.SUCCEEDED, 1, 1)


class Late:
    """Answers a claim only when the jobs' time is over."""

    def __init__(self, jobs: Any, by: float) -> None:
        self._jobs = jobs
        self._by = by

    def __getattr__(self, name: str) -> Any:
        return getattr(self._jobs, name)

    async def claim(self, demand: Demand) -> list[ClaimedJob]:
        jobs: list[ClaimedJob] = await self._jobs.claim(demand)
        if jobs:
            await asyncio.sleep(self._by)
        return jobs


@pytest.mark.parametrize("mode", [Mode.ASYNC, Mode.THREAD])
async def test_a_job_whose_claim_is_heard_after_its_deadline_is_not_begun(rig: Rig, mode: Mode) -> None:
    begun = []

    async def call(ctx: Context) -> None:
        begun.append(ctx.job_id)

    rig.engine.store.jobs = Late(rig.engine.store.jobs, 0.3)
    handler = Handler(type="t", call=call if mode is Mode.ASYNC else begun.append, mode=mode)
    async with rig.worker(handler):
        job = await rig.ended(await rig.submit("t", timeout=0.2, max_retries=0))
    # The store counts from the claim: the leader may have given the job to somebody else by now.
    assert (job.state, job.error and job.error.kind, begun) == (JobState.DEAD, "timeout", [])


async def test_a_job_whose_claim_is_heard_late_joins_no_chunk(rig: Rig) -> None:
    called = []

    async def call_chunk(contexts: Sequence[Context]) -> list[None]:
        called.extend(contexts)
        return [None for _ in contexts]

    rig.engine.store.jobs = Late(rig.engine.store.jobs, 0.3)
    handler = Handler(type="t", call=lambda _: None, call_chunk=call_chunk, chunk=2, chunk_wait=1)
    async with rig.worker(handler):
        job = await rig.ended(await rig.submit("t", timeout=0.2, max_retries=0))
    assert (job.state, job.error and job.error.kind, called) == (JobState.DEAD, "timeout", [])
