"""What a handler returns or raises is its outcome."""

from __future__ import annotations

import asyncio
import logging
import sys
from typing import Any

import msgspec
import pytest

from flux.domain.job import JobState
from flux.engine.context import Context
from flux.engine.handler import BadArguments, Cancel, Discard, Handler, Mode, RetryAfter, Snooze
from tests.integration.engine.conftest import Rig

NOW = {"kind": "constant", "base": "1ms"}


async def run(rig: Rig, call: Any, mode: Mode = Mode.ASYNC, no_retry: Any = (), **fields: Any) -> Any:
    handler = Handler(type="t", call=call, mode=mode, no_retry=no_retry)
    async with rig.worker(handler), rig.scheduler():
        return await rig.ended(await rig.submit("t", **{"backoff": NOW} | fields))


async def test_a_value_succeeds(rig: Rig) -> None:
    async def call(ctx: Context) -> Any:
        return {"attempt": ctx.attempt, "payload": ctx.payload}

    job = await run(rig, call)
    assert job.state is JobState.SUCCEEDED
    assert msgspec.json.decode(job.result) == {"attempt": 1, "payload": {}}
    assert [a.outcome for a in job.attempts] == ["succeeded"]


async def test_a_thread_succeeds(rig: Rig) -> None:
    job = await run(rig, lambda ctx: [ctx.type], Mode.THREAD)
    assert (job.state, job.result) == (JobState.SUCCEEDED, b'["t"]')


async def test_failures_are_retried_until_none_is_left(rig: Rig) -> None:
    async def call(ctx: Context) -> None:
        raise ValueError(f"no {ctx.attempt}")

    job = await run(rig, call, max_retries=2)
    assert job.state is JobState.DEAD
    assert (job.error.kind, job.error.message) == ("exception", "ValueError: no 3")
    assert "raise ValueError" in job.error.traceback
    assert [(a.number, a.outcome, a.error.message) for a in job.attempts] == [
        (n, "failed", f"ValueError: no {n}") for n in (1, 2, 3)
    ]


async def test_an_exception_of_no_retry_is_final(rig: Rig) -> None:
    async def call(_: Context) -> None:
        raise KeyError("x")

    job = await run(rig, call, no_retry=(LookupError,))
    assert (job.state, job.attempt) == (JobState.DEAD, 1)


@pytest.mark.parametrize(
    "error", [SystemExit(3), KeyboardInterrupt(), asyncio.CancelledError(), BaseException("b")]
)
@pytest.mark.parametrize("mode", [Mode.ASYNC, Mode.THREAD])
async def test_any_base_exception_harms_its_own_attempt_only(
    rig: Rig, error: BaseException, mode: Mode
) -> None:
    async def acall(_: Context) -> None:
        raise error

    def call(_: Context) -> None:
        raise error

    job = await run(rig, acall if mode is Mode.ASYNC else call, mode, max_retries=0)
    assert job.state is JobState.DEAD
    assert type(error).__name__ in job.error.message


async def test_snooze_runs_again_and_uses_no_attempt(rig: Rig) -> None:
    calls = 0

    async def call(ctx: Context) -> Any:
        nonlocal calls
        calls += 1
        return Snooze("1ms") if calls < 4 else ctx.attempt

    job = await run(rig, call, max_retries=0)
    assert (job.state, job.result, calls) == (JobState.SUCCEEDED, b"1", 4)


async def test_cancel_and_discard_end_it(rig: Rig) -> None:
    async def cancel(_: Context) -> Any:
        return Cancel("not needed")

    async def discard(_: Context) -> Any:
        return Discard("hopeless")

    job = await run(rig, cancel)
    assert (job.state, job.error.message) == (JobState.CANCELLED, "not needed")
    job = await run(rig, discard)
    assert (job.state, job.error.kind, job.error.message) == (JobState.DEAD, "discarded", "hopeless")


async def test_retry_after_chooses_the_time(rig: Rig) -> None:
    async def call(ctx: Context) -> Any:
        if ctx.attempt == 1:
            raise RetryAfter("5ms")
        return "ok"

    job = await run(rig, call, backoff={"kind": "constant", "base": "1h"})
    assert (job.state, job.attempt) == (JobState.SUCCEEDED, 2)


async def test_bad_arguments_are_final(rig: Rig) -> None:
    async def call(_: Context) -> None:
        raise BadArguments("to: expected str")

    job = await run(rig, call)
    assert (job.state, job.attempt, job.error.kind) == (JobState.DEAD, 1, "bad_arguments")


@pytest.mark.parametrize(
    "value", [object(), {1, object()}, float("nan"), "\ud800", "a\0b", {"a": [float("inf")]}]
)
async def test_a_result_that_is_not_json_is_bad_and_final(rig: Rig, value: object) -> None:
    async def call(_: Context) -> Any:
        return value

    job = await run(rig, call)
    assert (job.state, job.attempt, job.error.kind) == (JobState.DEAD, 1, "bad_result")


async def test_a_result_too_large_is_final(rig: Rig) -> None:
    async def call(_: Context) -> Any:
        return "x" * (rig.engine.bounds.max_result + 1)

    job = await run(rig, call)
    assert (job.state, job.error.kind) == (JobState.DEAD, "result_too_large")


async def test_lines_are_kept_by_attempt(rig: Rig) -> None:
    async def call(ctx: Context) -> None:
        ctx.logger.info("number %d", ctx.attempt)
        logging.getLogger("handler.own").warning("plain\0 %s", "logging")
        print("printed", file=sys.stderr)
        if ctx.attempt == 1:
            raise RuntimeError

    job = await run(rig, call)
    lines = [(attempt, line.level, line.text) for _, attempt, line in await rig.engine.jobs.logs(job.id)]
    assert lines == [
        (1, "INFO", "number 1"),
        (1, "WARNING", "plain\N{REPLACEMENT CHARACTER} logging"),
        (2, "INFO", "number 2"),
        (2, "WARNING", "plain\N{REPLACEMENT CHARACTER} logging"),
    ]


async def test_a_flood_of_lines_is_bounded(rig: Rig) -> None:
    async def call(ctx: Context) -> None:
        for n in range(20_000):
            ctx.logger.info("line %d", n)

    job = await run(rig, call)
    lines = await rig.engine.jobs.logs(job.id, limit=5000)
    assert job.state is JobState.SUCCEEDED
    assert len(lines) == 1000
    assert "more than 1000 lines" in lines[-1][2].text


async def test_tasks_left_behind_are_cancelled(rig: Rig) -> None:
    left: list[asyncio.Task[None]] = []

    async def call(_: Context) -> None:
        left.append(asyncio.create_task(asyncio.sleep(3600)))

    job = await run(rig, call)
    await asyncio.wait(left, timeout=60)
    assert left[0].cancelled()
    assert (
        "1 task that the handler started and left running was cancelled"
        in (await rig.engine.jobs.logs(job.id))[0][2].text
    )


async def test_progress_and_checkpoints_outlive_an_attempt(rig: Rig) -> None:
    async def call(ctx: Context) -> Any:
        if ctx.attempt == 1:
            await ctx.checkpoint({"row": 7})
            ctx.progress(7, 10, "rows")
            raise RuntimeError
        return ctx.last_checkpoint

    job = await run(rig, call)
    assert job.result == b'{"row":7}'
    assert msgspec.json.decode(job.progress) == {"current": 7, "total": 10, "message": "rows"}


async def test_chunks_answer_for_each_job(rig: Rig) -> None:
    sizes = []

    async def call_chunk(contexts: Any) -> Any:
        sizes.append(len(contexts))
        return [ValueError("odd") if ctx.payload["n"] % 2 else ctx.payload["n"] for ctx in contexts]

    handler = Handler(type="t", call=lambda _: None, call_chunk=call_chunk, chunk=4, chunk_wait=50_000)
    ids = [await rig.submit("t", {"n": n}, max_retries=0) for n in range(10)]
    async with rig.worker(handler), rig.scheduler():
        jobs = [await rig.ended(job_id) for job_id in ids]
    assert [job.state for job in jobs] == [JobState.DEAD if n % 2 else JobState.SUCCEEDED for n in range(10)]
    assert sum(sizes) == 10
    assert max(sizes) == 4


async def test_a_chunk_that_answers_wrongly_is_bad(rig: Rig) -> None:
    async def call_chunk(_: Any) -> Any:
        return [1]

    handler = Handler(type="t", call=lambda _: None, call_chunk=call_chunk, chunk=2, chunk_wait=10_000_000)
    ids = [await rig.submit("t") for _ in range(2)]
    async with rig.worker(handler):
        jobs = [await rig.ended(job_id) for job_id in ids]
    assert {job.error.kind for job in jobs} == {"bad_result"}


async def test_a_failure_leaves_a_line_in_the_log(rig: Rig, caplog: pytest.LogCaptureFixture) -> None:
    async def call(_: Context) -> None:
        raise ValueError("no such host\nand more")

    job = await run(rig, call, max_retries=1)
    lines = [record.getMessage() for record in caplog.records if job.id in record.getMessage()]
    assert lines == [
        f"job {job.id} (t): attempt 1 of 2 ended by exception: ValueError: no such host; tried again in 1ms",
        f"job {job.id} (t): attempt 2 of 2 ended by exception: ValueError: no such host; the job is dead",
    ]


async def test_a_chunk_does_not_wait_away_the_time_of_a_member(rig: Rig) -> None:
    sizes = []

    async def call_chunk(contexts: Any) -> Any:
        sizes.append(len(contexts))
        return [None for _ in contexts]

    # An hour for others to come: without its own deadline nothing would start the chunk within the test.
    hour = 3_600_000_000
    handler = Handler(type="t", call=lambda _: None, call_chunk=call_chunk, chunk=9, chunk_wait=hour)
    ids = [await rig.submit("t"), await rig.submit("t", timeout=4.0, max_retries=0)]
    async with rig.worker(handler, lease=30_000_000):
        jobs = [await rig.ended(job_id) for job_id in ids]
    assert [job.state for job in jobs] == [JobState.SUCCEEDED] * 2
    assert sizes == [2]


async def test_a_job_that_is_cancelled_while_its_chunk_fills_is_over_at_once(rig: Rig) -> None:
    called = []

    async def call_chunk(contexts: Any) -> Any:
        called.extend(ctx.job_id for ctx in contexts)
        return [None for _ in contexts]

    hour = 3_600_000_000
    handler = Handler(type="t", call=lambda _: None, call_chunk=call_chunk, chunk=2, chunk_wait=hour)
    gone = await rig.submit("t")
    async with rig.worker(handler, concurrency=2):
        await rig.in_state(gone, JobState.RUNNING)
        await rig.engine.jobs.cancel(gone, None)
        assert (await rig.ended(gone)).state is JobState.CANCELLED
        # It takes no place in the chunk, and no slot either.
        ids = [await rig.submit("t") for _ in range(2)]
        jobs = [await rig.ended(job_id) for job_id in ids]
    assert [job.state for job in jobs] == [JobState.SUCCEEDED] * 2
    assert sorted(called) == sorted(ids)
