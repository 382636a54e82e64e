"""The client of a server: the same calls and the same errors, through the real REST application."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from flux import Conflict, Flux, Invalid, JobFailed, JobHandler, JobState, NotFound, Unavailable
from flux.api.app import create_app
from flux.sdk.client import RemoteDoor
from flux.sdk.doors import EngineDoor


@pytest.fixture
async def remote(tmp_path: Path) -> AsyncIterator[tuple[Flux, JobHandler[[int], int]]]:
    """A client whose network is a server's application, and a worker behind it."""
    local = Flux(f"sqlite:///{tmp_path / 'flux.db'}")
    client = Flux("http://flux.example", token="t")

    async def divide(n: int) -> int:
        return 10 // n

    local.job(max_retries=0)(divide)
    handler = client.job(max_retries=0)(divide)
    door = await local.doors.here()
    assert isinstance(door, EngineDoor)
    client.doors.put(RemoteDoor("http://flux.example", "t", httpx.ASGITransport(create_app(door.engine))))
    stop, running = asyncio.Event(), asyncio.Event()

    async def work() -> None:
        async with local.worker():
            running.set()
            await stop.wait()

    task = asyncio.create_task(work())
    await running.wait()
    yield client, handler
    stop.set()
    await task
    await client.close()
    await local.close()


async def test_the_same_calls(remote: tuple[Flux, JobHandler[[int], int]]) -> None:
    flux, divide = remote
    handle = await divide.options(tags=["a"], headers={"h": "v"}, priority=7).enqueue(n=2)
    assert await handle.result(timeout=60) == 5
    job = await handle.get()
    assert (job.state, job.result, job.payload, job.priority) == (JobState.SUCCEEDED, b"5", b'{"n":2}', 7)
    assert (job.options.tags, job.options.headers, job.attempt) == (("a",), {"h": "v"}, 1)
    assert job.attempts is not None
    assert [one.outcome for one in job.attempts] == ["succeeded"]
    assert 0 < job.created_at <= (job.started_at or 0) <= (job.finished_at or 0)

    handles = await flux.enqueue_many([divide.request(n=n) for n in (1, 5, 0)])
    assert [await one.result(timeout=60) for one in handles[:2]] == [10, 2]
    with pytest.raises(JobFailed, match="ZeroDivisionError") as failed:
        await handles[2].result(timeout=60)
    assert failed.value.error.traceback
    assert (await handles[2].retry()).id == handles[2].id

    later = await divide.options(delay="1h").enqueue(n=1)
    with pytest.raises(TimeoutError):
        await later.result(timeout=0.1)
    assert (await later.cancel("no more")).state is JobState.CANCELLED


async def test_the_same_errors(remote: tuple[Flux, JobHandler[[int], int]]) -> None:
    flux, divide = remote
    with pytest.raises(NotFound):
        await flux.get("00000000-0000-7000-8000-000000000000")
    with pytest.raises(Invalid) as refused:
        await divide.options(priority=11).enqueue(n=1)
    assert [error.field for error in refused.value.errors] == ["priority"]
    with pytest.raises(Invalid) as refused:
        await flux.enqueue_many([divide.request(n=1), divide.options(delay="-1s").request(n=1)])
    assert [error.field for error in refused.value.errors] == ["jobs[1].delay"]
    once = divide.options(idempotency_key="k")
    assert (await once.enqueue(n=1)).id == (await once.enqueue(n=1)).id
    with pytest.raises(Conflict):
        await once.enqueue(n=2)
    with pytest.raises(RuntimeError, match="store"):
        async with flux.worker():
            pass


async def test_a_server_that_is_away() -> None:
    async with Flux("http://127.0.0.1:9") as flux:
        with pytest.raises(Unavailable, match=r"http://127\.0\.0\.1:9 cannot be reached"):
            await flux.enqueue("x")
