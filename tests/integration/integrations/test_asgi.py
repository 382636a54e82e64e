"""Flux in FastAPI and in Litestar: jobs enqueued by an endpoint run in the application, and its pages are mounted."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from litestar import Litestar, Request, get, post

from flux import Flux, JobState
from flux.integrations import fastapi
from flux.integrations.litestar import FluxPlugin
from flux.testing import drain, sandbox

Build = Callable[..., tuple[Any, AbstractAsyncContextManager[Any]]]


@pytest.fixture
def flux(tmp_path: Path) -> Flux:
    app = Flux(f"sqlite:///{tmp_path / 'flux.db'}")

    @app.job
    async def double(n: int) -> int:
        return 2 * n

    return app


def of_fastapi(flux: Flux, *, pages: bool = False, **choices: Any) -> Any:
    app = FastAPI(lifespan=fastapi.lifespan(flux, **choices))
    if pages:
        fastapi.mount(app, flux, "/flux", api=True, api_url="https://jobs.example")

    @app.post("/double/{n}")
    async def asynchronous(n: int) -> dict[str, int]:
        return {"result": await (await flux.enqueue("double", {"n": n})).result(timeout=30)}

    @app.post("/sync/{n}")
    def synchronous(n: int) -> dict[str, int]:
        return {"result": flux.enqueue_sync("double", {"n": n}).result_sync(timeout=30)}

    @app.get("/flux-other")
    async def other() -> str:
        return "not the dashboard"

    return app


def of_litestar(flux: Flux, *, pages: bool = False, **choices: Any) -> Any:
    @post("/double/{n:int}", status_code=200)
    async def asynchronous(request: Request[Any, Any, Any]) -> dict[str, int]:
        n = request.path_params["n"]
        return {"result": await (await flux.enqueue("double", {"n": n})).result(timeout=30)}

    @post("/sync/{n:int}", status_code=200, sync_to_thread=True)
    def synchronous(request: Request[Any, Any, Any]) -> dict[str, int]:
        n = request.path_params["n"]
        return {"result": flux.enqueue_sync("double", {"n": n}).result_sync(timeout=30)}

    @get("/other")
    async def other() -> str:
        return "not the dashboard"

    where: dict[str, Any] = {"path": "/flux", "api": True, "api_url": "https://jobs.example"} if pages else {}
    return Litestar([asynchronous, synchronous, other], plugins=[FluxPlugin(flux, **where, **choices)])


def lifespan_of(app: Any) -> AbstractAsyncContextManager[Any]:
    if isinstance(app, Litestar):
        return app.lifespan()
    return app.router.lifespan_context(app)  # type: ignore[no-any-return]


@asynccontextmanager
async def browsing(app: Any, root_path: str = "") -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(app, root_path=root_path)
    async with (
        lifespan_of(app),
        httpx.AsyncClient(transport=transport, base_url="http://app.example") as client,
    ):
        yield client


both = pytest.mark.parametrize("build", [of_fastapi, of_litestar])


@both
async def test_endpoints_enqueue_and_the_application_runs_the_jobs(build: Build, flux: Flux) -> None:
    async with browsing(build(flux, concurrency=2)) as client:
        for way in ("double", "sync"):
            answer = await client.post(f"/{way}/21")
            assert answer.status_code == 200, answer.text
            assert answer.json() == {"result": 42}
    assert not flux.doors.is_open()


@both
async def test_the_pages_under_a_path(build: Build, flux: Flux) -> None:
    async with browsing(build(flux, pages=True)) as client:
        made = await client.post("/flux/api/v1/jobs", json={"type": "double", "payload": {"n": 4}})
        assert made.status_code == 201, made.text
        location = made.headers["location"]
        assert location == f"/flux/api/v1/jobs/{made.json()['id']}"
        ended = await client.get(f"{location}/wait", params={"timeout": "30s"})
        assert ended.json()["result"] == 8
        queue = await client.post("/flux/api/v1/queues/a%2Fb/pause")
        assert queue.status_code == 200, queue.text

        front = await client.get("/flux/")
        assert front.status_code == 200
        assert 'href="/flux/jobs"' in front.text
        job = await client.get(f"/flux/jobs/{made.json()['id']}")
        assert job.status_code == 200
        assert "https://jobs.example/api/v1" in job.text
        style = front.text.partition('rel="stylesheet" href="')[2].partition('"')[0]
        assert style.startswith("/flux/static/")
        assert (await client.get(style)).headers["content-type"].startswith("text/css")
        # What names its own parts from the root of the host is not served at all.
        assert (await client.get("/flux/api/v1/docs")).status_code == 404
        assert (await client.get("/flux/nothing")).status_code == 404


@both
async def test_an_action_of_the_dashboard_under_a_path(build: Build, flux: Flux) -> None:
    async with browsing(build(flux, pages=True, worker=False)) as client:
        job = await flux.enqueue("double", {"n": 1})
        await client.get("/flux/jobs")
        done = await client.post(f"/flux/jobs/{job.id}/cancel", data={"csrf": client.cookies["flux_csrf"]})
        assert done.status_code == 303
        assert done.headers["location"].startswith("/flux/")
        assert await job.state() is JobState.CANCELLED


@pytest.mark.parametrize("build", [of_fastapi])
async def test_the_pages_behind_a_proxy(build: Build, flux: Flux) -> None:
    """With a root path that the proxy took off, and with one that it left on."""
    for path in ("/flux/queues", "/shop/flux/queues"):
        async with browsing(build(flux, pages=True, worker=False), root_path="/shop") as client:
            page = await client.get(path)
            assert page.status_code == 200
            assert 'href="/shop/flux/jobs"' in page.text


async def test_inside_a_lifespan_of_ones_own(flux: Flux) -> None:
    log: list[str] = []

    @asynccontextmanager
    async def own(app: FastAPI) -> AsyncIterator[None]:
        log.append("begins")
        async with fastapi.lifespan(flux, queues=["default"], scheduler=False)(app):
            yield
        log.append("ends")

    app = FastAPI(lifespan=own)
    async with lifespan_of(app):
        assert await (await flux.enqueue("double", {"n": 3})).result(timeout=30) == 6
    assert log == ["begins", "ends"]


@both
async def test_without_a_worker_jobs_wait(build: Build, flux: Flux) -> None:
    async with browsing(build(flux, worker=False)):
        job = await flux.enqueue("double", {"n": 1})
        assert await job.state() is JobState.AVAILABLE


@both
async def test_in_a_sandbox_the_applications_end_leaves_it_open(build: Build, flux: Flux) -> None:
    async with sandbox(flux) as box:
        async with browsing(build(flux, worker=False)):
            job = await flux.enqueue("double", {"n": 5})
        await drain(flux)
        assert await job.result() == 10
        assert [one.id for one in await box.jobs()] == [job.id]


async def test_a_stream_of_a_page_ends_with_the_application(flux: Flux) -> None:
    app = of_fastapi(flux, pages=True, worker=False)
    begun = asyncio.Event()
    scope = {
        "type": "http",
        "method": "GET",
        "path": "/flux/",
        "raw_path": b"/flux/",
        "query_string": b"",
        "headers": [(b"accept", b"text/event-stream")],
    }

    async def receive() -> dict[str, Any]:
        await asyncio.Event().wait()  # the browser stays
        return {}

    async def send(message: Any) -> None:
        if message.get("body"):
            begun.set()

    async with lifespan_of(app):
        stream = asyncio.create_task(app(scope, receive, send))
        await asyncio.wait_for(begun.wait(), 30)
    await asyncio.wait_for(stream, 30)


async def test_what_cannot_work_says_so(flux: Flux) -> None:
    with pytest.raises(ValueError, match="a path of their own"):
        fastapi.mount(FastAPI(), flux, "/")
    app = FastAPI()
    fastapi.mount(app, flux)
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://app.example") as client:
        with pytest.raises(RuntimeError, match="must begin with Flux's lifespan"):
            await client.get("/flux/")
    remote = Flux("http://localhost:1")
    with pytest.raises(RuntimeError, match="the store's own URL"):
        async with lifespan_of(of_fastapi(remote, pages=True, worker=False)):
            pass
