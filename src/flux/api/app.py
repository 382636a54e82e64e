"""The REST application: an ASGI callable over one engine."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable

from flux.api.feed import Feed
from flux.api.http import Answer, Call, Gone, Receive, Scope, Send, Stream, parse_query
from flux.api.operations import Operation
from flux.api.problems import PROBLEM_JSON, refusal
from flux.api.router import Router
from flux.api.surroundings import Surroundings
from flux.engine.engine import Engine
from flux.telemetry.metrics import Metrics
from flux.workflows.service import WorkflowService

access = logging.getLogger("flux.api.access")

NOSNIFF = (b"x-content-type-options", b"nosniff")
_LINGER = 2.0
"""Seconds for which a refused body is still read and thrown away, so that its sender gets to see the refusal."""
_LINGER_BYTES = 16 << 20


class Api:
    """Serves the operations. The engine is opened and closed by whoever built it.

    ``stop`` ends what would otherwise go on for long (event streams, waits for jobs); a server calls it before it waits
    for its connections.
    """

    def __init__(
        self,
        engine: Engine,
        operations: Callable[[Api], list[Operation]],
        held_up: Callable[[], str | None] = lambda: None,
    ) -> None:
        self.engine = engine
        self.held_up = held_up
        self.feed = Feed(engine.store)
        self.surroundings = Surroundings(engine.store)
        self.workflows = WorkflowService(engine)
        self.metrics = Metrics(engine)
        self.stopping = asyncio.Event()
        self.operations = operations(self)
        self._router = Router(self.operations)

    async def stop(self) -> None:
        """End event streams and waits at once."""
        self.stopping.set()
        await self.feed.close()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request (ASGI)."""
        if scope["type"] != "http":
            await self._other(scope, receive, send)
            return
        started = time.perf_counter()
        status = 0
        try:
            route, path = self._router.find(scope)
            query = parse_query(scope["query_string"])
            if query:
                route.check(query)
            answer = await route.operation.handler(Call(scope, receive, path, query))
        except Gone:
            return
        except Exception as error:
            refused = refusal(error)
            status = refused.status
            answer = Answer(status, refused.body, refused.headers, PROBLEM_JSON)
        if isinstance(answer, Answer):
            status = answer.status
            await _send(answer, scope, receive, send)
        else:
            status = 200
            await self._stream(answer, scope, receive, send)
        if access.isEnabledFor(logging.DEBUG):
            took = (time.perf_counter() - started) * 1000
            access.debug("%s %s %d %.1f ms", scope["method"], scope["path"], status, took)

    async def _stream(self, stream: Stream, scope: Scope, receive: Receive, send: Send) -> None:
        headers = [
            (b"content-type", b"text/event-stream; charset=utf-8"),
            (b"cache-control", b"no-store"),
            (b"x-accel-buffering", b"no"),
            NOSNIFF,
        ]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        if scope["method"] != "HEAD":
            await self._pump(stream, receive, send)
        await send({"type": "http.response.body", "body": b""})

    async def _pump(self, stream: Stream, receive: Receive, send: Send) -> None:
        async def forward() -> None:
            try:
                async for chunk in stream.source:
                    await send({"type": "http.response.body", "body": chunk, "more_body": True})
            except Exception:
                # The status is out already; the client sees the stream end and asks again.
                logging.getLogger("flux.api").exception("an event stream broke")

        async def left() -> None:
            while (await receive())["type"] != "http.disconnect":
                pass

        async def stopped() -> None:
            await self.stopping.wait()

        tasks = [asyncio.create_task(end()) for end in (forward, left, stopped)]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)

    async def _other(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            while True:
                message = await receive()
                if message["type"] == "lifespan.startup":
                    await send({"type": "lifespan.startup.complete"})
                elif message["type"] == "lifespan.shutdown":
                    await self.stop()
                    await send({"type": "lifespan.shutdown.complete"})
                    return
        elif scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.close", "code": 1000})


async def _send(answer: Answer, scope: Scope, receive: Receive, send: Send) -> None:
    headers = [NOSNIFF, *answer.headers]
    if answer.status != 204:
        headers.append((b"content-type", answer.content_type))
        headers.append((b"content-length", str(len(answer.body)).encode()))
    await send({"type": "http.response.start", "status": answer.status, "headers": headers})
    body = b"" if scope["method"] == "HEAD" else answer.body
    if answer.status in (413, 415):
        await send({"type": "http.response.body", "body": body, "more_body": True})
        await _discard(receive)
        body = b""
    await send({"type": "http.response.body", "body": body})


async def _discard(receive: Receive) -> None:
    """Read on for a while without keeping anything: closing at once would reset the connection under the answer."""
    left = _LINGER_BYTES
    try:
        async with asyncio.timeout(_LINGER):
            while left > 0:
                message = await receive()
                left -= len(message.get("body", b""))
                if not message.get("more_body"):
                    return
    except TimeoutError:
        return


def create_app(engine: Engine) -> Api:
    """The REST application over an engine."""
    from flux.api.rest import all_operations

    return Api(engine, all_operations)


def create_probes(engine: Engine, *, held_up: Callable[[], str | None] = lambda: None) -> Api:
    """``/health`` and ``/metrics`` alone, for a process that serves no REST.

    ``held_up`` says why the process is not ready yet, though its store is; None when nothing holds it up.
    """
    from flux.api.rest import probe_operations

    return Api(engine, probe_operations, held_up)
