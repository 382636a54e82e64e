"""The application on an engine on a SQLite file; workers and a scheduler where a test asks for them."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from flux.api.app import Api, create_app
from flux.api.server import ApiServer
from flux.config import Settings, build_engine
from flux.domain.duration import MILLISECOND, SECOND
from flux.engine.context import Context
from flux.engine.handler import Handler
from flux.engine.scheduler import Scheduler, SchedulerOptions
from flux.engine.worker import Worker
from flux.engine.worker_options import WorkerOptions

JOBS = "/api/v1/jobs"
MAX_PAYLOAD = 20_000


class Rest:
    """The application, and a client that talks to it."""

    def __init__(self, app: Api, client: httpx.AsyncClient) -> None:
        self.app = app
        self.engine = app.engine
        self.client = client

    async def enqueue(self, **fields: Any) -> dict[str, Any]:
        """Enqueue a job that must be accepted."""
        answer = await self.client.post(JOBS, json={"type": "echo", **fields})
        assert answer.status_code == 201, answer.text
        job: dict[str, Any] = answer.json()
        return job

    async def final(self, job_id: str) -> dict[str, Any]:
        """The job once it has ended."""
        answer = await self.client.get(f"{JOBS}/{job_id}/wait", params={"timeout": "1m"})
        assert answer.status_code == 200, answer.text
        job: dict[str, Any] = answer.json()
        return job

    @asynccontextmanager
    async def running(self, *handlers: Handler) -> AsyncIterator[Worker]:
        """A worker and a scheduler."""
        options = SchedulerOptions(interval=100 * MILLISECOND, lease=SECOND)
        scheduler = Scheduler(self.engine, options)
        worker = Worker(self.engine, {h.type: h for h in handlers}, WorkerOptions(lease=5 * SECOND))
        tasks = [asyncio.create_task(scheduler.run()), asyncio.create_task(worker.run())]
        await asyncio.wait_for(worker.ready.wait(), 60)
        try:
            yield worker
        finally:
            worker.stop_now()
            scheduler.stop()
            await asyncio.gather(*tasks)


def handler(type: str, call: Any) -> Handler:
    """A handler of a coroutine function that takes the context."""
    return Handler(type=type, call=call)


async def _echo(context: Context) -> Any:
    context.logger.info("echoing")
    return {"done": True}


async def _fail(context: Context) -> Any:
    raise ValueError("never works")


echo = handler("echo", _echo)
fail = handler("fail", _fail)


@pytest.fixture
async def rest(tmp_path: Path) -> AsyncIterator[Rest]:
    """The application in this process, without a server."""
    logging.getLogger("flux").setLevel(logging.DEBUG)
    engine = build_engine(Settings(database_url=f"sqlite:///{tmp_path}/flux.db", max_payload=MAX_PAYLOAD))
    await engine.open()
    app = create_app(engine)
    transport = httpx.ASGITransport(app, raise_app_exceptions=True)
    async with httpx.AsyncClient(transport=transport, base_url="http://flux") as client:
        yield Rest(app, client)
    await app.stop()
    await engine.close()


@pytest.fixture
async def served(rest: Rest) -> AsyncIterator[Rest]:
    """The application behind a real server on a free port."""
    server = ApiServer(rest.app, "127.0.0.1", 0, grace=2)
    async with server, httpx.AsyncClient(base_url=f"http://127.0.0.1:{server.port}", timeout=90) as client:
        yield Rest(rest.app, client)


def problem(answer: httpx.Response, status: int) -> dict[str, Any]:
    """Check that an answer is a problem of the status, and give it."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers["x-content-type-options"] == "nosniff"
    body: dict[str, Any] = answer.json()
    assert body["status"] == status
    assert body["title"]
    assert body["detail"]
    assert body["type"].startswith("urn:flux:problem:")
    return body


def fields(body: dict[str, Any]) -> set[str]:
    """The fields that a problem names."""
    return {error["field"] for error in body["errors"]}
