"""Deadlines, cancellation, shutdown and lost leases: what stops, what counts, and who runs it next."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from typing import Any

from flux.domain.duration import MILLISECOND, SECOND
from flux.domain.job import JobState
from flux.domain.shares import QueueShares
from flux.engine.context import Context
from flux.engine.handler import Handler, Mode
from flux.engine.worker_options import Left
from tests.integration.engine.conftest import Rig


async def forever(_: Context) -> None:
    await asyncio.Event().wait()


async def test_an_async_handler_is_cancelled_at_its_deadline(rig: Rig) -> None:
    cancelled = asyncio.Event()

    async def call(_: Context) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()

    async with rig.worker(Handler(type="t", call=call)):
        job = await rig.ended(await rig.submit("t", timeout="50ms", max_retries=0))
    assert (job.state, job.error.kind, job.attempts[0].outcome) == (JobState.DEAD, "timeout", "timeout")
    assert "50ms" in job.error.message
    assert cancelled.is_set()


async def test_a_handlers_own_timeout_counts_when_the_caller_named_none(rig: Rig) -> None:
    async with rig.worker(Handler(type="t", call=forever, default_timeout=50 * MILLISECOND)):
        job = await rig.ended(await rig.submit("t", max_retries=0))
    assert job.error.kind == "timeout"


async def test_a_thread_is_timed_out_at_once_and_holds_its_slot(rig: Rig) -> None:
    go, saw_flag = threading.Event(), threading.Event()

    def call(ctx: Context) -> None:
        go.wait()
        if ctx.cancelled:
            saw_flag.set()

    async def quick(_: Context) -> None: ...

    async with rig.worker(
        Handler(type="t", call=call, mode=Mode.THREAD), Handler(type="q", call=quick), concurrency=1
    ):
        job = await rig.ended(await rig.submit("t", timeout="50ms", max_retries=0))
        assert job.error.kind == "timeout"
        waiting = await rig.submit("q")
        assert (await rig.engine.jobs.wait(waiting, 0.2)).state is JobState.AVAILABLE
        go.set()
        assert (await rig.ended(waiting)).state is JobState.SUCCEEDED
    assert saw_flag.is_set()


async def test_cancel_reaches_a_running_handler(rig: Rig) -> None:
    async with rig.worker(Handler(type="t", call=forever)):
        job_id = await rig.submit("t")
        await rig.in_state(job_id, JobState.RUNNING)
        asked = await rig.engine.jobs.cancel(job_id, "changed my mind")
        assert (asked.state, asked.cancel_requested) == (JobState.RUNNING, True)
        job = await rig.ended(job_id)
    assert (job.state, job.error.kind) == (JobState.CANCELLED, "cancelled")
    assert "changed my mind" in job.error.message
    assert job.attempts[-1].outcome == "cancelled"


async def test_a_finish_that_comes_first_wins_over_a_cancel(rig: Rig) -> None:
    async def call(_: Context) -> str:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            return "done all the same"
        return ""

    async with rig.worker(Handler(type="t", call=call)):
        job_id = await rig.submit("t")
        await rig.in_state(job_id, JobState.RUNNING)
        await rig.engine.jobs.cancel(job_id)
        job = await rig.ended(job_id)
    assert (job.state, job.result) == (JobState.SUCCEEDED, b'"done all the same"')


async def test_a_graceful_stop_lets_running_jobs_finish(rig: Rig) -> None:
    go = asyncio.Event()

    async def call(_: Context) -> None:
        await go.wait()

    async with rig.worker(Handler(type="t", call=call)) as worker:
        job_id = await rig.submit("t")
        await rig.in_state(job_id, JobState.RUNNING)
        worker.stop()
        later = await rig.submit("t")
        go.set()
        assert (await rig.ended(job_id)).state is JobState.SUCCEEDED
        assert (await rig.engine.jobs.get(later)).state is JobState.AVAILABLE


async def test_what_outlasts_the_grace_is_handed_back_without_an_attempt(rig: Rig) -> None:
    async with rig.worker(Handler(type="t", call=forever), grace=10 * MILLISECOND) as worker:
        job_id = await rig.submit("t")
        await rig.in_state(job_id, JobState.RUNNING)
        worker.stop()
        job = await rig.in_state(job_id, JobState.AVAILABLE)
    assert job.attempt == 0
    assert [a.outcome for a in job.attempts] == ["released"]

    async def call(ctx: Context) -> int:
        return ctx.attempt

    # Another worker takes it without waiting for a lease: there is no scheduler here to rescue anything.
    async with rig.worker(Handler(type="t", call=call)):
        assert (await rig.ended(job_id)).result == b"1"


async def test_a_thread_that_does_not_end_is_handed_back_too(rig: Rig) -> None:
    go = threading.Event()
    async with rig.worker(
        Handler(type="t", call=lambda _: go.wait(), mode=Mode.THREAD), grace=10 * MILLISECOND
    ) as worker:
        job_id = await rig.submit("t")
        await rig.in_state(job_id, JobState.RUNNING)
        worker.stop()
        job = await rig.in_state(job_id, JobState.AVAILABLE)
    assert job.attempt == 0
    go.set()


async def test_a_lost_lease_stops_handlers_and_voids_their_outcomes(rig: Rig) -> None:
    stopped = asyncio.Event()
    runs = 0

    async def call(_: Context) -> Any:
        nonlocal runs
        runs += 1
        if runs > 1:
            return "second"
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            stopped.set()
            return "first, under a lost lease"

    async with rig.worker(Handler(type="t", call=call)) as worker, rig.scheduler():
        job_id = await rig.submit("t")
        await rig.in_state(job_id, JobState.RUNNING)
        first = worker.id
        with sqlite3.connect(rig.path) as database:
            database.execute("UPDATE workers SET lease_until = 0 WHERE id = ?", (first,))
        database.close()
        job = await rig.ended(job_id)
        assert stopped.is_set()
        assert worker.id != first
    assert (job.result, job.attempt) == (b'"second"', 2)
    assert rig.engine.counts.rescues == 1
    assert [a.outcome for a in job.attempts] == ["lost", "succeeded"]


async def test_a_thread_hears_of_a_lost_lease_at_its_next_heartbeat(rig: Rig) -> None:
    told: list[int] = []

    def call(ctx: Context) -> str:
        if ctx.attempt == 2:
            return "second"
        try:
            while True:
                ctx.heartbeat()
        finally:
            told.append(ctx.attempt)

    async with rig.worker(Handler(type="t", call=call, mode=Mode.THREAD)) as worker, rig.scheduler():
        job_id = await rig.submit("t")
        await rig.in_state(job_id, JobState.RUNNING)
        with sqlite3.connect(rig.path) as database:
            database.execute("UPDATE workers SET lease_until = 0 WHERE id = ?", (worker.id,))
        database.close()
        assert (await rig.ended(job_id)).result == b'"second"'
    assert told == [1]


async def test_a_stuck_event_loop_loses_its_lease(rig: Rig) -> None:
    """Another process's worker finishes what a loop that never yields would hold for ever."""
    stuck = threading.Event()
    free = threading.Event()
    other = Rig(rig.path)

    def hog() -> None:
        async def main() -> None:
            async def call(_: Context) -> None:
                stuck.set()
                free.wait(300)  # never yields

            await other.engine.open()
            async with other.worker(Handler(type="t", call=call), lease=SECOND):
                await asyncio.to_thread(free.wait)
            await other.engine.close()

        asyncio.run(main())

    thread = threading.Thread(target=hog)
    thread.start()
    try:
        job_id = await rig.submit("t")
        await asyncio.to_thread(stuck.wait)

        async def call(_: Context) -> str:
            return "elsewhere"

        async with rig.scheduler(), rig.worker(Handler(type="t", call=call)):
            job = await rig.ended(job_id)
        assert job.result == b'"elsewhere"'
    finally:
        free.set()
        await asyncio.to_thread(thread.join)
    assert (await rig.engine.jobs.get(job_id)).result == b'"elsewhere"'


async def test_draining_is_asked_by_a_person(rig: Rig) -> None:
    async with rig.worker(Handler(type="t", call=forever), grace=10 * MILLISECOND) as worker:
        assert worker.id is not None
        await rig.engine.workers.drain(worker.id)
        async with asyncio.timeout(60):
            seen = 0
            while any(view.alive for view in await rig.engine.workers.list()):
                seen = await rig.engine.store.changes.wait(seen, 0.1)


async def test_recycling_after_a_number_of_jobs(rig: Rig) -> None:
    async def call(_: Context) -> None: ...

    from flux.engine.worker import Worker
    from flux.engine.worker_options import WorkerOptions

    ids = [await rig.submit("t") for _ in range(5)]
    worker = Worker(rig.engine, {"t": Handler(type="t", call=call)}, WorkerOptions(max_jobs=3, concurrency=2))
    assert await worker.run() is Left.RECYCLE
    states = [(await rig.engine.jobs.get(job_id)).state for job_id in ids]
    assert states.count(JobState.SUCCEEDED) == 3
    assert states.count(JobState.AVAILABLE) == 2


async def test_a_queues_share_bounds_its_slots(rig: Rig) -> None:
    running: set[str] = set()
    most = 0
    go = asyncio.Event()

    async def call(ctx: Context) -> None:
        nonlocal most
        running.add(ctx.job_id)
        most = max(most, len(running))
        await go.wait()
        running.discard(ctx.job_id)

    ids = [await rig.submit("t", queue="email") for _ in range(5)]
    other = await rig.submit("t", queue="default")
    shares = QueueShares(queues={"email": 2}, every=True)
    async with rig.worker(Handler(type="t", call=call), queues=shares):
        await rig.in_state(other, JobState.RUNNING)
        states = [(await rig.engine.jobs.get(job_id)).state for job_id in ids]
        assert states.count(JobState.RUNNING) == 2
        go.set()
        for job_id in ids:
            assert (await rig.ended(job_id)).state is JobState.SUCCEEDED
    assert most <= 3
