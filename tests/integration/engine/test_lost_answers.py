"""A commit whose answer was lost: what it did is found again, and counts once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from flux.domain.errors import Unavailable
from flux.domain.job import ClaimedJob, JobState, Outcome
from flux.engine.context import Context
from flux.engine.handler import Handler
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
