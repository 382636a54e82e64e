"""Creating runs of graphs: the definition once, then rows by ``INSERT … SELECT`` from it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from flux.domain.errors import FluxError
from flux.domain.job import JobState
from flux.domain.workflow.states import WorkflowState
from flux.engine.ports import CreatedWorkflow, NewWorkflow, StoredDefinition
from flux.stores.postgres.errors import overtaken
from flux.stores.postgres.events import EventLog
from flux.stores.postgres.inserting import SQL as INSERT
from flux.stores.postgres.session import Session
from flux.stores.postgres.sql import Statements
from flux.stores.runs import KnownRun, needs_of, once_more, queues_of

SQL = Statements("workflows.sql")

_STEPS = [
    "namespace",
    "definition_id",
    "number",
    "name",
    "needs",
    "kind",
    "tolerated",
    "type",
    "queue",
    "priority",
    "max_retries",
    "timeout",
    "payload",
    "options",
]
_EDGES = ["namespace", "definition_id", "source", "target", "mask"]


class Creation:
    """Runs of one transaction, at one instant of the store's clock."""

    def __init__(self, session: Session, namespace: str, now: int) -> None:
        self._session = session
        self._namespace = namespace
        self._now = now

    async def create(self, runs: Sequence[NewWorkflow]) -> list[CreatedWorkflow | FluxError]:
        """Create what is not there yet; what the database refuses refuses all."""
        await self._define({run.definition.id: run for run in runs})
        fresh = await self._insert({run.id: run for run in runs})
        answers: dict[str, CreatedWorkflow | FluxError] = {
            id: CreatedWorkflow(id, WorkflowState.RUNNING, self._now) for id in fresh
        }
        if len(fresh) < len(runs):
            known = await self._known([run.id for run in runs])
            for run in runs:
                if run.id not in fresh or run is not fresh[run.id]:
                    answers[run.id] = once_more(run, known[run.id])
        await self._start(list(fresh.values()))
        return [answers[run.id] for run in runs]

    async def _define(self, runs: dict[str, NewWorkflow]) -> None:
        """Store the definitions that are new, and have all of them stay until the commit."""
        held = await self._hold(runs)
        new = {id: run for id, run in sorted(runs.items()) if id not in held}
        if not new:
            return
        rows = await self._session.fetch(
            SQL["insert_definitions"],
            namespace=self._namespace,
            now=self._now,
            ids=list(new),
            documents=[run.definition.document for run in new.values()],
        )
        ours = {row[0] for row in rows}
        for id in ours:
            await self._lay_out(new[id].definition, needs_of(new[id]))
        # Somebody else has stored them meanwhile.
        if (others := new.keys() - ours) and await self._hold(others) != others:
            raise overtaken()

    async def _hold(self, ids: Any) -> set[str]:
        rows = await self._session.fetch(SQL["hold_definitions"], namespace=self._namespace, ids=sorted(ids))
        return {row[0] for row in rows}

    async def _lay_out(self, definition: StoredDefinition, needs: list[int]) -> None:
        key = (self._namespace, definition.id)
        steps = [
            (
                *key,
                number,
                step.name,
                needs[number],
                step.kind,
                step.tolerated,
                step.type,
                step.queue,
                step.priority,
                step.max_retries,
                step.timeout,
                step.payload,
                step.options,
            )
            for number, step in enumerate(definition.steps)
        ]
        await self._session.copy("definition_steps", _STEPS, steps)
        edges = [(*key, edge.source, edge.target, edge.mask) for edge in definition.edges]
        if edges:
            await self._session.copy("definition_edges", _EDGES, edges)

    async def _insert(self, runs: dict[str, NewWorkflow]) -> dict[str, NewWorkflow]:
        """The runs whose ids were free."""
        wanted = list(runs.values())
        rows = await self._session.fetch(
            SQL["insert_workflows"],
            namespace=self._namespace,
            now=self._now,
            ids=[run.id for run in wanted],
            names=[run.name for run in wanted],
            templates=[run.template for run in wanted],
            versions=[run.version for run in wanted],
            definitions=[run.definition.id for run in wanted],
            inputs=[run.input for run in wanted],
            timeouts=[run.timeout for run in wanted],
            steps=[len(run.definition.steps) for run in wanted],
            dynamic_ends=[run.dynamic_end for run in wanted],
        )
        return {row[0]: runs[row[0]] for row in rows}

    async def _known(self, ids: list[str]) -> dict[str, KnownRun]:
        rows = await self._session.fetch(SQL["find_workflows"], namespace=self._namespace, ids=ids)
        return {
            id: KnownRun(name, definition_id, input, WorkflowState(state), created_at)
            for id, name, definition_id, input, state, created_at in rows
        }

    async def _start(self, runs: list[NewWorkflow]) -> None:
        if not runs:
            return
        job_ids: list[str] = []
        starts: list[int] = []
        for run in runs:
            starts.append(len(job_ids))
            job_ids += run.job_ids
        values = {
            "namespace": self._namespace,
            "ids": [run.id for run in runs],
            "definitions": [run.definition.id for run in runs],
            "starts": starts,
            "job_ids": job_ids,
        }
        await self._session.run(SQL["insert_steps"], **values)
        events = EventLog(self._namespace, self._now)
        for id, type, queue in await self._session.fetch(SQL["insert_roots"], now=self._now, **values):
            events.job(JobState.AVAILABLE, str(id), type, queue)
        names = sorted(queues_of(runs))
        await self._session.run(INSERT["insert_queues"], namespace=self._namespace, names=names)
        await events.write(self._session)
