"""Creating runs of graphs: the definition once, then rows by ``INSERT … SELECT`` from it."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

from flux.domain.errors import FluxError
from flux.domain.job import JobState
from flux.domain.workflow.states import WorkflowState
from flux.engine.ports import CreatedWorkflow, NewWorkflow
from flux.stores.runs import KnownRun, needs_of, once_more, queues_of
from flux.stores.sqlite.events import EventLog
from flux.stores.sqlite.inserting import REFUSED, refused
from flux.stores.sqlite.inserting import SQL as INSERT
from flux.stores.sqlite.sql import Statements, json_text

SQL = Statements("workflows.sql")


class Creation:
    """Runs of one transaction, at one instant of the store's clock."""

    def __init__(self, connection: sqlite3.Connection, namespace: str, now: int) -> None:
        self._connection = connection
        self._namespace = namespace
        self._now = now
        self._events = EventLog(namespace, now)

    def create(self, runs: Sequence[NewWorkflow]) -> list[CreatedWorkflow | FluxError]:
        """Each run by itself: one that is refused leaves the others as they are."""
        answers: list[CreatedWorkflow | FluxError] = []
        for run in runs:
            self._connection.execute("SAVEPOINT run")
            try:
                answers.append(self._create(run))
            except REFUSED as error:
                self._connection.execute("ROLLBACK TO run")
                answers.append(refused(error))
            self._connection.execute("RELEASE run")
        self._events.write(self._connection)
        return answers

    def _create(self, run: NewWorkflow) -> CreatedWorkflow | FluxError:
        execute, definition = self._connection.execute, run.definition
        row = (
            self._namespace,
            run.id,
            run.name,
            run.template,
            run.version,
            definition.id,
            run.input.decode(),
            self._now,
            run.timeout,
            len(definition.steps),
            run.dynamic_end,
        )
        if not execute(SQL["insert_workflow"], row).rowcount:
            return self._once_more(run)
        self._define(run)
        values = (self._namespace, run.id, definition.id, json_text(list(run.job_ids)))
        if execute(SQL["insert_steps"], values).rowcount != len(definition.steps):
            raise sqlite3.IntegrityError("a step lacks the id of its job")
        execute(SQL["insert_roots"], (*values, self._now))
        names = [(name,) for name in sorted(queues_of([run]))]
        INSERT.many["insert_queues"].run(self._connection, (self._namespace,), names)
        needs = needs_of(run)
        for number, step in enumerate(definition.steps):
            if not needs[number] and step.kind == "job":
                self._events.job(JobState.AVAILABLE, run.job_ids[number], step.type or "", step.queue)
        return CreatedWorkflow(run.id, WorkflowState.RUNNING, self._now)

    def _once_more(self, run: NewWorkflow) -> CreatedWorkflow | FluxError:
        values = (self._namespace, run.id)
        name, definition_id, input, state, created_at = self._connection.execute(
            SQL["find_workflow"], values
        ).fetchone()
        known = KnownRun(name, definition_id, input.encode(), WorkflowState(state), created_at)
        return once_more(run, known)

    def _define(self, run: NewWorkflow) -> None:
        """Store its definition, unless that is there."""
        definition, key = run.definition, (self._namespace, run.definition.id)
        if self._connection.execute(SQL["find_definition"], key).fetchone() is not None:
            return
        self._connection.execute(SQL["insert_definition"], (*key, definition.document.decode(), self._now))
        needs = needs_of(run)
        steps = [
            (
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
                step.payload.decode(),
                None if step.options is None else step.options.decode(),
            )
            for number, step in enumerate(definition.steps)
        ]
        SQL.many["insert_definition_steps"].run(self._connection, key, steps)
        edges = [(edge.source, edge.target, edge.mask) for edge in definition.edges]
        SQL.many["insert_definition_edges"].run(self._connection, key, edges)
