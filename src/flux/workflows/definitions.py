"""What does not change about workflows, read once: definitions under their ids."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

import msgspec

from flux.domain.errors import NotFound
from flux.domain.workflow.definition import Definition
from flux.domain.workflow.graph import Graph
from flux.domain.workflow.parse import parse_with_graph
from flux.domain.workflow.plan import Plan, plan
from flux.domain.workflow.scope import StepView
from flux.engine.ports import Workflows

K = TypeVar("K")
V = TypeVar("V")

REMEMBERED = 1_000
"""How many are kept, the most recently used."""


class Remembered(Generic[K, V]):
    """Values that do not change, each read once however many ask at the same time."""

    def __init__(self, read: Callable[[K], Awaitable[V]]) -> None:
        self._read = read
        self._known: OrderedDict[K, V] = OrderedDict()
        self._reading: dict[K, asyncio.Future[V]] = {}

    async def get(self, key: K) -> V:
        """The value. Raises what reading it raises; then the next one reads again."""
        while key not in self._known:
            other = self._reading.get(key)
            if other is None:
                return await self._fill(key)
            await asyncio.wait({other})
        self._known.move_to_end(key)
        return self._known[key]

    async def _fill(self, key: K) -> V:
        done = self._reading[key] = asyncio.get_running_loop().create_future()
        try:
            value = self._known[key] = await self._read(key)
        finally:
            del self._reading[key]
            done.cancel()
        if len(self._known) > REMEMBERED:
            self._known.popitem(last=False)
        return value


class Known(msgspec.Struct, frozen=True):
    """A definition and all that follows from it; ``names`` are those of the steps by their numbers."""

    definition: Definition
    graph: Graph
    plan: Plan
    names: tuple[str, ...]


class Definitions:
    """The definitions of a store's workflows."""

    def __init__(self, workflows: Workflows) -> None:
        self._workflows = workflows
        self._known = Remembered(self._find)

    async def get(self, id: str) -> Known:
        """One of them. Raises ``NotFound``, ``Unavailable``."""
        return await self._known.get(id)

    async def _find(self, id: str) -> Known:
        document = await self._workflows.definition(id)
        if document is None:
            raise NotFound("The definition of the workflow is gone.")
        definition, graph = parse_with_graph(msgspec.json.decode(document))
        planned = plan(definition, graph)
        return Known(definition, graph, planned, tuple(step.name for step in planned.steps))


async def step_views(
    workflows: Workflows, known: Known, workflow_id: str, numbers: Sequence[int]
) -> dict[str, StepView]:
    """These steps, as expressions see them."""
    views = {}
    for one in await workflows.outputs(workflow_id, numbers) if numbers else ():
        views[known.names[one.number]] = StepView(
            one.state,
            None if one.output is None else msgspec.json.decode(one.output),
            None if one.error is None else msgspec.to_builtins(one.error),
        )
    return views
