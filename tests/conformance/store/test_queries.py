"""Reading for people: one job, pages of jobs by every filter, and counts of what has finished."""

from __future__ import annotations

import pytest

from flux.domain.duration import HOUR, MINUTE, SECOND
from flux.domain.errors import Invalid
from flux.domain.ids import IdSource
from flux.domain.job import Idempotency, JobError, JobState, Options
from flux.domain.stats import bucket
from flux.engine.ports import JobFilter, Store
from tests.conformance.store.lab import START, Lab, SteeredClock


async def test_what_does_not_exist(lab: Lab, store: Store) -> None:
    assert await store.queries.get(lab.new_id()) is None
    assert await store.queries.get("nonsense") is None
    assert await store.queries.states([lab.new_id()]) == {}
    assert await store.queries.states([]) == {}
    assert await store.queries.attempts(lab.new_id()) == []
    assert await store.queries.logs(lab.new_id(), 0, 10) == []
    page = await store.queries.list(JobFilter(), 10, None, False)
    assert (page.jobs, page.next_cursor) == ([], None)


async def test_states_of_live_and_done(lab: Lab, store: Store) -> None:
    await lab.worker()
    done, running, waiting = await lab.ended(JobState.DEAD), await lab.running(), await lab.add()
    assert await store.queries.states([waiting, done, lab.new_id(), running.id]) == {
        waiting: JobState.AVAILABLE,
        done: JobState.DEAD,
        running.id: JobState.RUNNING,
    }


async def test_states_of_many(lab: Lab, store: Store) -> None:
    ids = [inserted.id for inserted in await lab.insert(*[lab.job() for _ in range(3000)])]
    assert await store.queries.states(ids) == dict.fromkeys(ids, JobState.AVAILABLE)


# --- lists --------------------------------------------------------------------------------------------------------


async def everything(lab: Lab) -> dict[str, str]:
    """Jobs of all kinds, by a name of each; in the order of their age."""
    await lab.worker("w1", types=("t", "mail"))
    named: dict[str, str] = {}
    named["done"] = await lab.ended(JobState.SUCCEEDED, queue="q1", options=Options(tags=("a", "b")))
    lab.clock.advance(SECOND)
    dead = await lab.running(queue="q1", type="mail", payload=b'{"to":{"name":"anna"},"n":3,"ok":true}')
    error = JobError(kind="exception", message="ConnectionError: mx.example.org refused")
    await lab.finish(dead, JobState.DEAD, error=error)
    named["dead"] = dead.id
    lab.clock.advance(SECOND)
    named["running"] = (await lab.running(queue="q2")).id
    lab.clock.advance(SECOND)
    named["waiting"] = await lab.add(
        queue="q2", type="mail", payload=b'{"to":{"name":"bert"},"n":4}', options=Options(tags=("b",))
    )
    lab.clock.advance(SECOND)
    named["keyed"] = await lab.add(
        delay=MINUTE,
        idempotency=Idempotency(key="k1", fingerprint="f"),
        options=Options(idempotency_key="k1"),
        schedule_id="s1",
        workflow_id="wf1",
    )
    return named


FILTERS = [
    (JobFilter(), ["done", "dead", "running", "waiting", "keyed"]),
    (JobFilter(states=(JobState.DEAD,)), ["dead"]),
    (JobFilter(states=(JobState.SUCCEEDED, JobState.RUNNING)), ["done", "running"]),
    (JobFilter(states=(JobState.AVAILABLE, JobState.SCHEDULED)), ["waiting", "keyed"]),
    (JobFilter(states=(JobState.BLOCKED,)), []),
    (JobFilter(queue="q1"), ["done", "dead"]),
    (JobFilter(queue="q2", states=(JobState.RUNNING,)), ["running"]),
    (JobFilter(queue="none"), []),
    (JobFilter(type="mail"), ["dead", "waiting"]),
    (JobFilter(type="mail", queue="q2"), ["waiting"]),
    (JobFilter(tag="b"), ["done", "waiting"]),
    (JobFilter(tag="a"), ["done"]),
    (JobFilter(tag="a", queue="q2"), []),
    (JobFilter(key="k1"), ["keyed"]),
    (JobFilter(key="k2"), []),
    (JobFilter(error="refused"), ["dead"]),
    (JobFilter(error="nothing like it"), []),
    (JobFilter(worker_id="w1"), ["done", "dead", "running"]),
    (JobFilter(worker_id="w2"), []),
    (JobFilter(schedule_id="s1"), ["keyed"]),
    (JobFilter(workflow_id="wf1"), ["keyed"]),
    (JobFilter(created_after=START + 2 * SECOND), ["running", "waiting", "keyed"]),
    (JobFilter(created_before=START + 2 * SECOND), ["done", "dead"]),
    (
        JobFilter(created_after=START + SECOND, created_before=START + 3 * SECOND),
        ["dead", "running"],
    ),
    (JobFilter(payload=(("to.name", "anna"),)), ["dead"]),
    (JobFilter(payload=(("to.name", '"anna"'),)), ["dead"]),
    (JobFilter(payload=(("n", "4"),)), ["waiting"]),
    (JobFilter(payload=(("ok", "true"),)), ["dead"]),
    (JobFilter(payload=(("n", "3"), ("to.name", "bert"))), []),
    (JobFilter(payload=(("nothing", "1"),)), []),
]


async def test_every_filter(lab: Lab, store: Store) -> None:
    named = await everything(lab)
    for filter, expected in FILTERS:
        page = await store.queries.list(filter, 50, None, False)
        ids = [job.id for job in page.jobs]
        assert ids == [named[name] for name in reversed(expected)], filter
        # And page by page it is the same.
        paged: list[str] = []
        cursor = None
        for _ in range(10):
            page = await store.queries.list(filter, 1, cursor, False)
            paged += [job.id for job in page.jobs]
            cursor = page.next_cursor
            if cursor is None:
                break
        assert paged == ids, filter


async def test_lists_leave_out_what_is_large_unless_asked(lab: Lab, store: Store) -> None:
    await lab.worker()
    claimed = await lab.running(payload=b'{"a":1}')
    await lab.finish(claimed, JobState.SUCCEEDED, result=b"[1]")
    await lab.add(payload=b'{"a":2}')
    short = await store.queries.list(JobFilter(), 10, None, False)
    assert [(job.payload, job.result, job.attempts) for job in short.jobs] == [(None, None, None)] * 2
    waiting, done = (await store.queries.list(JobFilter(), 10, None, True)).jobs
    assert (waiting.payload, waiting.result, waiting.attempts) == (b'{"a":2}', None, [])
    assert (done.payload, done.result) == (b'{"a":1}', b"[1]")
    assert done.attempts is not None
    assert [each.outcome for each in done.attempts] == ["succeeded"]


async def test_pages_hold_still_while_jobs_come_and_move(lab: Lab, store: Store) -> None:
    await lab.worker()
    ids = [inserted.id for inserted in await lab.insert(*[lab.job() for _ in range(30)])]
    seen: list[str] = []
    page = await store.queries.list(JobFilter(), 10, None, False)
    seen += [job.id for job in page.jobs]
    await lab.insert(*[lab.job() for _ in range(5)])
    for claimed in await lab.claim(slots=15):
        await lab.finish(claimed, JobState.SUCCEEDED)
    while page.next_cursor is not None:
        page = await store.queries.list(JobFilter(), 10, page.next_cursor, False)
        seen += [job.id for job in page.jobs]
    assert seen == list(reversed(ids))


@pytest.mark.parametrize("count", [9, 10, 11, 20])
async def test_the_last_page_has_no_cursor(lab: Lab, store: Store, count: int) -> None:
    await lab.insert(*[lab.job() for _ in range(count)])
    sizes = []
    cursor = None
    for _ in range(5):
        page = await store.queries.list(JobFilter(), 10, cursor, False)
        sizes.append(len(page.jobs))
        cursor = page.next_cursor
        if cursor is None:
            break
    assert cursor is None
    assert sum(sizes) == count
    assert all(size == 10 for size in sizes[:-1])


@pytest.mark.parametrize("cursor", ["nonsense", "", "AAAA", "🙂", "a" * 1000])
async def test_a_bad_cursor_is_refused(lab: Lab, store: Store, cursor: str) -> None:
    await lab.add()
    with pytest.raises(Invalid):
        await store.queries.list(JobFilter(), 10, cursor, False)


async def test_a_search_that_no_index_serves_says_how_far_it_looked(
    lab: Lab, store: Store, clock: SteeredClock
) -> None:
    """It may stop early, but then it says so; going on from its cursor reaches everything."""
    ids = IdSource(clock)
    wanted = await lab.add(payload=b'{"n":1}', id=ids.new())
    for _ in range(12):
        clock.advance(SECOND)
        await lab.insert(*[lab.job(payload=b'{"n":2}', id=ids.new()) for _ in range(1000)])
    found: list[str] = []
    cursor = None
    for _ in range(1000):
        page = await store.queries.list(JobFilter(payload=(("n", "1"),)), 10, cursor, False)
        found += [job.id for job in page.jobs]
        if page.next_cursor is not None and not page.jobs:
            assert page.searched_until is not None
            assert START <= page.searched_until <= clock()
        cursor = page.next_cursor
        if cursor is None:
            break
    assert found == [wanted]


# --- counts -------------------------------------------------------------------------------------------------------


async def test_finished_jobs_are_counted_by_outcome(lab: Lab, store: Store, clock: SteeredClock) -> None:
    await lab.worker("w1", types=("t", "u"))
    await lab.ended(JobState.SUCCEEDED, queue="a")
    await lab.ended(JobState.SUCCEEDED, queue="a")
    await lab.ended(JobState.DEAD, queue="b", type="u")
    cancelled = await lab.add(queue="a")
    await store.jobs.cancel([cancelled], None)
    counts: dict[tuple[str, str, str], int] = {}
    for row in await store.queries.rollups(START - MINUTE):
        key = (row.queue, row.type, row.outcome)
        counts[key] = counts.get(key, 0) + row.count
    assert counts[("a", "t", "succeeded")] == 2
    assert counts[("b", "u", "dead")] == 1
    assert counts[("a", "t", "cancelled")] == 1
    assert await store.queries.rollups(clock() + MINUTE) == []


async def test_ended_jobs_are_counted_as_they_stand(lab: Lab, store: Store) -> None:
    await lab.worker()
    dead = [await lab.running(queue="a") for _ in range(3)] + [await lab.running(queue="b")]
    for claimed in dead:
        await lab.finish(claimed, JobState.DEAD, error=JobError(kind="timeout", message="late"))
    await store.jobs.cancel([await lab.add(queue="a")], None)
    asked = (JobState.DEAD, JobState.CANCELLED, JobState.SUCCEEDED)
    none = {JobState.SUCCEEDED: 0}
    assert await store.queries.count(asked, None, 4) == {JobState.DEAD: 4, JobState.CANCELLED: 1} | none
    assert await store.queries.count(asked, "b", 4) == {JobState.DEAD: 1, JobState.CANCELLED: 0} | none
    assert await store.queries.count(asked, None, 3) == {JobState.CANCELLED: 1} | none
    await store.jobs.retry([dead[0].id])
    assert await store.queries.count((JobState.DEAD,), None, 4) == {JobState.DEAD: 3}


async def test_failures_are_counted_by_kind(lab: Lab, store: Store) -> None:
    await lab.worker()
    claimed = await lab.running()
    await lab.finish(claimed, JobState.DEAD, error=JobError(kind="timeout", message="late"))
    assert {(row.kind, row.count) for row in await store.queries.rollups(0)} == {("timeout", 1)}


async def test_how_long_they_waited_and_ran(lab: Lab, store: Store, clock: SteeredClock) -> None:
    await lab.worker()
    await lab.add()
    clock.advance(2 * SECOND)
    claimed = await lab.claim_one()
    clock.advance(3 * SECOND)
    await lab.finish(claimed, JobState.SUCCEEDED)
    [row] = await store.queries.rollups(0)
    assert (row.wait_bucket, row.run_bucket) == (bucket(2 * SECOND), bucket(3 * SECOND))


async def test_nobody_waits_for_longer_than_the_job_exists(
    lab: Lab, store: Store, clock: SteeredClock
) -> None:
    await lab.worker()
    await lab.add(run_at=START - 1000 * HOUR)
    clock.advance(2 * SECOND)
    await lab.finish(await lab.claim_one(), JobState.SUCCEEDED)
    [row] = await store.queries.rollups(0)
    assert row.wait_bucket == bucket(2 * SECOND)


# --- the store itself ---------------------------------------------------------------------------------------------


async def test_the_clock_is_the_stores(lab: Lab, store: Store, clock: SteeredClock) -> None:
    assert await store.now() == START
    clock.advance(MINUTE)
    assert await store.now() == START + MINUTE
    other = await lab.another()
    assert await other.now() == START + MINUTE


async def test_a_healthy_store_says_so(store: Store) -> None:
    health = await store.health()
    assert health.ok, health.detail


async def test_what_one_handle_wrote_another_reads(lab: Lab) -> None:
    other = await lab.another()
    job_id = await lab.add()
    assert await other.queries.states([job_id]) == {job_id: JobState.AVAILABLE}


async def test_a_change_wakes_whoever_waits(lab: Lab, store: Store) -> None:
    seen = store.changes.version()
    await lab.add()
    # Bounded, so that a store that never wakes fails this test instead of hanging it.
    assert await store.changes.wait(seen, 30) > seen
