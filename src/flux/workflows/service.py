"""Workflows for the doors: start, look, wait and cancel."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, TypeAlias

from flux.domain.errors import Conflict, FluxError, Invalid, NotFound
from flux.domain.ids import is_id
from flux.domain.request import encode_value, json_problem
from flux.domain.workflow.definition import Definition
from flux.domain.workflow.graph import Graph, find_graph
from flux.domain.workflow.states import OVER, StepState
from flux.engine.engine import Engine
from flux.engine.ports import (
    CreatedWorkflow,
    NewWorkflow,
    StepView,
    Topic,
    Workflow,
    WorkflowFilter,
    WorkflowPage,
)
from flux.workflows.definitions import Definitions, Known
from flux.workflows.graphs import check_runnable, stored, timeout_of

_StepViews: TypeAlias = list[StepView]  # inside the class the name is taken by a verb

LONGEST_SLEEP = 1.0
"""Seconds between two looks of one who waits, when no change was announced."""


class WorkflowService:
    """What REST, the CLI and the SDK ask of workflows."""

    def __init__(self, engine: Engine) -> None:
        self._store = engine.store
        self._broker = engine.broker
        self._ids = engine.ids
        self._bounds = engine.bounds
        self._definitions = Definitions(engine.store.workflows)

    async def start(
        self, definition: Definition, input: Any = None, graph: Graph | None = None
    ) -> CreatedWorkflow:
        """Start a run of a checked definition, by default with the input in it. Raises ``Invalid``, ``Unavailable``."""
        check_runnable(definition)
        raw = self._input(definition.input if input is None else input)
        kept = stored(definition, graph or find_graph(definition), self._bounds)
        run = NewWorkflow(
            id=self._ids.new(),
            name=definition.name,
            definition=kept,
            job_ids=self._ids.many(len(kept.steps)),
            input=raw,
            timeout=timeout_of(definition),
            dynamic_end=definition.output is not None,
        )
        (answer,) = await self._store.workflows.create([run])
        if isinstance(answer, FluxError):
            raise answer
        await self._broker.poke()
        return answer

    def _input(self, value: Any) -> bytes:
        try:
            raw = encode_value(value)
        except ValueError as error:
            raise Invalid.one("input", str(error)) from None
        if problem := json_problem(raw, self._bounds.max_payload):
            raise Invalid.one("input", problem)
        return raw

    async def get(self, id: str, with_steps: bool = True) -> Workflow:
        """One run. Raises ``NotFound``."""
        found = await self._store.workflows.read(id, with_steps) if is_id(id) else None
        if found is None:
            raise NotFound(f"There is no workflow {id}.")
        return found

    async def definition(self, run: Workflow) -> Known:
        """What it is a run of. Raises ``NotFound``."""
        return await self._definitions.get(run.definition_id)

    async def list(self, filter: WorkflowFilter, limit: int, cursor: str | None) -> WorkflowPage:
        """A page of runs, newest first, without their steps. Raises ``Invalid`` for a bad cursor."""
        return await self._store.workflows.list(filter, limit, cursor)

    async def steps(self, id: str, states: Sequence[StepState], after: int, limit: int) -> _StepViews:
        """The steps above a number, in the order of the graph."""
        return await self._store.workflows.steps(id, states, after, limit)

    async def cancel(self, id: str, reason: str | None) -> Workflow:
        """End all that has not ended. Raises ``NotFound``, ``Conflict`` for a run that has ended."""
        await self.get(id, False)
        changed = await self._store.workflows.cancel(id, reason)
        if not changed.done:
            raise Conflict(changed.why or f"The workflow is {changed.state}.")
        return await self.get(id)

    async def wait(self, id: str, seconds: float) -> Workflow:
        """The run once it has ended, or as it stands after so many seconds. Raises ``NotFound``."""
        changes, loop = self._store.changes, asyncio.get_running_loop()
        until = loop.time() + seconds
        while True:
            seen = changes.version(Topic.ENDED)
            run = await self.get(id, False)
            left = until - loop.time()
            if run.state in OVER or left <= 0:
                return await self.get(id)
            await changes.wait(seen, min(left, LONGEST_SLEEP), Topic.ENDED)
