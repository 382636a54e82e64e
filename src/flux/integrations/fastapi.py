"""Flux in FastAPI, or any other application of Starlette.

::

    flux = Flux("sqlite:///flux.db")
    app = FastAPI(lifespan=lifespan(flux, concurrency=10))
    mount(app, flux, "/flux")
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import TYPE_CHECKING, Any, TypeVar

from flux.integrations.embedding import Pages, WorkerChoices, embedded
from flux.sdk.app import Flux

if TYPE_CHECKING:
    from typing import Unpack

    from starlette.applications import Starlette

A = TypeVar("A", bound="Starlette")


def lifespan(
    flux: Flux, worker: bool = True, **choices: Unpack[WorkerChoices]
) -> Callable[[Any], AbstractAsyncContextManager[None]]:
    """The lifespan of an application that enqueues and, with ``worker``, runs jobs.

    ``choices`` are those of ``flux.worker``. Inside a lifespan of your own: ``async with lifespan(flux)(app): yield``.
    With several server processes each one has a worker; ``worker=False`` leaves the jobs to ``flux worker``.
    """

    @asynccontextmanager
    async def alive(app: Starlette) -> AsyncIterator[None]:
        mounted = [getattr(route, "app", None) for route in app.routes]
        pages = [one for one in mounted if isinstance(one, Pages)]
        async with embedded(flux, pages, worker, choices):
            yield

    return alive


def mount(
    app: Starlette, flux: Flux, path: str = "/flux", *, api: bool = False, api_url: str | None = None
) -> Pages:
    """Serve the dashboard under ``path``; with ``api`` REST too, under ``{path}/api/v1``. It needs ``lifespan``.

    Nobody is asked who they are: guard the path. ``api_url`` is where people reach REST, for the curl lines on pages.
    """
    pages = Pages(flux, path, api=api, api_url=api_url)
    app.mount(path, pages)
    return pages
