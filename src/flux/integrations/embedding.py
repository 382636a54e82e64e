"""What every web framework needs alike: a connection, a worker and the pages for as long as the application lives."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, MutableMapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Any, TypeAlias, TypedDict
from urllib.parse import quote, unquote

from flux.sdk.app import Flux
from flux.sdk.doors import EngineDoor

if TYPE_CHECKING:
    from flux.api.app import Api
    from flux.dashboard.app import Dashboard
    from flux.engine.engine import Engine

Scope: TypeAlias = MutableMapping[str, Any]
Message: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]

_API = "/api/v1/"
# These two name their files and addresses from the root of the host, so they are not for a mount.
_AT_THE_ROOT = ("/api/v1/docs", "/api/v1/openapi.json")


class WorkerChoices(TypedDict, total=False):
    """What ``flux.worker(...)`` takes."""

    concurrency: int | None
    queues: str | Sequence[str] | None
    scheduler: bool
    grace: str | float | None


class Pages:
    """The dashboard, and REST when it is asked for, as an ASGI application under a path of another one.

    Neither asks who is there: an application that can be reached from outside guards that path itself. While a browser
    has a page open its stream is open too, so give the server a bound for its end (uvicorn:
    ``--timeout-graceful-shutdown``).
    """

    def __init__(self, flux: Flux, path: str, *, api: bool = False, api_url: str | None = None) -> None:
        if not path.startswith("/") or not path.strip("/"):
            raise ValueError(f'the pages need a path of their own, such as "/flux", and not {path!r}')
        self._flux = flux
        self._path = path.rstrip("/")
        self._api_url = api_url
        self._with_api = api
        self._dashboard: Dashboard | None = None
        self._api: Api | None = None

    @asynccontextmanager
    async def open(self) -> AsyncIterator[None]:
        """Serve while the block runs; then end the open streams."""
        from flux.dashboard.app import create_dashboard

        engine = await _engine(self._flux)
        async with AsyncExitStack() as stack:
            self._dashboard = create_dashboard(engine, api_url=self._api_url)
            stack.push_async_callback(self._dashboard.stop)
            if self._with_api:
                from flux.api.app import create_app

                self._api = create_app(engine)
                stack.push_async_callback(self._api.stop)
            try:
                yield
            finally:
                self._dashboard = self._api = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One connection (ASGI). Raises ``RuntimeError`` when the application began without Flux's lifespan."""
        if self._dashboard is None:
            raise RuntimeError(
                f"the pages at {self._path} have no store yet: the application must begin with Flux's lifespan"
            )
        base, raw = self._place(scope)
        inside = {**scope, "root_path": base, "path": unquote(raw), "raw_path": raw.encode("latin-1")}
        if self._api is not None and raw.startswith(_API) and raw not in _AT_THE_ROOT:
            api: Any = self._api  # ASGI too, with its messages typed more narrowly
            await api(inside, receive, _moved(send, base))
        else:
            await self._dashboard(inside, receive, send)

    def _place(self, scope: Scope) -> tuple[str, str]:
        """What stands before the pages in the browser's URL, and the path inside of them, still escaped.

        Frameworks disagree on what a mounted application sees as ``path`` and ``root_path`` (Starlette: all of the
        path, the mount in the root; Litestar: the rest with one more slash, no mount in the root), and a proxy may have
        taken the root off. What the server received is in ``raw_path``, so we begin there.
        """
        root = str(scope.get("root_path", "")).rstrip("/").removesuffix(self._path)
        received = scope.get("raw_path")
        raw = quote(str(scope["path"])) if received is None else received.decode("latin-1").partition("?")[0]
        for before in (quote(root), quote(self._path)):
            if before and (raw == before or raw.startswith(before + "/")):
                raw = raw[len(before) :]
        return root + self._path, raw or "/"


@asynccontextmanager
async def embedded(
    flux: Flux, pages: Iterable[Pages], worker: bool, choices: WorkerChoices
) -> AsyncIterator[None]:
    """Connect, run a worker when one is wanted, and serve the pages while the block runs."""
    async with AsyncExitStack() as stack:
        # The thread of synchronous endpoints; joined in another one, as its farewell may take a commit.
        stack.push_async_callback(asyncio.to_thread, flux.close_sync)
        if not flux.doors.is_open():
            # Else somebody around us connected (a sandbox, the application itself), and disconnects.
            await stack.enter_async_context(flux)
        if worker:
            await stack.enter_async_context(flux.worker(**choices))
        for one in pages:
            await stack.enter_async_context(one.open())
        yield


async def _engine(flux: Flux) -> Engine:
    door = await flux.doors.here()
    if not isinstance(door, EngineDoor):
        raise RuntimeError(f"{flux!r} has no store to show: pages need the store's own URL")
    return door.engine


def _moved(send: Send, base: str) -> Send:
    """``Location`` as the client sees it: the API believes itself at the root."""

    async def moved(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = [
                (name, base.encode() + value if name == b"location" else value)
                for name, value in message["headers"]
            ]
            message = {**message, "headers": headers}
        await send(message)

    return moved
