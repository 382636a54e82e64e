"""Jobs from Python to Python: declared, enqueued and run by an embedded worker on a real SQLite file."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import pytest

from flux import (
    Cancel,
    Conflict,
    Context,
    Depends,
    Discard,
    Flux,
    Invalid,
    JobCancelled,
    JobFailed,
    JobState,
    NotFound,
    RetryAfter,
    Snooze,
)
from flux.engine.scheduler import Scheduler


@pytest.fixture
async def flux(tmp_path: Path) -> AsyncIterator[Flux]:
    app = Flux(f"sqlite:///{tmp_path / 'flux.db'}")
    async with app:
        yield app


@dataclass
class Point:
    x: int
    y: int


async def test_from_enqueue_to_result(flux: Flux) -> None:
    @flux.job(queue="points", max_retries=1, tags=["geo"])
    async def mirror(ctx: Context, point: Point) -> Point:
        assert ctx.tags == ("geo",)
        return Point(point.y, point.x)

    @flux.job
    def plain(a: int, b: int = 2) -> int:
        return a + b

    async with flux.worker(concurrency=5):
        handle = await mirror.enqueue(Point(1, 2))
        assert await handle.result(timeout=60) == Point(2, 1)
        assert await handle.state() is JobState.SUCCEEDED
        assert (await handle.get()).queue == "points"
        assert await (await plain.enqueue(a=1)).result(timeout=60) == 3
        assert await (await flux.enqueue("plain", {"a": 4})).result(timeout=60) == 6
        handles = await flux.enqueue_many([plain.request(a=n) for n in range(50)])
        assert [await handle.result(timeout=60) for handle in handles] == [n + 2 for n in range(50)]


async def test_outcomes(flux: Flux) -> None:
    @flux.job(max_retries=0)
    async def end(how: str) -> Any:
        return {"cancel": Cancel("not today"), "discard": Discard("never")}[how]

    @flux.job(backoff=["10ms"])
    async def third(ctx: Context) -> int:
        if ctx.attempt == 1:
            raise RetryAfter("20ms")
        if ctx.attempt == 2:
            raise OSError("again")
        return ctx.attempt

    @flux.job
    async def nap(ctx: Context) -> str | Snooze:
        if ctx.last_checkpoint is None:
            await ctx.checkpoint("slept")
            return Snooze("10ms")
        return f"{ctx.last_checkpoint} {ctx.attempt}"

    @flux.job(no_retry=KeyError)
    def final() -> None:
        raise KeyError("x")

    async with flux.worker():
        with pytest.raises(JobCancelled, match="not today"):
            await (await end.enqueue("cancel")).result(timeout=60)
        with pytest.raises(JobFailed, match="never") as failed:
            await (await end.enqueue("discard")).result(timeout=60)
        assert failed.value.error.kind == "discarded"
        with pytest.raises(JobFailed) as failed:
            await (await end.enqueue("neither")).result(timeout=60)
        assert failed.value.error.message == "KeyError: 'neither'"
        assert "in end" in (failed.value.error.traceback or "")
        assert await (await third.enqueue()).result(timeout=60) == 3
        assert await (await nap.enqueue()).result(timeout=60) == "slept 1"
        with pytest.raises(JobFailed) as failed:
            await (await final.enqueue()).result(timeout=60)
        assert failed.value.job.attempt == 1
        with pytest.raises(JobFailed) as failed:
            await (await flux.enqueue("third", {"surprise": 1})).result(timeout=60)
        assert failed.value.error.kind == "bad_arguments"
        assert failed.value.error.message == "surprise: is not an argument of third; it takes none"


async def test_cancel_retry_and_what_is_refused(flux: Flux) -> None:
    @flux.job
    async def work(n: int = 0) -> int:
        return n

    handle = await work.options(delay="1h").enqueue(n=1)
    assert await handle.state() is JobState.SCHEDULED
    with pytest.raises(TimeoutError, match="is still scheduled"):
        await handle.result(timeout=0.05)
    assert (await handle.cancel("changed my mind")).state is JobState.CANCELLED
    with pytest.raises(JobCancelled, match="changed my mind"):
        await handle.result()
    with pytest.raises(Conflict):
        await handle.cancel()
    assert (await handle.retry()).state is JobState.AVAILABLE
    with pytest.raises(NotFound):
        await flux.get("no-such-job")
    with pytest.raises(Invalid) as refused:
        await flux.enqueue_many([work.request(), work.options(delay="-1s", priority=11).request()])
    assert {error.field for error in refused.value.errors} == {"jobs[1].delay", "jobs[1].priority"}
    key = work.options(idempotency_key="k")
    assert (await key.enqueue(n=1)).id == (await key.enqueue(n=1)).id
    with pytest.raises(Conflict):
        await key.enqueue(n=2)
    unique = work.options(unique=True)
    assert (await unique.enqueue(n=7)).id == (await unique.enqueue(n=7)).id


async def test_cancel_of_a_running_job_reaches_its_handler(flux: Flux) -> None:
    started, ended = asyncio.Event(), asyncio.Event()

    @flux.job
    async def wait() -> None:
        started.set()
        try:
            await asyncio.sleep(60)
        finally:
            ended.set()

    async with flux.worker():
        handle = await wait.enqueue()
        await asyncio.wait_for(started.wait(), 60)
        await handle.cancel()
        with pytest.raises(JobCancelled):
            await handle.result(timeout=60)
        assert ended.is_set()


async def test_hooks_dependencies_and_threads_of_a_worker(flux: Flux) -> None:
    log: list[str] = []
    flux.on_startup(lambda: log.append("up"))

    @flux.on_shutdown
    async def down() -> None:
        log.append("down")

    async def pool() -> AsyncIterator[str]:
        log.append("pool")
        yield "pool"
        log.append("pool closed")

    def connection() -> Any:
        with closing(sqlite3.connect(":memory:")) as made:
            yield made  # refuses to be used or closed in another thread

    @flux.job
    def query(
        number: int,
        pool: Annotated[str, Depends(pool, scope="worker")],
        db: Annotated[sqlite3.Connection, Depends(connection)],
    ) -> list[Any]:
        return [pool, db.execute("SELECT ?", (number,)).fetchone()[0]]

    @flux.job
    async def nested() -> list[Any]:
        return await (await query.enqueue(number=7)).result(timeout=60)  # type: ignore[call-arg]

    async with flux.worker():
        handles = [await flux.enqueue("query", {"number": n}) for n in range(20)]
        assert [await handle.result(timeout=60) for handle in handles] == [["pool", n] for n in range(20)]
        assert await (await nested.enqueue()).result(timeout=60) == ["pool", 7]
    assert log == ["up", "pool", "pool closed", "down"]


async def test_a_worker_speaks_of_one_as_of_one(flux: Flux, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "flux")
    started = asyncio.Event()

    @flux.job
    async def wait() -> None:
        started.set()
        await asyncio.Event().wait()

    async with flux.worker(concurrency=1, grace=0):
        await wait.enqueue()
        await asyncio.wait_for(started.wait(), 60)
    said = [record.getMessage() for record in caplog.records if record.name == "flux.worker"]
    assert said[0].endswith("takes jobs: 1 slot, queues *, 1 type")
    assert [line.partition(" leaves: ")[2] for line in said if " leaves: " in line] == [
        "waits for 1 running job"
    ]
    assert [line[-16:] for line in said if " hands back " in line] == ["hands back 1 job"]


async def test_a_worker_says_that_its_slots_bound_chunks(
    flux: Flux, caplog: pytest.LogCaptureFixture
) -> None:
    sizes = []

    @flux.job(chunk=3, chunk_wait="10s")
    async def wide(items: list[int]) -> None:
        sizes.append(len(items))

    @flux.job(chunk=2)
    async def fits(items: list[int]) -> None: ...

    handles = await flux.enqueue_many([wide.request(n) for n in range(4)])
    async with flux.worker(concurrency=2):
        for handle in handles:
            await handle.result(timeout=60)
    assert max(sizes) == 2
    warned = [record.getMessage() for record in caplog.records if "chunks of" in record.getMessage()]
    assert warned == [
        "chunks of wide will have at most 2 jobs: each of their jobs takes one of the worker's slots"
    ]


async def test_chunks(flux: Flux) -> None:
    calls: list[int] = []

    @flux.job(chunk=10, chunk_wait="50ms", max_retries=0)
    async def index(items: list[int]) -> list[Any]:
        calls.append(len(items))
        return [ValueError("odd") if item % 2 else item * 10 for item in items]

    handles = await flux.enqueue_many([index.request(n) for n in range(10)])
    stranger = await flux.enqueue("index", {"not": "a number"})
    async with flux.worker(concurrency=20):
        assert await handles[4].result(timeout=60) == 40
        with pytest.raises(JobFailed, match="odd"):
            await handles[3].result(timeout=60)
        with pytest.raises(JobFailed, match="bad_arguments"):
            await stranger.result(timeout=60)
    assert sum(calls) == 10
    assert max(calls) > 1


async def test_declared_schedules_are_reconciled_and_run(flux: Flux) -> None:
    @flux.schedule(every="100ms", n=3)
    @flux.job
    async def tick(ctx: Context, n: int) -> int:
        done.set()
        assert ctx.schedule_id is not None
        return n

    done = asyncio.Event()
    async with flux.worker():
        await asyncio.wait_for(done.wait(), 60)
    async with flux.worker() as worker:
        assert worker.id is not None


async def test_errors_of_the_block_and_of_the_start_surface(flux: Flux) -> None:
    with pytest.raises(KeyError, match="mine"):
        async with flux.worker():
            raise KeyError("mine")

    @flux.on_startup
    async def broken() -> None:
        raise OSError("no pool")

    with pytest.raises(OSError, match="no pool"):
        async with flux.worker():
            raise AssertionError("it must not start")


async def test_a_worker_ends_in_order(flux: Flux) -> None:
    @flux.job
    async def slow() -> str:
        started.set()
        await asyncio.sleep(0.2)
        return "done"

    started = asyncio.Event()

    async with flux.worker(grace="10s"):
        handle = await slow.enqueue()
        await asyncio.wait_for(started.wait(), 60)
    assert await handle.result(timeout=60) == "done"


# --- from synchronous code ----------------------------------------------------------------------------------------


def test_synchronous_code_without_a_loop(tmp_path: Path) -> None:
    flux = Flux(f"sqlite:///{tmp_path / 'flux.db'}")

    @flux.job
    async def double(n: int) -> int:
        return 2 * n

    first = double.enqueue_sync(n=1)
    second, third = flux.enqueue_many_sync([double.request(n=2), double.request(n=3)])
    assert flux.enqueue_sync("double", {"n": 4}, delay="1h")
    with pytest.raises(TimeoutError):
        first.result_sync(timeout=0.05)

    async def work() -> None:
        async with flux.worker():
            assert await asyncio.to_thread(first.result_sync, 60) == 2
            assert await asyncio.to_thread(flux.result_sync, second.id, 60) == 4
            with pytest.raises(RuntimeError, match="would block the running event loop"):
                third.result_sync()
            inside = double.enqueue_sync(n=5)
            assert await inside.result(timeout=60) == 10

    asyncio.run(work())
    assert flux.get_sync(third.id).state is JobState.SUCCEEDED
    flux.close_sync()
    assert double.enqueue_sync(n=9).id  # connects anew
    flux.close_sync()


async def test_a_second_loop_has_its_own_connection(flux: Flux) -> None:
    @flux.job
    async def one() -> int:
        return 1

    async def elsewhere() -> str:
        handle = await one.enqueue()
        await flux.close()
        return handle.id

    job_id = await asyncio.to_thread(asyncio.run, elsewhere())
    assert (await flux.get(job_id)).state is JobState.AVAILABLE


async def test_a_worker_that_breaks_ends_the_block(flux: Flux, monkeypatch: pytest.MonkeyPatch) -> None:
    breaks = asyncio.Event()

    async def broken(scheduler: Scheduler) -> None:
        await breaks.wait()
        raise OSError("broken")

    monkeypatch.setattr(Scheduler, "run", broken)
    ended: list[str] = []
    flux.on_shutdown(lambda: ended.append("down"))

    async def serve() -> None:
        async with flux.worker():
            breaks.set()
            await asyncio.sleep(30)

    with pytest.raises(OSError, match="broken"):
        await serve()
    assert ended == ["down"]


async def test_a_cancelled_block_hands_its_jobs_back(flux: Flux) -> None:
    started = asyncio.Event()

    @flux.job
    async def wait() -> None:
        started.set()
        await asyncio.sleep(60)

    async def serve() -> None:
        async with flux.worker():
            await asyncio.sleep(60)

    handle = await wait.enqueue()
    serving = asyncio.create_task(serve())
    await asyncio.wait_for(started.wait(), 60)
    serving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await serving
    job = await handle.get()
    assert job.state is JobState.AVAILABLE
    assert [one.outcome for one in job.attempts or ()] == ["released"]
