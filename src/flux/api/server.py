"""The HTTP server: uvicorn inside a running event loop, started and stopped by its caller."""

from __future__ import annotations

import asyncio
import errno
import logging
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import uvicorn

from flux.api.http import Application
from flux.api.joined import JoinedHttpProtocol
from flux.domain.errors import FluxError

logger = logging.getLogger("flux.api")

GRACE = 10
"""Seconds that requests under way have to end at a stop."""
_BACKLOG = 2048


class CannotListen(FluxError):
    """The address cannot be used; the text says why and what to do."""


class _Uvicorn(uvicorn.Server):
    """Signals belong to whoever runs the process, not to one of its servers."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


class _Lifespan:
    """Tells an application that it begins and ends.

    It hears of its end *before* its connections are waited for: event streams go on until the application ends them.
    """

    def __init__(self, app: Application) -> None:
        self._app = app
        self._messages: asyncio.Queue[dict[str, str]] = asyncio.Queue()
        self._task: asyncio.Task[None] | None = None

    def begin(self) -> None:
        self._messages.put_nowait({"type": "lifespan.startup"})
        self._task = asyncio.create_task(self._run())

    async def end(self) -> None:
        self._messages.put_nowait({"type": "lifespan.shutdown"})
        if self._task is not None:
            await asyncio.wait([self._task])

    async def _run(self) -> None:
        async def send(message: dict[str, Any]) -> None:
            if message["type"].endswith(".failed"):
                logger.error("%s: %s", message["type"], message.get("message", ""))

        scope = {"type": "lifespan", "asgi": {"version": "3.0", "spec_version": "2.0"}, "state": {}}
        try:
            await self._app(scope, self._messages.get, send)
        except Exception:
            logger.exception("the application could not begin or end in order")


class ApiServer:
    """Serves one application (see ``Application``) on one address. ``async with`` starts and stops it."""

    def __init__(
        self, app: Application, host: str = "127.0.0.1", port: int = 8080, *, grace: int = GRACE
    ) -> None:
        self._lifespan = _Lifespan(app)
        self.host = host
        self.port = port
        config = uvicorn.Config(
            app,
            http=JoinedHttpProtocol,
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            date_header=True,
            proxy_headers=False,
            timeout_graceful_shutdown=grace,
        )
        self._server = _Uvicorn(config)
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Listen. With port 0 the system chooses one and ``port`` says which. Raises ``CannotListen``."""
        listening = _listen(self.host, self.port)
        self._lifespan.begin()
        self.port = listening.getsockname()[1]
        self._task = asyncio.create_task(self._server.serve(sockets=[listening]))
        while not self._server.started:
            if self._task.done():
                listening.close()
                await self._task
                raise CannotListen(f"the server on port {self.port} ended at its start")
            await asyncio.sleep(0.005)
        logger.info("listening on http://%s:%d", self.host, self.port)

    async def stop(self) -> None:
        """End event streams and waits at once, let requests under way finish, then close."""
        await self._lifespan.end()
        self._server.should_exit = True
        if self._task is not None:
            await self._task

    async def wait(self) -> None:
        """Return when the server has ended."""
        if self._task is not None:
            await asyncio.wait([self._task])

    async def __aenter__(self) -> ApiServer:
        await self.start()
        return self

    async def __aexit__(self, *_: Any) -> None:
        await self.stop()


async def serve(app: Application, host: str, port: int) -> None:
    """Serve until cancelled, then stop gracefully. Raises ``CannotListen``."""
    server = ApiServer(app, host, port)
    await server.start()
    try:
        await server.wait()
    finally:
        await server.stop()


def _listen(host: str, port: int) -> socket.socket:
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except (OSError, UnicodeError) as error:
        raise CannotListen(f"the address {host!r} is not known: {error}") from None
    listening = socket.socket(family, kind, protocol)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(address)
        # Not left to uvicorn: another process may have bound the port too, and only listening tells.
        listening.listen(_BACKLOG)
        listening.setblocking(False)
    except OSError as error:
        listening.close()
        raise CannotListen(_why(host, port, error)) from None
    return listening


def _why(host: str, port: int, error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        return f"port {port} on {host} is taken by another program; stop it, or choose another port"
    if error.errno == errno.EACCES:
        return f"port {port} may not be used by this user; choose one above 1023"
    return f"cannot listen on {host}:{port}: {error.strerror or error}"
