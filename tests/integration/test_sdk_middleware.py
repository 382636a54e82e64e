"""Middleware around what a real worker runs, attempts of chunks included, and around what is enqueued for it."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from flux import CallNext, Context, Enqueue, Flux, JobCancelled, JobFailed, Request
from flux.testing import inline


@pytest.fixture
async def flux(tmp_path: Path) -> AsyncIterator[Flux]:
    app = Flux(f"sqlite:///{tmp_path / 'flux.db'}")
    async with app:
        yield app


async def test_one_declaration_is_around_enqueues_and_attempts(flux: Flux) -> None:
    seen: list[str] = []

    @flux.middleware
    async def trace(call: Context | Enqueue, call_next: CallNext) -> Any:
        if isinstance(call, Enqueue):
            seen.append(f"enqueue of {len(call.requests)}")
            for request in call.requests:
                request.headers = {**(request.headers or {}), "trace": "t-1"}
            accepted = await call_next(call)
            assert len({job.id for job in accepted}) == len(call.requests)
            return accepted
        seen.append(f"attempt of {call.type} in {call.headers['trace']}")
        return await call_next(call)

    @flux.job(headers={"tenant": "a"})
    async def asynchronous(ctx: Context) -> dict[str, str]:
        return dict(ctx.headers)

    @flux.job
    def threaded(ctx: Context) -> str:
        return ctx.headers["trace"]

    async with flux.worker():
        both: list[Request[Any]] = [asynchronous.request(), threaded.request()]
        first, second = await flux.enqueue_many(both)
        assert await first.result(timeout=60) == {"tenant": "a", "trace": "t-1"}
        assert await second.result(timeout=60) == "t-1"
        third = await asyncio.to_thread(threaded.enqueue_sync)
        assert await third.result(timeout=60) == "t-1"
    assert sorted(seen) == [
        "attempt of asynchronous in t-1",
        "attempt of threaded in t-1",
        "attempt of threaded in t-1",
        "enqueue of 1",
        "enqueue of 2",
    ]


async def test_a_middleware_makes_no_other_number_of_jobs_and_answers(flux: Flux) -> None:
    @flux.job
    async def work() -> None: ...

    @flux.middleware
    async def wrong(enqueue: Enqueue, call_next: CallNext) -> Any:
        if len(enqueue.requests) == 2:
            enqueue.requests.pop()
            return await call_next(enqueue)
        return None

    with pytest.raises(RuntimeError, match="an enqueue of 2 jobs and made it one of 1"):
        await flux.enqueue_many([work.request(), work.request()])
    with pytest.raises(RuntimeError, match="did not return"):
        await work.enqueue()


async def test_the_enqueue_of_an_inline_test_is_wrapped_too(flux: Flux) -> None:
    seen: list[str] = []

    @flux.middleware
    async def note(call: Context | Enqueue, call_next: CallNext) -> Any:
        seen.append(type(call).__name__)
        return await call_next(call)

    @flux.job(chunk=5)
    async def double(items: list[int]) -> list[int]:
        return [2 * item for item in items]

    with inline(flux):
        assert await (await double.enqueue(4)).result() == 8
    assert seen == ["Enqueue", "Context"]


# --- chunks -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("threaded", [False, True], ids=["async", "thread"])
async def test_every_attempt_of_a_chunk_is_within_its_own_middleware(flux: Flux, threaded: bool) -> None:
    calls: list[list[Any]] = []
    failed: list[str] = []

    @flux.middleware
    async def outer(ctx: Context, call_next: CallNext) -> Any:
        ctx.logger.info("outer of %s", ctx.payload)
        return {"outer": await call_next(ctx)}

    @flux.middleware
    async def inner(ctx: Context, call_next: CallNext) -> Any:
        if ctx.payload == 0:
            return "not even called"
        try:
            return await call_next(ctx)
        except Exception as error:
            failed.append(f"{ctx.payload}: {type(error).__name__}")
            raise

    def answer(items: list[int]) -> list[Any]:
        calls.append(sorted(items))
        return [ValueError("three") if item == 3 else item * 10 for item in items]

    if threaded:

        @flux.job(name="scale", chunk=5, chunk_wait="60s", max_retries=0)
        def scale_in_thread(items: list[int]) -> list[Any]:
            assert threading.current_thread() is not threading.main_thread()
            return answer(items)

        scale: Any = scale_in_thread
    else:

        @flux.job(name="scale", chunk=5, chunk_wait="60s", max_retries=0)
        async def scale_in_loop(items: list[int]) -> list[Any]:
            return answer(items)

        scale = scale_in_loop

    payloads = [0, 1, 2, 3, "four"]
    async with flux.worker(concurrency=5):
        handles = await flux.enqueue_many([scale.request(payload) for payload in payloads])
        ends: list[Any] = []
        for handle in handles:
            try:
                ends.append(await handle.result(timeout=60))
            except JobFailed as failure:
                ends.append(failure.error.kind)
    assert calls == [[1, 2, 3]]
    assert ends == [
        {"outer": "not even called"},
        {"outer": 10},
        {"outer": 20},
        "exception",
        "bad_arguments",
    ]
    assert sorted(failed) == ["3: ValueError", "four: BadArguments"]
    door: Any = await flux.doors.here()
    for handle, payload in zip(handles, payloads, strict=True):
        lines = await door.engine.store.queries.logs(handle.id, 0, 10)
        assert [line.text for _, _, line in lines] == [f"outer of {payload}"]


async def test_the_call_of_a_chunk_waits_for_all_that_are_on_their_way(flux: Flux) -> None:
    calls: list[list[int]] = []
    inside = asyncio.Event()

    @flux.middleware
    async def one_late_and_one_that_leaves(ctx: Context, call_next: CallNext) -> Any:
        if ctx.payload == 1:
            asyncio.get_running_loop().call_later(0.01, inside.set)
        else:
            await inside.wait()
        return "left" if ctx.payload == 3 else await call_next(ctx)

    @flux.job(chunk=3, chunk_wait="60s", max_retries=0)
    async def index(items: list[int]) -> list[int]:
        calls.append(sorted(items))
        return items

    async with flux.worker(concurrency=3):
        handles = await flux.enqueue_many([index.request(item) for item in (1, 2, 3)])
        assert [await handle.result(timeout=60) for handle in handles] == [1, 2, "left"]
    assert calls == [[1, 2]]


async def test_a_middleware_of_a_chunk_may_ask_again(flux: Flux) -> None:
    calls: list[list[int]] = []

    @flux.middleware
    async def twice(ctx: Context, call_next: CallNext) -> Any:
        try:
            return await call_next(ctx)
        except KeyError:
            return await call_next(ctx)

    @flux.job(chunk=3, chunk_wait="60s", max_retries=0)
    async def index(items: list[int]) -> list[Any]:
        calls.append(sorted(items))
        return [KeyError(item) if item > 1 and len(calls) == 1 else item for item in items]

    async with flux.worker(concurrency=3):
        handles = await flux.enqueue_many([index.request(item) for item in (1, 2, 3)])
        assert [await handle.result(timeout=60) for handle in handles] == [1, 2, 3]
    assert calls == [[1, 2, 3], [2, 3]]


async def test_a_middleware_that_has_no_patience_leaves_the_chunk_alone(flux: Flux) -> None:
    going, patience = asyncio.Event(), asyncio.Event()

    @flux.middleware
    async def impatient(ctx: Context, call_next: CallNext) -> Any:
        if ctx.payload != 1:
            return await call_next(ctx)
        inner = asyncio.ensure_future(call_next(ctx))
        await patience.wait()
        inner.cancel()
        return "gave up"

    @flux.job(chunk=2, chunk_wait="60s", max_retries=0)
    async def index(items: list[int]) -> list[int]:
        patience.set()
        await going.wait()
        return items

    async with flux.worker(concurrency=2):
        one, two = await flux.enqueue_many([index.request(1), index.request(2)])
        await asyncio.wait_for(patience.wait(), 60)
        going.set()
        assert await two.result(timeout=60) == 2
        assert await one.result(timeout=60) == "gave up"


async def test_a_failure_and_a_wrong_answer_of_a_chunk_reach_all_its_attempts(flux: Flux) -> None:
    failures: list[str] = []

    @flux.middleware
    async def watch(ctx: Context, call_next: CallNext) -> Any:
        try:
            return await call_next(ctx)
        except Exception as error:
            failures.append(f"{ctx.type} {type(error).__name__}")
            raise

    @flux.job(chunk=2, chunk_wait="60s", max_retries=0)
    async def fails(items: list[int]) -> None:
        raise KeyError("all of them")

    @flux.job(chunk=2, chunk_wait="60s", max_retries=5)
    async def answers_badly(items: list[int]) -> Any:
        return [1]

    async with flux.worker(concurrency=4):
        handles = await flux.enqueue_many(
            [fails.request(1), fails.request(2), answers_badly.request(1), answers_badly.request(2)]
        )
        kinds = []
        for handle in handles:
            with pytest.raises(JobFailed) as failed:
                await handle.result(timeout=60)
            kinds.append(failed.value.error.kind)
    assert kinds == ["exception", "exception", "bad_result", "bad_result"]
    assert sorted(failures) == ["answers_badly BadResult"] * 2 + ["fails KeyError"] * 2


async def test_one_job_of_a_chunk_is_cancelled_within_its_middleware(flux: Flux) -> None:
    started, going = asyncio.Event(), asyncio.Event()
    left: list[Any] = []

    @flux.middleware
    async def watch(ctx: Context, call_next: CallNext) -> Any:
        try:
            return await call_next(ctx)
        finally:
            left.append(ctx.payload)

    @flux.job(chunk=2, chunk_wait="60s")
    async def index(items: list[int]) -> None:
        started.set()
        await going.wait()

    async with flux.worker(concurrency=2):
        one, two = await flux.enqueue_many([index.request(1), index.request(2)])
        await asyncio.wait_for(started.wait(), 60)
        await one.cancel()
        with pytest.raises(JobCancelled):
            await one.result(timeout=60)
        going.set()
        assert await two.result(timeout=60) is None
    assert sorted(left) == [1, 2]


async def test_a_worker_that_leaves_gives_a_chunk_back_out_of_its_middleware(flux: Flux) -> None:
    started = asyncio.Event()
    ends: list[str] = []

    @flux.middleware
    async def watch(ctx: Context, call_next: CallNext) -> Any:
        try:
            return await call_next(ctx)
        except asyncio.CancelledError:
            ends.append("cancelled")
            raise

    @flux.job(chunk=2, chunk_wait="60s")
    async def index(items: list[int]) -> None:
        started.set()
        await asyncio.sleep(3600)

    async with flux.worker(concurrency=2, grace=0):
        handles = await flux.enqueue_many([index.request(1), index.request(2)])
        await asyncio.wait_for(started.wait(), 60)
    assert ends == ["cancelled", "cancelled"]
    assert [str(await handle.state()) for handle in handles] == ["available", "available"]
