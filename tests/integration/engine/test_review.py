"""Ways a job was once lost, stuck or wrongly ended; each must stay mended."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest

from flux.domain.job import JobState
from flux.engine.context import Context
from flux.engine.handler import Handler, Mode, RetryAfter
from flux.engine.ports import JobFilter
from tests.integration.engine.conftest import Rig

NOW = {"kind": "constant", "base": "1ms"}


async def test_what_a_handler_needed_first_goes_on_for_others(rig: Rig) -> None:
    """Group commits and the watch for results work for all; the end of the handler that began them ends nothing."""

    async def call(_: Context) -> None:
        asyncio.get_running_loop().create_task(ignore(rig.submit("nobody")))
        await rig.submit("nobody")

    async def ignore(work: Any) -> None:
        await work

    async with rig.worker(Handler(type="t", call=call), concurrency=20):
        ids = await asyncio.gather(*(rig.submit("t", max_retries=0) for _ in range(100)))
        outside = await asyncio.gather(*(rig.submit("nobody") for _ in range(200)))
        jobs = [await rig.ended(job_id) for job_id in ids]
    assert {job.state for job in jobs} == {JobState.SUCCEEDED}
    assert len(set(outside)) == 200


class Broken:
    """A proxy whose every attribute raises."""

    def __getattribute__(self, name: str) -> Any:
        raise ZeroDivisionError(name)


class Odd(RetryAfter):
    """Never calls its parent."""

    def __init__(self) -> None:
        pass


def nested(depth: int) -> Any:
    value: Any = None
    for _ in range(depth):
        value = [value]
    return value


@pytest.mark.parametrize("mode", [Mode.ASYNC, Mode.THREAD])
@pytest.mark.parametrize("make", [Broken, lambda: nested(600)], ids=["proxy", "deep"])
async def test_a_value_that_cannot_be_judged_ends_its_attempt(rig: Rig, mode: Mode, make: Any) -> None:
    async def acall(_: Context) -> Any:
        return make()

    call = acall if mode is Mode.ASYNC else lambda _: make()
    async with rig.worker(Handler(type="t", call=call, mode=mode), concurrency=1):
        for _ in range(2):  # the slot is free again
            assert (await rig.ended(await rig.submit("t", max_retries=0))).state is JobState.DEAD


async def test_an_exception_that_is_not_what_it_seems_ends_its_attempt(rig: Rig) -> None:
    async def call(_: Context) -> None:
        raise Odd

    async with rig.worker(Handler(type="t", call=call)):
        assert (await rig.ended(await rig.submit("t", max_retries=0))).state is JobState.DEAD


async def test_a_retry_beside_its_own_held_thread_keeps_the_books(rig: Rig) -> None:
    go = threading.Event()

    def call(ctx: Context) -> int:
        if ctx.attempt == 1:
            go.wait()
        return ctx.attempt

    handler = Handler(type="t", call=call, mode=Mode.THREAD)
    async with rig.worker(handler, concurrency=2), rig.scheduler():
        job = await rig.ended(await rig.submit("t", timeout="2s", backoff=NOW))
        assert (job.state, job.result) == (JobState.SUCCEEDED, b"2")
        go.set()
        # Both slots are free again.
        ids = [await rig.submit("t", timeout="60s") for _ in range(4)]
        for job_id in ids:
            assert (await rig.ended(job_id)).state is JobState.SUCCEEDED


async def test_threads_run_side_by_side_while_slots_are_free(rig: Rig) -> None:
    meeting = threading.Barrier(4, timeout=60)

    async with rig.worker(
        Handler(type="t", call=lambda _: meeting.wait() >= 0, mode=Mode.THREAD), concurrency=4
    ):
        for _ in range(5):
            ids = await asyncio.gather(*(rig.submit("t", max_retries=0) for _ in range(4)))
            for job_id in ids:
                assert (await rig.ended(job_id)).state is JobState.SUCCEEDED


async def test_the_lowest_priority_is_slow_and_not_starved(rig: Rig) -> None:
    low = await rig.submit("t", priority=1)
    ran = 0

    async def call(ctx: Context) -> None:
        nonlocal ran
        ran += 1
        if ctx.priority == 9 and ran < 1000:
            await rig.submit("t", priority=9)

    for _ in range(2):
        await rig.submit("t", priority=9)
    async with rig.worker(Handler(type="t", call=call), concurrency=1):
        await rig.ended(low)
        page = await rig.engine.jobs.list(JobFilter(states=(JobState.SUCCEEDED,)), 100, None)
        assert len(page.jobs) < 100


async def test_a_chunk_that_cancels_itself_counts_its_attempts(rig: Rig) -> None:
    async def call_chunk(_: Any) -> None:
        raise asyncio.CancelledError

    handler = Handler(type="t", call=lambda _: None, call_chunk=call_chunk, chunk=1, chunk_wait=1000)
    async with rig.worker(handler), rig.scheduler():
        job = await rig.ended(await rig.submit("t", max_retries=1, backoff=NOW))
    assert (job.state, job.attempt) == (JobState.DEAD, 2)


async def test_a_cancelled_thread_still_has_its_deadline(rig: Rig) -> None:
    go = threading.Event()
    async with rig.worker(Handler(type="t", call=lambda _: go.wait(), mode=Mode.THREAD)):
        job_id = await rig.submit("t", timeout="4s", max_retries=0)
        await rig.in_state(job_id, JobState.RUNNING)
        await rig.engine.jobs.cancel(job_id)
        assert (await rig.ended(job_id)).state is JobState.CANCELLED
        go.set()


async def test_what_shutdown_made_a_handler_raise_is_no_failure(rig: Rig) -> None:
    async def call(_: Context) -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            raise OSError("connection lost") from None

    async with rig.worker(Handler(type="t", call=call), grace=1000) as worker:
        job_id = await rig.submit("t", max_retries=0)
        await rig.in_state(job_id, JobState.RUNNING)
        worker.stop()
        job = await rig.in_state(job_id, JobState.AVAILABLE)
    assert job.attempt == 0


async def test_a_handler_stopped_in_a_checkpoint_takes_nobody_elses_words_along(rig: Rig) -> None:
    async def call(ctx: Context) -> Any:
        if ctx.payload["stops"] and ctx.attempt == 1:
            asyncio.get_running_loop().call_soon(asyncio.current_task().cancel)  # type: ignore[union-attr]
            await ctx.checkpoint("mine")
        for n in range(5):
            await ctx.checkpoint(n)
        if ctx.attempt == 1:
            raise RuntimeError
        return ctx.last_checkpoint

    async with rig.worker(Handler(type="t", call=call)), rig.scheduler():
        ids = [await rig.submit("t", {"stops": n % 2 == 0}, backoff=NOW) for n in range(10)]
        jobs = [await rig.ended(job_id) for job_id in ids]
    assert [job.result for job in jobs] == [b"4"] * 10
