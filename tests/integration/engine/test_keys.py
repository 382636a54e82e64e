"""Keys that are held longer than the job they stand for is kept."""

from __future__ import annotations

from flux.domain.job import JobState
from flux.domain.request import JobRequest, UniqueRequest
from flux.engine.ports import Retention
from tests.integration.engine.conftest import Rig

NOTHING = Retention(succeeded=None, dead=None, cancelled=None, most=0)


async def forget(rig: Rig, job_id: str) -> None:
    await rig.engine.jobs.cancel(job_id)
    duties = rig.engine.store.duties
    epoch = await duties.lead("test", 60_000_000)
    assert epoch is not None
    while await duties.prune(epoch, NOTHING, 100):
        pass
    assert await rig.engine.store.queries.get(job_id) is None


async def test_a_replay_is_answered_after_its_job_was_forgotten(rig: Rig) -> None:
    request = JobRequest(type="t", idempotency_key="k", idempotency_ttl="30d")
    first = await rig.engine.jobs.submit(request)
    await forget(rig, first.job.id)
    again = await rig.engine.jobs.submit(request)
    assert (again.how, again.job.id, again.job.state) == ("replayed", first.job.id, JobState.CANCELLED)
    assert (again.job.created_at, again.job.type) == (first.job.created_at, "t")


async def test_a_duplicate_is_answered_after_its_job_was_forgotten(rig: Rig) -> None:
    request = JobRequest(
        type="t", unique=UniqueRequest(by=("type",), period="1h", states=("available", "cancelled"))
    )
    first = await rig.engine.jobs.submit(request)
    await forget(rig, first.job.id)
    again = await rig.engine.jobs.submit(request)
    assert (again.how, again.job.id, again.job.state) == ("duplicate", first.job.id, JobState.CANCELLED)
