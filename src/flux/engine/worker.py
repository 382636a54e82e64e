"""A worker: receives, claims into free slots, runs attempts, and leaves in order.

A worker lives in *tenures*: one lease under one id. A tenure ends by a wish (stop, drain, recycling) or because its
lease lapsed; then everything it ran is stopped, its outcomes are void, and the worker begins a new tenure.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
from collections.abc import Callable, Mapping

from flux.domain.words import plural
from flux.engine.attempt import Isolation
from flux.engine.capture import Capture
from flux.engine.engine import Engine
from flux.engine.handler import Handler
from flux.engine.lease import Keeper, ThreadKeeper
from flux.engine.tenure import Tenure
from flux.engine.worker_options import Left, WorkerOptions

logger = logging.getLogger("flux.worker")


class Worker:
    """Runs jobs until it is told to leave. One per process and event loop."""

    def __init__(
        self,
        engine: Engine,
        handlers: Mapping[str, Handler],
        options: WorkerOptions | None = None,
        *,
        isolation: Isolation | None = None,
        keeper: Callable[[], Keeper] = ThreadKeeper,
    ) -> None:
        self._engine = engine
        self._handlers = dict(handlers)
        self._options = options or WorkerOptions()
        self._isolation = isolation
        self._keeper = keeper
        self._tenure: Tenure | None = None
        self._stopping: bool = False
        self._now: bool = False
        self.ready = asyncio.Event()

    @property
    def id(self) -> str | None:
        """The id of the current tenure."""
        return self._tenure.worker_id if self._tenure else None

    def stop(self) -> None:
        """Leave gracefully: claim nothing more, let running jobs finish within the grace, hand back the rest."""
        self._stopping = True
        if self._tenure is not None:
            self._tenure.leave(Left.STOPPED)

    def stop_now(self) -> None:
        """Leave at once: what runs is handed back without waiting for it."""
        self._stopping = self._now = True
        if self._tenure is not None:
            self._tenure.leave_now()

    async def run(self) -> Left:
        """Work until told to leave; says why it left. Survives a store that is away and the loss of its lease."""
        self._warn_of_chunks()
        isolation, pool = self._isolation, None
        if isolation is None:
            from flux.engine.isolation import ProcessPool

            isolation = pool = ProcessPool(
                self._options.concurrency, max_result=self._engine.bounds.max_result
            )
        try:
            with Capture():
                while not self._stopping:
                    tenure = Tenure(
                        self._engine,
                        self._handlers,
                        self._options,
                        isolation,
                        self._keeper(),
                        host=socket.gethostname(),
                        pid=os.getpid(),
                    )
                    self._tenure = tenure
                    left = await tenure.serve(self.ready)
                    if left is not None:
                        return left
                    logger.warning("worker %s lost its lease; it goes on under a new id", tenure.worker_id)
            return Left.STOPPED
        finally:
            self.ready.clear()
            if pool is not None:
                await pool.close()

    def _warn_of_chunks(self) -> None:
        slots = self._options.concurrency
        if wider := sorted(one.type for one in self._handlers.values() if one.chunk > slots):
            logger.warning(
                "chunks of %s will have at most %s: each of their jobs takes one of the worker's slots",
                ", ".join(wider),
                plural(slots, "job"),
            )
