"""The engine on a fresh SQLite file with full durability, as every measurement uses it."""

from __future__ import annotations

import asyncio
import sys
import tempfile
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any, TypeVar

import uvloop

from flux.brokers.from_store import StoreBroker
from flux.domain.job import NewJob
from flux.engine.clock import SystemClock
from flux.engine.context import Context
from flux.engine.engine import Engine
from flux.engine.handler import Handler
from flux.engine.scheduler import Scheduler, SchedulerOptions
from flux.engine.worker import Worker
from flux.engine.worker_options import WorkerOptions
from flux.stores.sqlite.store import SqliteStore

T = TypeVar("T")


def run(main: Coroutine[Any, Any, T]) -> T:
    """Run as the command line does: uvloop, and a short switch interval for the store's writer thread."""
    sys.setswitchinterval(0.0005)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(main)


@contextmanager
def database() -> Iterator[Path]:
    """A fresh file on the disk of the working directory (a memory file system would make every commit free)."""
    with tempfile.TemporaryDirectory(dir=".", prefix=".bench-") as folder:
        yield Path(folder) / "flux.db"


@asynccontextmanager
async def engine(path: Path) -> AsyncIterator[Engine]:
    """An open engine."""
    store = SqliteStore(str(path))
    opened = Engine(store, StoreBroker(store), SystemClock())
    await opened.open()
    try:
        yield opened
    finally:
        await opened.close()


@asynccontextmanager
async def working(
    running: Engine, handlers: dict[str, Handler], concurrency: int, scheduler: bool = True
) -> AsyncIterator[Worker]:
    """A worker (and a scheduler) beside the measurement, in its loop."""
    worker = Worker(running, handlers, WorkerOptions(concurrency=concurrency))
    leader = Scheduler(running, SchedulerOptions())
    tasks = [asyncio.create_task(worker.run())]
    if scheduler:
        tasks.append(asyncio.create_task(leader.run()))
    await worker.ready.wait()
    try:
        yield worker
    finally:
        worker.stop()
        leader.stop()
        await asyncio.gather(*tasks)


def counted(total: int, done: asyncio.Event) -> Handler:
    """A no-op handler that sets ``done`` at the last of ``total`` jobs."""
    left = total

    async def noop(_: Context) -> None:
        nonlocal left
        left -= 1
        if left == 0:
            done.set()

    return Handler(type="noop", call=noop)


def jobs(new_id: Callable[[], str], count: int) -> list[NewJob]:
    """No-op jobs."""
    return [NewJob(id=new_id(), type="noop") for _ in range(count)]
