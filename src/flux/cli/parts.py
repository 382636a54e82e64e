"""The parts that a Flux process is made of, each built from the settings."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Mapping
from typing import TYPE_CHECKING

from flux.cli.runtime import LAST_CHANCE
from flux.config import Settings
from flux.domain.duration import SECOND
from flux.engine.engine import Engine
from flux.engine.handler import Handler
from flux.engine.scheduler import Scheduler, SchedulerOptions
from flux.engine.worker import Worker
from flux.engine.worker_options import Left, WorkerOptions

if TYPE_CHECKING:
    from flux.api.http import Application

SERVER_GRACE = 10
"""Seconds that requests under way have to end."""


class WorkerPart:
    """A worker; ``left`` says afterwards why it ended."""

    name = "worker"
    companion = False

    def __init__(
        self,
        engine: Engine,
        handlers: Mapping[str, Handler],
        settings: Settings,
        max_jobs: int | None = None,
        max_memory: int | None = None,
    ) -> None:
        from flux import __version__

        options = WorkerOptions(
            concurrency=settings.worker_concurrency,
            queues=settings.worker_queues,
            lease=settings.lease,
            grace=settings.shutdown_grace,
            max_jobs=max_jobs,
            max_memory=max_memory,
            version=__version__,
        )
        self._worker = Worker(engine, handlers, options)
        self._stopping = False
        self.left: Left | None = None
        # The worker ends itself after its grace; this is for when even that does not work.
        self.patience = settings.shutdown_grace / SECOND + LAST_CHANCE

    def held_up(self) -> str | None:
        """Why it takes no jobs; None while it does."""
        if self._stopping or self.left is not None:
            return "This worker finishes what it runs and takes no more jobs."
        return None if self._worker.ready.is_set() else "This worker has no lease yet."

    async def run(self) -> None:
        """See ``Part``."""
        self.left = await self._worker.run()

    def stop(self) -> None:
        """See ``Part``."""
        self._stopping = True
        self._worker.stop()

    def stop_now(self) -> None:
        """See ``Part``."""
        self._stopping = True
        self._worker.stop_now()


class SchedulerPart:
    """A scheduler."""

    name = "scheduler"
    companion = False
    patience = LAST_CHANCE

    def __init__(self, engine: Engine, settings: Settings) -> None:
        options = SchedulerOptions(
            interval=settings.scheduler_interval,
            lease=settings.leader_lease,
            unknown_type_wait=settings.unknown_type_wait,
            retention=settings.retention,
        )
        self._scheduler = Scheduler(engine, options)

    async def run(self) -> None:
        """See ``Part``."""
        await self._scheduler.run()

    def stop(self) -> None:
        """See ``Part``."""
        self._scheduler.stop()

    def stop_now(self) -> None:
        """See ``Part``."""
        self._scheduler.stop()


class ServerPart:
    """An ASGI application on a port of its own. ``companion``: it speaks for the other parts and ends with them."""

    patience = SERVER_GRACE + LAST_CHANCE

    def __init__(self, name: str, app: Application, host: str, port: int, *, companion: bool = False) -> None:
        self.name = name
        self.companion = companion
        self._app = app
        self._host = host
        self._port = port
        self._serving: asyncio.Task[None] | None = None

    async def run(self) -> None:
        """See ``Part``."""
        from flux.api.server import serve

        self._serving = asyncio.create_task(serve(self._app, self._host, self._port))
        with contextlib.suppress(asyncio.CancelledError):
            await self._serving

    def stop(self) -> None:
        """See ``Part``: the server answers what it has begun."""
        if self._serving is not None:
            self._serving.cancel()

    def stop_now(self) -> None:
        """See ``Part``."""
        self.stop()
