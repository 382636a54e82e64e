"""`flux.testing`: inline, and the real engine with a steered clock."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Annotated, Any

import pytest

from flux import Context, Depends, Flux, JobFailed, JobState, Snooze
from flux.testing import SteeredClock, drain, inline, sandbox


@pytest.fixture
def flux() -> Flux:
    return Flux("sqlite:////nowhere/never-opened.db")


async def test_inline_runs_at_once(flux: Flux) -> None:
    async def session() -> str:
        return "session"

    @flux.job(max_retries=5)
    async def work(ctx: Context, n: int, session: Annotated[str, Depends(session)] = "") -> list[Any]:
        if n < 0:
            raise ValueError("negative")
        return [n, session, ctx.attempt, ctx.queue]

    @flux.job
    def outer(n: int) -> str:
        return work.options(queue="inner").enqueue_sync(n=n).id

    with inline(flux) as door:
        handle = await work.options(delay="1h").enqueue(n=1)
        assert await handle.result() == [1, "session", 1, "default"]
        inner = await (await outer.enqueue(n=2)).result()
        assert await flux.result(inner) == [2, "session", 1, "inner"]
        with pytest.raises(JobFailed, match="negative") as failed:
            await (await work.enqueue(n=-1)).result()
        assert failed.value.error.kind == "exception"
        assert (await (await flux.enqueue("work", {"m": 1})).get()).state is JobState.DEAD
        assert (await (await flux.enqueue("unknown")).get()).state is JobState.AVAILABLE
        assert len(door.jobs) == 6
    with inline(flux, raise_errors=True), pytest.raises(ValueError, match="negative"):
        await work.enqueue(n=-1)


def test_inline_from_synchronous_code(flux: Flux) -> None:
    @flux.job
    async def work(n: int) -> int:
        return n + 1

    with inline(flux):
        assert work.enqueue_sync(n=1).result_sync() == 2
    flux.close_sync()


async def test_drain_runs_what_is_due_and_nothing_else(flux: Flux) -> None:
    ran: list[str] = []

    @flux.job(max_retries=2, backoff=["1h"])
    async def work(ctx: Context, name: str, fail: int = 0, more: int = 0) -> int:
        ran.append(name)
        if ctx.attempt <= fail:
            raise OSError("again")
        if more:
            await work.enqueue(name=f"{name}+", more=more - 1)
        return ctx.attempt

    async with sandbox(flux, SteeredClock("2026-01-01T00:00:00Z")) as box:
        await work.enqueue(name="now", more=2)
        later = await work.options(delay="30m").enqueue(name="later")
        flaky = await work.enqueue(name="flaky", fail=1)
        await drain(flux)
        assert sorted(ran) == ["flaky", "now", "now+", "now++"]
        assert await flaky.state() is JobState.RETRYING
        assert box.clock() == int(datetime(2026, 1, 1, tzinfo=UTC).timestamp()) * 1_000_000

        box.clock.advance("30m")
        await drain(flux)
        assert await later.state() is JobState.SUCCEEDED
        assert await flaky.state() is JobState.RETRYING

        await drain(flux, during="1d")
        assert await flaky.result() == 2
        assert [job.type for job in await box.jobs("succeeded")] == ["work"] * 5
    with pytest.raises(RuntimeError, match="sandbox"):
        await drain(flux)


async def test_a_day_of_a_schedule(flux: Flux) -> None:
    fired: list[str] = []

    @flux.schedule("0 */6 * * *", timezone="UTC")
    @flux.job
    async def report(ctx: Context) -> Any:
        fired.append(ctx.job_id)
        return Snooze("1s") if len(fired) == 1 else None

    async with sandbox(flux, SteeredClock("2026-01-01T00:00:01Z")) as box:
        await box.drain(during="1d")
        assert len(fired) == 5  # four, and the one that snoozed
        assert {job.state for job in await box.jobs()} == {JobState.SUCCEEDED, JobState.SCHEDULED}


async def test_a_handler_in_a_thread_enqueues(flux: Flux) -> None:
    @flux.job
    async def inner(n: int) -> int:
        return n

    @flux.job
    def outer() -> str:
        return inner.enqueue_sync(n=3).id

    async with sandbox(flux) as box:
        handle = await outer.enqueue()
        await box.drain()
        assert await flux.result(await handle.result()) == 3
        with pytest.raises(RuntimeError, match="inside a sandbox"):
            inner.enqueue_sync(n=1)
        job_id = await asyncio.to_thread(lambda: inner.enqueue_sync(n=1).id)
        assert await flux.get(job_id)
