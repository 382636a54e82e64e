"""``Flux``: the application object. Handlers are declared on it, jobs are enqueued through it, workers run by it."""

from __future__ import annotations

import asyncio
import inspect
import os
import weakref
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeVar

from flux.domain.job import Job
from flux.domain.words import plural
from flux.sdk.arguments import encode_payload
from flux.sdk.declarations import Declarations
from flux.sdk.doors import Accepted, Door, Doors, EngineDoor
from flux.sdk.handle import JobHandle
from flux.sdk.handler import Request, common_connection
from flux.sdk.middleware import Enqueue, chain
from flux.sdk.portal import Portal
from flux.sdk.requests import EnqueueOptions, build_request, split_connection, with_payload

if TYPE_CHECKING:
    from typing import Unpack

    from flux.config import Settings
    from flux.engine.engine import Engine
    from flux.engine.ports import Here
    from flux.engine.worker import Worker

R = TypeVar("R")


class Flux(Declarations):
    """An application of Flux.

    ``url`` names the store (``sqlite:///flux.db`` in the current directory, ``sqlite:////var/lib/flux.db``) or a server
    (``http://host:8080``, with its ``token``); ``broker`` the broker. What is not given comes from the environment and
    ``flux.toml``. Nothing is connected until it is used; then once for each event loop. ``await flux.close()``, or
    ``async with flux:``, disconnects.
    """

    def __init__(
        self, url: str | None = None, broker: str | None = None, *, token: str | None = None
    ) -> None:
        super().__init__()
        self.url = url
        self.broker = broker
        self.remote = url is not None and url.startswith(("http://", "https://"))
        if self.remote and broker is not None:
            raise ValueError("a server has its own broker: give a broker only together with a store")
        if token is not None and not self.remote:
            raise ValueError("a token is for a server: give it together with an http:// or https:// URL")
        self.doors = Doors(partial(_open, url, broker, token))
        # Neither the portal nor the doors know this object, so that it can go when nobody uses it.
        self.portal = Portal(self.doors.close_here)
        self._home: asyncio.AbstractEventLoop | None = None
        weakref.finalize(self, self.portal.stop)

    def __repr__(self) -> str:
        return f"Flux({self.url!r})" if self.url else "Flux()"

    # --- connection ---

    async def __aenter__(self) -> Self:
        await self.doors.here()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Disconnect this event loop's connection, after what was accepted is committed. The next use connects anew."""
        await self.doors.close_here()

    def close_sync(self) -> None:
        """Disconnect what the ``*_sync`` methods use, and end their thread. The next use starts it anew."""
        self.portal.stop()

    def settings(self, overrides: Mapping[str, object] | None = None) -> Settings:
        """The settings of this application: the environment, ``flux.toml``, its own URLs, then ``overrides`` by field.

        Raises ``SettingsError``.
        """
        return _settings(self.url, self.broker, overrides)

    # --- enqueue ---

    async def enqueue(
        self, type: str, payload: Mapping[str, Any] | None = None, **options: Unpack[EnqueueOptions]
    ) -> JobHandle[Any]:
        """Accept one job by the name of its type; the handler may live elsewhere. Untyped.

        Raises ``Invalid``, ``Conflict``, ``TooDeep``, ``Unavailable``.
        """
        (handle,) = await self.enqueue_many([self.request(type, payload, **options)])
        return handle

    def request(
        self, type: str, payload: Mapping[str, Any] | None = None, **options: Unpack[EnqueueOptions]
    ) -> Request[Any]:
        """The job to be, for ``enqueue_many``. Raises ``Invalid``."""
        handler = self.job_handler(type)
        base = None if handler is None else handler.template
        decoder = None if handler is None else handler.result_decoder
        connection, others = split_connection(options)
        job = with_payload(build_request(type, others, base), encode_payload(payload or {}))
        return Request(job, decoder, connection)

    async def enqueue_many(
        self, requests: Iterable[Request[R]], *, connection: object = None
    ) -> list[JobHandle[R]]:
        """Accept jobs in one transaction, all or none; handles in the same order. At most 10,000.

        With ``connection`` (asyncpg, psycopg, SQLAlchemy, Django or sqlite3, on the store's own database) in the
        transaction that is open on it: the jobs exist if and only if that commits. Raises as ``enqueue`` does;
        ``Invalid`` names the wrong ones by their index.
        """
        asked = list(requests)
        return await self._enqueue(asked, common_connection(asked, connection), None)

    async def _enqueue(
        self, asked: list[Request[R]], connection: object, here: Here | None
    ) -> list[JobHandle[R]]:
        if not asked:
            return []
        door = await self.doors.here()
        submit = door.submit if connection is None else partial(door.submit_within, connection, here)

        async def innermost(enqueue: Enqueue) -> Sequence[Accepted]:
            if len(enqueue.requests) != len(asked):
                came, go = plural(len(asked), "job"), len(enqueue.requests)
                raise RuntimeError(f"a middleware was given an enqueue of {came} and made it one of {go}")
            return await submit(enqueue.requests)

        whole = chain(self.around.enqueues, innermost)
        accepted = await whole(Enqueue([request.job for request in asked]))
        if accepted is None:
            raise RuntimeError("a middleware around an enqueue did not return what call_next answered")
        return [
            JobHandle(self, one.id, request.decoder) for one, request in zip(accepted, asked, strict=True)
        ]

    def enqueue_sync(
        self, type: str, payload: Mapping[str, Any] | None = None, **options: Unpack[EnqueueOptions]
    ) -> JobHandle[Any]:
        """``enqueue`` from synchronous code. A running event loop is blocked for as long as a commit takes."""
        (handle,) = self.enqueue_many_sync([self.request(type, payload, **options)])
        return handle

    def enqueue_many_sync(
        self, requests: Iterable[Request[R]], *, connection: object = None
    ) -> list[JobHandle[R]]:
        """``enqueue_many`` from synchronous code; ``connection`` is a synchronous one, and used in this thread."""
        asked = list(requests)
        own = common_connection(asked, connection)
        if own is None or self.doors.stand_in is not None:
            return self.portal.run(lambda: self._enqueue(asked, own, None))
        return self.portal.run_from_here(lambda here: self._enqueue(asked, own, here))

    # --- jobs ---

    def handle(self, job_id: str) -> JobHandle[Any]:
        """A handle of a job that was enqueued earlier, without looking whether it exists."""
        return JobHandle(self, job_id)

    async def get(self, job_id: str) -> Job:
        """One job with everything. Raises ``NotFound``, ``Unavailable``."""
        return await (await self.doors.here()).get(job_id)

    async def cancel(self, job_id: str, reason: str | None = None) -> Job:
        """Cancel: at once when it waits, as a request when it runs. Raises ``NotFound``, ``Conflict``."""
        return await (await self.doors.here()).cancel(job_id, reason)

    async def retry(self, job_id: str) -> Job:
        """Make a dead or cancelled job available again. Raises ``NotFound``, ``Conflict``."""
        return await (await self.doors.here()).retry(job_id)

    async def wait(self, job_id: str, timeout: float) -> Job:
        """The job once it is final, or as it stands after ``timeout`` seconds at the latest. Raises ``NotFound``."""
        return await (await self.doors.here()).wait(job_id, timeout)

    async def result(self, job_id: str, timeout: float | None = None) -> Any:
        """Wait for a job's result. See ``JobHandle.result``."""
        return await self.handle(job_id).result(timeout)

    def result_sync(self, job_id: str, timeout: float | None = None) -> Any:
        """``result`` from synchronous code. Raises ``RuntimeError`` in a running event loop: it would block it."""
        return self.handle(job_id).result_sync(timeout)

    def get_sync(self, job_id: str) -> Job:
        """``get`` from synchronous code."""
        return self.portal.run(lambda: self.get(job_id))

    def cancel_sync(self, job_id: str, reason: str | None = None) -> Job:
        """``cancel`` from synchronous code."""
        return self.portal.run(lambda: self.cancel(job_id, reason))

    def retry_sync(self, job_id: str) -> Job:
        """``retry`` from synchronous code."""
        return self.portal.run(lambda: self.retry(job_id))

    # --- workers ---

    def worker(
        self,
        concurrency: int | None = None,
        queues: str | Sequence[str] | None = None,
        scheduler: bool = True,
        *,
        grace: str | float | None = None,
    ) -> AbstractAsyncContextManager[Worker]:
        """Run this application's jobs while the block runs: ``async with flux.worker(concurrency=10): ...``.

        ``queues`` is written like "default,email:5" ("*": all); ``scheduler=False`` leaves schedules, retries and
        rescue to other processes; ``grace`` is how long running jobs may go on when the block ends. What is not given
        comes from the settings. An error of the worker cancels the block and is raised from it.
        """
        names = queues if queues is None or isinstance(queues, str) else ",".join(queues)
        given = {"worker_concurrency": concurrency, "worker_queues": names, "shutdown_grace": grace}
        return self._working(given, scheduler)

    @asynccontextmanager
    async def _working(self, given: Mapping[str, object], scheduler: bool) -> AsyncIterator[Worker]:
        from flux import __version__
        from flux.engine.scheduler import SchedulerOptions
        from flux.engine.worker_options import WorkerOptions
        from flux.sdk.embedding import embedded

        opens = not self.doors.is_open()
        door = None if self.remote else await self.doors.here()
        if not isinstance(door, EngineDoor):
            raise RuntimeError(f"{self!r} has no store to take jobs from: a worker needs the store's own URL")
        settings = self.settings(given)
        options = WorkerOptions(
            concurrency=settings.worker_concurrency,
            queues=settings.worker_queues,
            lease=settings.lease,
            grace=settings.shutdown_grace,
            version=__version__,
        )
        scheduling = SchedulerOptions(
            interval=settings.scheduler_interval,
            lease=settings.leader_lease,
            unknown_type_wait=settings.unknown_type_wait,
            retention=settings.retention,
        )
        try:
            async with embedded(self, door.engine, options, scheduling if scheduler else None) as worker:
                yield worker
        finally:
            if opens:
                await self.close()

    @asynccontextmanager
    async def lifespan(self, engine: Engine) -> AsyncIterator[None]:
        """What belongs around a worker of this application: declared schedules are reconciled, startup hooks run, and
        at the end what workers share is torn down and shutdown hooks run. Meanwhile jobs that handlers enqueue on this
        event loop go through ``engine``.

        Schedules that other applications declared on the same store are left alone.
        """
        before = self.doors.put(EngineDoor(engine, owned=False))
        try:
            await engine.schedules.reconcile(self.schedules(), self.handlers())
            with self.at_home():
                for hook in self.startup_hooks:
                    await _run_hook(hook)
                try:
                    yield
                finally:
                    try:
                        await self.dependencies.worker_scope().close()
                    finally:
                        for hook in reversed(self.shutdown_hooks):
                            await _run_hook(hook)
        finally:
            self.doors.put(before)

    @contextmanager
    def at_home(self) -> Iterator[None]:
        """Let the running loop be the home of what is asynchronous around synchronous handlers."""
        before, self._home = self._home, asyncio.get_running_loop()
        try:
            yield
        finally:
            self._home = before

    def home_loop(self) -> asyncio.AbstractEventLoop | None:
        """The event loop of the worker that runs now, for what is asynchronous around synchronous handlers."""
        return self._home


async def _open(url: str | None, broker: str | None, token: str | None) -> Door:
    if url is not None and url.startswith(("http://", "https://")):
        from flux.sdk.client import RemoteDoor

        return RemoteDoor(url, token)
    from flux.config import build_engine

    engine = build_engine(_settings(url, broker, None))
    await engine.open()
    return EngineDoor(engine)


def _settings(url: str | None, broker: str | None, overrides: Mapping[str, object] | None) -> Settings:
    from flux.config import find_file, load_settings

    own = {"database_url": url, "broker_url": broker}
    given = {name: value for name, value in (overrides or {}).items() if value is not None}
    return load_settings(os.environ, find_file(os.environ), {**own, **given})


async def _run_hook(hook: Any) -> None:
    answer = hook()
    if inspect.isawaitable(answer):
        await answer
