"""An engine with workers, on SQLite and on PostgreSQL, that runs workflows."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from flux.brokers.from_store import StoreBroker
from flux.domain.workflow.parse import parse_with_graph
from flux.domain.workflow.states import WorkflowState
from flux.engine.clock import SystemClock
from flux.engine.context import Context
from flux.engine.engine import Engine
from flux.engine.handler import Handler
from flux.engine.ports import Store, Workflow
from flux.engine.scheduler import Scheduler
from flux.engine.worker import Worker
from flux.engine.worker_options import WorkerOptions
from flux.stores.postgres.database import Place
from flux.stores.postgres.store import PostgresStore
from flux.stores.sqlite.store import SqliteStore
from flux.workflows.joining import with_workflows
from flux.workflows.service import WorkflowService

PATIENCE = 30.0


class House:
    """Everything in one process."""

    def __init__(self, store: Store) -> None:
        self.engine = with_workflows(Engine(store, StoreBroker(store), SystemClock()))
        self.workflows = WorkflowService(self.engine)
        self.handlers: dict[str, Handler] = {}

    def handle(self, type: str) -> Callable[[Callable[[Context], Awaitable[Any]]], None]:
        """A handler of this type."""

        def declare(call: Callable[[Context], Awaitable[Any]]) -> None:
            self.handlers[type] = Handler(type=type, call=call)

        return declare

    @asynccontextmanager
    async def working(self) -> AsyncIterator[None]:
        """A worker and a scheduler."""
        worker, leader = Worker(self.engine, self.handlers, WorkerOptions()), Scheduler(self.engine)
        tasks = [asyncio.create_task(worker.run()), asyncio.create_task(leader.run())]
        await worker.ready.wait()
        try:
            yield
        finally:
            worker.stop()
            leader.stop()
            await asyncio.gather(*tasks)

    async def start(self, definition: dict[str, Any], input: Any = None) -> str:
        """A run of it."""
        parsed, graph = parse_with_graph(definition)
        return (await self.workflows.start(parsed, input, graph)).id

    async def ended(self, id: str) -> Workflow:
        """A run, once it has ended."""
        async with asyncio.timeout(PATIENCE):
            while True:
                run = await self.workflows.get(id)
                if run.state not in (WorkflowState.RUNNING, WorkflowState.PAUSED):
                    return run
                await asyncio.sleep(0.02)


@pytest.fixture(params=["sqlite", "postgres"])
async def house(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[House]:
    store: Store
    if request.param == "sqlite":
        store = SqliteStore(str(tmp_path / "flux.db"))
    else:
        store = PostgresStore(Place(url=request.getfixturevalue("database_url")))
    house = House(store)
    await house.engine.open()
    yield house
    await house.engine.close()
