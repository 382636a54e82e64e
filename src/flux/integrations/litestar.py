"""Flux in Litestar: ``Litestar(route_handlers=[...], plugins=[FluxPlugin(flux, concurrency=10, path="/flux")])``."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from litestar import asgi
from litestar.plugins import InitPlugin
from litestar.types import Receive, Scope, Send

from flux.integrations.embedding import Pages, WorkerChoices, embedded
from flux.sdk.app import Flux

if TYPE_CHECKING:
    from typing import Unpack

    from litestar import Litestar
    from litestar.config.app import AppConfig
    from litestar.handlers import ASGIRouteHandler


class FluxPlugin(InitPlugin):
    """Connects when the application begins and, with ``worker``, runs jobs while it lives.

    ``choices`` are those of ``flux.worker``. With ``path`` the dashboard is served there, with ``api`` REST too, under
    ``{path}/api/v1``; nobody is asked who they are, so guard that path. ``api_url`` is where people reach REST.
    """

    def __init__(
        self,
        flux: Flux,
        worker: bool = True,
        *,
        path: str | None = None,
        api: bool = False,
        api_url: str | None = None,
        **choices: Unpack[WorkerChoices],
    ) -> None:
        self._flux = flux
        self._worker = worker
        self._choices = choices
        self._path = path
        self._pages = None if path is None else Pages(flux, path, api=api, api_url=api_url)

    def on_app_init(self, app_config: AppConfig) -> AppConfig:
        """See ``InitPlugin``."""
        app_config.lifespan.append(self._lifespan)
        if self._pages is not None and self._path is not None:
            app_config.route_handlers.append(_handler(self._pages, self._path))
        return app_config

    @asynccontextmanager
    async def _lifespan(self, _: Litestar) -> AsyncIterator[None]:
        pages = [] if self._pages is None else [self._pages]
        async with embedded(self._flux, pages, self._worker, self._choices):
            yield


def _handler(pages: Pages, path: str) -> ASGIRouteHandler:
    @asgi(path, is_mount=True, copy_scope=True)
    async def flux_pages(scope: Scope, receive: Receive, send: Send) -> None:
        inner: Any = pages  # the same protocol, typed by each framework in its own way
        await inner(scope, receive, send)

    return flux_pages
