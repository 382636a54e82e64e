"""A worker, and a scheduler, inside any asyncio application."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING

from flux.engine.engine import Engine
from flux.engine.scheduler import Scheduler, SchedulerOptions
from flux.engine.worker import Worker
from flux.engine.worker_options import WorkerOptions

if TYPE_CHECKING:
    from flux.sdk.app import Flux


@asynccontextmanager
async def embedded(
    flux: Flux, engine: Engine, options: WorkerOptions, scheduling: SchedulerOptions | None
) -> AsyncIterator[Worker]:
    """Run a worker (and a scheduler) while the block runs.

    The order of the end: the worker claims nothing more and finishes what it runs, the scheduler resigns, the shutdown
    hooks run. If the worker or the scheduler fails, the block is cancelled and their error is raised from here.
    """
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(flux.lifespan(engine))
        worker = Worker(engine, flux.handlers(), options)
        scheduler = None if scheduling is None else Scheduler(engine, scheduling)
        try:
            async with asyncio.TaskGroup() as tasks:
                leading = None if scheduler is None else tasks.create_task(scheduler.run())
                working = tasks.create_task(worker.run())
                try:
                    await worker.ready.wait()
                    yield worker
                    worker.stop()
                except BaseException:
                    # Cancelled or broken: what runs is handed back at once, and another worker takes it.
                    worker.stop_now()
                    raise
                finally:
                    await asyncio.wait([working])
                    if scheduler is not None and leading is not None:
                        scheduler.stop()
                        await asyncio.wait([leading])
        except BaseExceptionGroup as group:
            if len(group.exceptions) == 1:
                raise group.exceptions[0] from None
            raise
