"""A real engine on a real SQLite file, with workers and a scheduler in the test's own loop."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest

from flux.brokers.from_store import StoreBroker
from flux.domain.duration import MILLISECOND, SECOND
from flux.domain.job import FINAL, Job, JobState
from flux.domain.request import JobRequest
from flux.engine.clock import SystemClock
from flux.engine.engine import Engine
from flux.engine.handler import Handler
from flux.engine.scheduler import Scheduler, SchedulerOptions
from flux.engine.worker import Worker
from flux.engine.worker_options import WorkerOptions
from flux.stores.sqlite.store import SqliteStore

PATIENCE = 60.0
"""Seconds for anything to come true: other tests have the machine too."""


class Rig:
    """One process's engine, and workers on it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.engine = self.another_engine()
        self._stack = AsyncExitStack()

    def another_engine(self) -> Engine:
        store = SqliteStore(str(self.path))
        return Engine(store, StoreBroker(store), SystemClock())

    @asynccontextmanager
    async def worker(self, *handlers: Handler, **options: Any) -> AsyncIterator[Worker]:
        options = {"lease": 2 * SECOND, "grace": 5 * SECOND} | options
        worker = Worker(self.engine, {h.type: h for h in handlers}, WorkerOptions(**options))
        task = asyncio.create_task(worker.run())
        ready = asyncio.create_task(worker.ready.wait())
        await asyncio.wait([task, ready], return_when=asyncio.FIRST_COMPLETED)
        ready.cancel()
        try:
            yield worker
        finally:
            worker.stop_now()
            await task

    @asynccontextmanager
    async def scheduler(self, **options: Any) -> AsyncIterator[Scheduler]:
        options = {"interval": 100 * MILLISECOND, "lease": SECOND, "grace": 500 * MILLISECOND} | options
        scheduler = Scheduler(self.engine, SchedulerOptions(**options))
        task = asyncio.create_task(scheduler.run())
        try:
            yield scheduler
        finally:
            scheduler.stop()
            await task

    async def submit(self, type: str, payload: object = None, **fields: Any) -> str:
        raw = msgspec.Raw(msgspec.json.encode({} if payload is None else payload))
        return (await self.engine.jobs.submit(JobRequest(type=type, payload=raw, **fields))).job.id

    async def ended(self, job_id: str) -> Job:
        job = await self.engine.jobs.wait(job_id, PATIENCE)
        assert job.state in FINAL, f"still {job.state} after {PATIENCE} s"
        return job

    async def until(self, job_id: str, accept: Callable[[Job], bool]) -> Job:
        """The job once it is as wanted; looks again at every change."""
        async with asyncio.timeout(PATIENCE):
            seen = self.engine.store.changes.version()
            while True:
                job = await self.engine.jobs.get(job_id)
                if accept(job):
                    return job
                seen = await self.engine.store.changes.wait(seen, 0.1)

    async def in_state(self, job_id: str, state: JobState) -> Job:
        return await self.until(job_id, lambda job: job.state is state)


@pytest.fixture
async def rig(tmp_path: Path) -> AsyncIterator[Rig]:
    made = Rig(tmp_path / "flux.db")
    await made.engine.open()
    try:
        yield made
    finally:
        await made.engine.close()
