"""``ctx.heartbeat()``: long work says that it gets on, hears where it should end, and is ended when it falls silent."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from flux import Context, Flux, Job, JobCancelled, JobFailed, JobHandle, JobState
from flux.engine.ports import Note
from flux.sdk.doors import EngineDoor
from tests.integration import beating

SHORT = "300ms"


@pytest.fixture
async def flux(tmp_path: Path) -> AsyncIterator[Flux]:
    app = Flux(f"sqlite:///{tmp_path / 'flux.db'}")
    async with app:
        yield app


@pytest.fixture
async def beats(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Flux]:
    """The application of ``beating``, and a worker."""
    monkeypatch.setenv("DATABASE_URL", f"sqlite:///{tmp_path / 'flux.db'}")
    monkeypatch.chdir(tmp_path)
    async with beating.flux, beating.flux.worker(concurrency=5, grace=0):
        yield beating.flux


async def until(handle: JobHandle[Any], accept: Callable[[Job], bool]) -> Job:
    async with asyncio.timeout(60):
        while True:
            job = await handle.get()
            if accept(job):
                return job
            await asyncio.sleep(0.02)


async def failure(handle: JobHandle[Any]) -> tuple[str, str]:
    with pytest.raises(JobFailed) as failed:
        await handle.result(timeout=60)
    return failed.value.error.kind, failed.value.error.message


# --- where it should end ------------------------------------------------------------------------------------------


async def test_a_synchronous_handler_ends_at_its_next_heartbeat_when_it_is_cancelled(flux: Flux) -> None:
    started, raised = threading.Event(), threading.Event()

    @flux.job
    def work(ctx: Context) -> None:
        started.set()
        try:
            while True:
                ctx.heartbeat()
        except asyncio.CancelledError:
            raised.set()
            raise

    async with flux.worker():
        handle = await work.enqueue()
        await asyncio.to_thread(started.wait, 60)
        await handle.cancel()
        with pytest.raises(JobCancelled):
            await handle.result(timeout=60)
        assert raised.is_set()


async def test_a_worker_that_leaves_gets_a_beating_thread_back(flux: Flux) -> None:
    started = threading.Event()

    @flux.job
    def work(ctx: Context) -> None:
        started.set()
        while True:
            ctx.heartbeat()

    async with flux.worker(grace=0):
        handle = await work.enqueue()
        await asyncio.to_thread(started.wait, 60)
    job = await handle.get()
    assert (job.state, job.attempt) == (JobState.AVAILABLE, 0)


async def test_an_awaited_heartbeat_lets_the_event_loop_go_on(flux: Flux) -> None:
    @flux.job
    async def work(ctx: Context) -> int:
        beats, over = 0, False

        def end() -> None:
            nonlocal over
            over = True

        asyncio.get_running_loop().call_later(0.05, end)
        while not over:
            await ctx.heartbeat()
            beats += 1
        return beats

    async with flux.worker():
        assert await (await work.enqueue()).result(timeout=60) > 0


async def test_one_cancelled_job_does_not_end_its_chunk_by_a_heartbeat(flux: Flux) -> None:
    started, going = threading.Event(), threading.Event()

    @flux.job(chunk=2, chunk_wait="60s")
    def index(contexts: list[Context], items: list[int]) -> list[str]:
        started.set()
        while not going.is_set():
            for ctx in contexts:
                ctx.heartbeat()
        return ["cancelled" if ctx.cancelled else "indexed" for ctx in contexts]

    async with flux.worker(concurrency=2):
        one, two = await flux.enqueue_many([index.request(1), index.request(2)])
        await asyncio.to_thread(started.wait, 60)
        await one.cancel()
        with pytest.raises(JobCancelled):
            await one.result(timeout=60)
        going.set()
        assert await two.result(timeout=60) == "indexed"


# --- silence ------------------------------------------------------------------------------------------------------


async def test_an_async_handler_that_says_nothing_is_ended_and_tried_again(flux: Flux) -> None:
    @flux.job(heartbeat_timeout=SHORT, timeout="60s", max_retries=1, backoff=["1ms"])
    async def work(ctx: Context) -> int:
        if ctx.attempt == 1:
            await asyncio.Event().wait()
        loop = asyncio.get_running_loop()
        end = loop.time() + 1
        while loop.time() < end:
            await ctx.heartbeat()
        return ctx.attempt

    async with flux.worker():
        handle = await work.enqueue()
        assert await handle.result(timeout=60) == 2
    first, second = (await handle.get()).attempts or []
    assert (first.outcome, second.outcome) == ("timeout", "succeeded")
    assert first.error is not None
    assert first.error.kind == "timeout"
    assert first.error.message == "said nothing for its heartbeat timeout of 300ms"


@pytest.mark.parametrize("way", ["progress", "checkpoint"])
async def test_progress_and_checkpoints_are_heartbeats(flux: Flux, way: str) -> None:
    @flux.job(heartbeat_timeout=SHORT, max_retries=0)
    async def work(ctx: Context) -> str:
        loop = asyncio.get_running_loop()
        end = loop.time() + 1
        while loop.time() < end:
            if way == "progress":
                ctx.progress(0.5)
            else:
                ctx.checkpoint(1)
            await asyncio.sleep(0.01)
        return "done"

    async with flux.worker():
        handle = await work.enqueue()
        assert await handle.result(timeout=60) == "done"
    job = await handle.get()
    assert job.heartbeat_at is not None
    assert job.started_at is not None
    assert job.heartbeat_at >= job.started_at


async def test_a_chunk_is_silent_or_alive_as_a_whole(flux: Flux) -> None:
    @flux.job(chunk=3, chunk_wait="60s", heartbeat_timeout=SHORT, max_retries=0)
    async def index(contexts: list[Context], items: list[str]) -> None:
        if "silent" in items:
            await asyncio.Event().wait()
        loop = asyncio.get_running_loop()
        end = loop.time() + 1
        while loop.time() < end:
            await contexts[-1].heartbeat()

    async with flux.worker(concurrency=3):
        handles = await flux.enqueue_many([index.request("silent") for _ in range(3)])
        assert {await failure(handle) for handle in handles} == {
            ("timeout", "said nothing for its heartbeat timeout of 300ms")
        }
        handles = await flux.enqueue_many([index.request("beating") for _ in range(3)])
        assert [await handle.result(timeout=60) for handle in handles] == [None] * 3


async def test_threads_and_processes_are_listened_to(beats: Flux, tmp_path: Path) -> None:
    both: list[Any] = [beating.in_thread, beating.in_process]
    good = [await handler.enqueue(silent=False) for handler in both]
    bad = [await handler.enqueue(silent=True) for handler in both]
    said = ("timeout", "said nothing for its heartbeat timeout of 1s")
    assert [await failure(handle) for handle in bad] == [said, said]
    assert [await handle.result(timeout=60) for handle in good] == ["done", "done"]
    # The thread has gone on, and hears it when it speaks at last.
    told = tmp_path / f"{bad[0].id}.told"
    await until(bad[0], lambda _: told.exists() and told.read_text() == "CancelledError")


# --- what is seen of it -------------------------------------------------------------------------------------------


async def test_the_last_heartbeat_is_on_the_job(beats: Flux, tmp_path: Path) -> None:
    file = tmp_path / "end"
    handle = await beating.until_told.enqueue(str(file))
    job = await until(handle, lambda job: job.heartbeat_at is not None)
    assert job.state is JobState.RUNNING
    first = job.heartbeat_at
    assert first is not None
    await until(handle, lambda job: job.heartbeat_at is not None and job.heartbeat_at > first)
    file.touch()
    assert await handle.result(timeout=60) > 0


async def test_heartbeats_are_written_together(flux: Flux, monkeypatch: pytest.MonkeyPatch) -> None:
    said, seen = threading.Event(), threading.Event()
    written: list[Note] = []

    @flux.job
    def work(ctx: Context) -> None:
        for _ in range(20_000):
            ctx.heartbeat()
        said.set()
        seen.wait(60)

    door = await flux.doors.here()
    assert isinstance(door, EngineDoor)
    jobs = door.engine.store.jobs
    note = jobs.note

    async def counted(notes: Any) -> None:
        written.extend(notes)
        await note(notes)

    monkeypatch.setattr(jobs, "note", counted)
    async with flux.worker(concurrency=2):
        handles = [await work.enqueue() for _ in range(2)]
        await asyncio.to_thread(said.wait, 60)
        for handle in handles:
            await until(handle, lambda job: job.heartbeat_at is not None)
        seen.set()
        for handle in handles:
            await handle.result(timeout=60)
    assert {note.job_id for note in written} == {handle.id for handle in handles}
    assert len(written) < 100


async def test_in_a_direct_call_a_heartbeat_says_nothing(flux: Flux) -> None:
    @flux.job(heartbeat_timeout=SHORT)
    async def work(ctx: Context) -> str:
        await ctx.heartbeat()
        return "called"

    assert await work() == "called"
