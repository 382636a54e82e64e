"""A real Flux in a thread of its own: engine, worker, scheduler and dashboard on one SQLite file."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
from collections.abc import Coroutine
from concurrent.futures import Future
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import uvicorn

from flux.brokers.from_store import StoreBroker
from flux.dashboard.app import Dashboard, create_dashboard
from flux.domain.job import Job, JobState
from flux.domain.request import parse_job
from flux.engine.clock import SystemClock
from flux.engine.context import Context
from flux.engine.engine import Engine
from flux.engine.handler import Handler
from flux.engine.schedule_request import parse_schedule
from flux.engine.scheduler import Scheduler, SchedulerOptions
from flux.engine.worker import Worker
from flux.engine.worker_options import WorkerOptions
from flux.stores.sqlite.store import SqliteStore

T = TypeVar("T")

PATIENCE = 60.0
"""Seconds for anything to come true: other tests have the machine too."""


async def echo(ctx: Context) -> Any:
    """Give the payload back."""
    ctx.logger.info("echo of %s", ctx.payload)
    return ctx.payload


async def fails(ctx: Context) -> Any:
    """Fail as often as the payload says, then succeed."""
    ctx.logger.warning("about to fail")
    if ctx.attempt <= ctx.payload.get("times", 1):
        raise ValueError(ctx.payload.get("message", "no luck"))
    return {"attempt": ctx.attempt}


async def slow(ctx: Context) -> Any:
    """Say how far it is, until it is told to stop."""
    for step in range(10_000):
        ctx.progress(step, 10_000, "counting")
        ctx.logger.info("step %d", step)
        await asyncio.sleep(0.2)


HANDLERS = {
    name: Handler(type=name, call=call) for name, call in (("echo", echo), ("fails", fails), ("slow", slow))
}


class LiveSite:
    """What the tests talk to: ``url`` with the browser, the engine's verbs directly."""

    def __init__(self, folder: Path, *, prefix: str = "", mount: bool = False) -> None:
        self.file = folder / "flux.db"
        self._mount = mount
        self._prefix = prefix
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port: int = free.getsockname()[1]
        self.host = f"http://127.0.0.1:{self.port}"
        self.url = self.host + prefix
        self.engine: Engine
        self.worker: Worker | None = None
        self._loop = asyncio.new_event_loop()
        self._ready: Future[None] = Future()
        self._stop = asyncio.Event()
        self._thread = threading.Thread(target=self._run, name="live-site")

    def __enter__(self) -> LiveSite:
        self._thread.start()
        self._ready.result(PATIENCE)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(PATIENCE)
        assert not self._thread.is_alive(), "the site did not stop"

    def do(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Run something on the engine's loop."""
        # Twice, so that what waits inside says itself what it waited for.
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(2 * PATIENCE)

    # --- verbs ---

    def put(self, type: str, **fields: Any) -> Job:
        """Enqueue a job."""
        request = parse_job(msgspec.json.encode({"type": type, **fields}))
        return self.do(self.engine.jobs.submit(request)).job

    def ended(self, type: str, **fields: Any) -> Job:
        """Enqueue a job and wait for its end."""
        job = self.do(self.engine.jobs.wait(self.put(type, **fields).id, PATIENCE))
        assert job.finished_at is not None, f"{type} is {job.state}"
        return job

    def get(self, job_id: str) -> Job:
        """The job as it stands."""
        return self.do(self.engine.jobs.get(job_id))

    def until(self, job_id: str, state: JobState) -> Job:
        """Wait until the job is in a state."""

        async def look() -> Job:
            changes = self.engine.store.changes
            async with asyncio.timeout(PATIENCE):
                while True:
                    seen = changes.version()
                    job = await self.engine.jobs.get(job_id)
                    if job.state is state:
                        return job
                    await changes.wait(seen, 0.5)

        return self.do(look())

    def schedule(self, name: str, **fields: Any) -> None:
        """Make a schedule."""
        request = parse_schedule(msgspec.json.encode({"name": name, **fields}))
        self.do(self.engine.schedules.create(request))

    # --- inside ---

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_until_complete(self._serve())
        except BaseException as error:
            if not self._ready.done():
                self._ready.set_exception(error)
            raise
        finally:
            self._loop.close()

    async def _serve(self) -> None:
        store = SqliteStore(str(self.file))
        self.engine = Engine(store, StoreBroker(store), SystemClock())
        await self.engine.open()
        self.worker = Worker(self.engine, HANDLERS, WorkerOptions(concurrency=5, grace=0, version="1.2.3"))
        scheduler = Scheduler(self.engine, SchedulerOptions())
        dashboard = create_dashboard(self.engine, prefix="" if self._mount else self._prefix)
        app = mounted(dashboard, self._prefix) if self._mount else dashboard
        server = uvicorn.Server(uvicorn.Config(app, port=self.port, log_level="error", lifespan="off"))
        parts = [asyncio.create_task(part) for part in (self.worker.run(), scheduler.run(), server.serve())]
        await self.worker.ready.wait()
        while not server.started:  # noqa: ASYNC110 (uvicorn has no event for it)
            await asyncio.sleep(0.01)
        self._ready.set_result(None)
        await self._stop.wait()
        await dashboard.stop()
        server.should_exit = True
        self.worker.stop_now()
        scheduler.stop()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(asyncio.gather(*parts, return_exceptions=True), 15)
        await self.engine.close()


def mounted(dashboard: Dashboard, prefix: str) -> Any:
    """A host application that has the dashboard under a path, as frameworks mount: ``root_path`` says where."""

    async def host(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http" and scope["path"].startswith(prefix):
            await dashboard({**scope, "root_path": prefix}, receive, send)
            return
        await send({"type": "http.response.start", "status": 404, "headers": []})
        await send({"type": "http.response.body", "body": b"the host's own"})

    return host
