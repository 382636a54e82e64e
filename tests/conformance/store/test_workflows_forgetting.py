"""Forgetting runs of graphs: whole, with all their jobs."""

from __future__ import annotations

import pytest

from flux.domain.duration import DAY, SECOND
from flux.domain.job import JobState
from flux.engine.ports import Retention, Store
from tests.conformance.store.graphs import create, graph
from tests.conformance.store.lab import Lab, SteeredClock

CHAIN = graph("a b c", "a>b", "b>c")


@pytest.fixture(autouse=True)
async def worker(lab: Lab) -> None:
    """A worker that claims."""
    await lab.worker()


async def test_the_jobs_of_a_run_are_kept_until_it_is_forgotten(
    lab: Lab, store: Store, clock: SteeredClock
) -> None:
    run = await create(lab, CHAIN)
    await run.end(a="succeeded")
    plain = await lab.ended(JobState.SUCCEEDED)
    clock.advance(10 * DAY)
    retention = Retention(succeeded=DAY, dead=DAY, cancelled=DAY, most=0)
    epoch = await lab.lead()
    while await store.duties.prune(epoch, retention, 100):
        pass
    assert await lab.state(plain) is None
    assert await lab.state(run.job_id("a")) is JobState.SUCCEEDED
    await lab.worker()
    await run.end(b="succeeded")
    await run.end(c="succeeded")
    clock.advance(DAY - SECOND)
    await store.duties.prune(epoch, retention, 100)
    assert (await run.states())["a"] == "succeeded"
    clock.advance(2 * SECOND)
    while await store.duties.prune(epoch, retention, 100):
        pass
    assert await store.workflows.read(run.id, True) is None
    assert await lab.state(run.job_id("a")) is None
    assert await store.workflows.definition(CHAIN.id) is None
    assert await lab.every_id(workflow_id=run.id) == []


async def test_runs_are_forgotten_by_how_they_ended_and_piece_by_piece(
    lab: Lab, store: Store, clock: SteeredClock
) -> None:
    good, bad, off = [await create(lab, CHAIN) for _ in range(3)]
    await good.end(a="succeeded")
    await good.end(b="succeeded")
    await good.end(c="succeeded")
    await bad.end(a="failed")
    await store.workflows.cancel(off.id, None)
    clock.advance(5 * DAY)
    retention = Retention(succeeded=DAY, dead=9 * DAY, cancelled=DAY, most=None)
    epoch = await lab.lead()
    assert await store.duties.prune(epoch, retention, 2)
    assert await store.workflows.read(good.id, False) is not None
    while await store.duties.prune(epoch, retention, 2):
        pass
    assert await store.workflows.read(good.id, False) is None
    assert await store.workflows.read(off.id, False) is None
    assert (await bad.states())["a"] == "failed"
    assert await store.workflows.definition(CHAIN.id) == CHAIN.document
