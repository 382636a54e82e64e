"""The port Workflows."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import Any, TypeAlias, TypeVar

from flux.domain.errors import FluxError
from flux.domain.job import JobError, JobState
from flux.domain.workflow.states import StepState, WorkflowState
from flux.engine.ports import (
    CreatedWorkflow,
    NewWorkflow,
    StepOutput,
    StepView,
    Workflow,
    WorkflowChanged,
    WorkflowFilter,
    WorkflowPage,
)
from flux.stores.pages import LAST, read_cursor, write_cursor
from flux.stores.runs import MISSING, StepJob, already, stands, stored_states, view, workflow
from flux.stores.sqlite.creating import SQL, Creation
from flux.stores.sqlite.database import Database
from flux.stores.sqlite.editing import withdraw
from flux.stores.sqlite.ending import standing
from flux.stores.sqlite.events import EventLog
from flux.stores.sqlite.rows import read_error
from flux.stores.sqlite.sql import decoder, json_text, one_value

T = TypeVar("T")
List: TypeAlias = list[T]  # inside the class the name is taken by the verb

_ALL = 1 << 30

_JobRow = tuple[str, JobState, int, int | None, int | None, str | None, str | None]
_ids = decoder(list[str])
_runs = decoder(list[list[Any]])
_steps = decoder(list[tuple[int, str, str, str]])
_jobs = decoder(list[_JobRow])

_COLUMNS = (
    "id",
    "name",
    "template",
    "version",
    "definition_id",
    "state",
    "input",
    "output",
    "error",
    "created_at",
    "started_at",
    "finished_at",
    "deadline",
    "steps_left",
    "failures",
    "dynamic_end",
    "ending",
    "cancel_requested",
    "cancel_reason",
)


class SqliteWorkflows:
    """Runs of graphs in one SQLite file."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._namespace = database.namespace

    # --- life -------------------------------------------------------------------------------------------------

    async def create(self, runs: Sequence[NewWorkflow]) -> List[CreatedWorkflow | FluxError]:
        """See the port."""
        return await self._database.write(
            lambda connection: Creation(connection, self._namespace, self._database.now()).create(runs)
        )

    async def cancel(self, workflow_id: str, reason: str | None) -> WorkflowChanged:
        """See the port."""

        def work(connection: sqlite3.Connection) -> WorkflowChanged:
            key = (self._namespace, workflow_id)
            asked = connection.execute(SQL["ask_cancel"], (*key, reason)).rowcount
            if asked:
                self._withdraw(connection, workflow_id, reason)
            state = one_value(connection, SQL["state_of_workflow"], key)
            if state is None:
                return MISSING
            return WorkflowChanged(WorkflowState(state), True) if asked else already(WorkflowState(state))

        return await self._database.write(work)

    def _withdraw(self, connection: sqlite3.Connection, workflow_id: str, reason: str | None) -> None:
        key, now = (self._namespace, workflow_id), self._database.now()
        jobs = standing(
            connection, self._namespace, _ids(one_value(connection, SQL["live_of_workflow"], key))
        )
        events = EventLog(self._namespace, now)
        if blocked := connection.execute(SQL["cancel_steps"], key).rowcount:
            events.tally.ended(workflow_id, blocked)
        withdraw(connection, self._namespace, now, jobs.values(), reason, events)
        events.write(connection)

    async def ending(self, limit: int) -> List[str]:
        """See the port."""

        def work(connection: sqlite3.Connection) -> List[str]:
            found: List[str] = _ids(one_value(connection, SQL["ending_workflows"], (self._namespace, limit)))
            return found

        return await self._database.read(work)

    async def end(
        self, workflow_id: str, state: WorkflowState, output: bytes | None, error: JobError | None
    ) -> bool:
        """See the port."""

        def work(connection: sqlite3.Connection) -> bool:
            values = (
                self._namespace,
                workflow_id,
                state,
                None if output is None else output.decode(),
                None if error is None else json_text(error),
                self._database.now(),
            )
            return connection.execute(SQL["end_workflow"], values).rowcount > 0

        return await self._database.write(work)

    # --- reading ----------------------------------------------------------------------------------------------

    async def read(self, workflow_id: str, with_steps: bool) -> Workflow | None:
        """See the port."""

        def work(connection: sqlite3.Connection) -> Workflow | None:
            for found in self._read(connection, "read_workflow", workflow_id):
                if with_steps:
                    found.steps = self._page(connection, workflow_id, stored_states(()), -1, _ALL)
                return found
            return None

        return await self._database.read(work)

    async def definition(self, definition_id: str) -> bytes | None:
        """See the port."""

        def work(connection: sqlite3.Connection) -> bytes | None:
            text: str | None = one_value(connection, SQL["read_definition"], (self._namespace, definition_id))
            return None if text is None else text.encode()

        return await self._database.read(work)

    async def list(self, filter: WorkflowFilter, limit: int, cursor: str | None) -> WorkflowPage:
        """See the port."""
        below = LAST if cursor is None else read_cursor(cursor)
        shared = (below, filter.template, limit + 1)

        def work(connection: sqlite3.Connection) -> List[Workflow]:
            if filter.states:
                found: List[Workflow] = []
                for state in set(filter.states):
                    found += self._read(connection, "list_workflows_of_state", *shared, state, filter.name)
                found.sort(key=lambda run: run.id, reverse=True)
                return found
            if filter.name is not None:
                return self._read(connection, "list_workflows_by_name", *shared, filter.name)
            return self._read(connection, "list_workflows", *shared)

        rows = await self._database.read(work)
        found = rows[:limit]
        return WorkflowPage(found, write_cursor(found[-1].id) if len(rows) > limit else None)

    def _read(self, connection: sqlite3.Connection, statement: str, *values: object) -> List[Workflow]:
        rows = _runs(one_value(connection, SQL[statement], (self._namespace, *values)))
        return [workflow(_documents(dict(zip(_COLUMNS, row, strict=True)))) for row in rows]

    async def steps(
        self, workflow_id: str, states: Sequence[StepState], after: int, limit: int
    ) -> List[StepView]:
        """See the port."""
        stored = stored_states(states)

        def work(connection: sqlite3.Connection) -> List[StepView]:
            found: List[StepView] = []
            last = after
            while len(found) < limit:
                page = self._page(connection, workflow_id, stored, last, limit)
                found += [step for step in page if not states or step.state in states]
                if len(page) < limit:
                    break
                last = page[-1].number
            return found[:limit]

        return await self._database.read(work)

    def _page(
        self, connection: sqlite3.Connection, workflow_id: str, stored: List[str], after: int, limit: int
    ) -> List[StepView]:
        values = (self._namespace, workflow_id, after, json_text(stored), limit)
        rows = _steps(one_value(connection, SQL["read_steps"], values))
        jobs = self._jobs(connection, [job_id for *_, job_id in rows])
        return [view(number, name, state, job_id, jobs.get(job_id)) for number, name, state, job_id in rows]

    def _jobs(self, connection: sqlite3.Connection, ids: List[str]) -> dict[str, StepJob]:
        rows = _jobs(one_value(connection, SQL["read_step_jobs"], (self._namespace, json_text(ids))))
        return {id: _job(*rest) for id, *rest in rows}

    async def outputs(self, workflow_id: str, numbers: Sequence[int]) -> List[StepOutput]:
        """See the port."""

        def work(connection: sqlite3.Connection) -> List[StepOutput]:
            values = (self._namespace, workflow_id, json_text(list(numbers)))
            rows = _steps(one_value(connection, SQL["read_some_steps"], values))
            jobs = self._jobs(connection, [job_id for *_, job_id in rows])
            found = []
            for number, _, stored, job_id in rows:
                job = jobs.get(job_id)
                output, error = (None, None) if job is None else (job.output, job.error)
                found.append(StepOutput(number, stands(stored, job), output, error))
            return found

        return await self._database.read(work)


def _job(
    state: JobState,
    attempt: int,
    started_at: int | None,
    finished_at: int | None,
    result: str | None,
    error: str | None,
) -> StepJob:
    output = None if result is None else result.encode()
    return StepJob(state, attempt, started_at, finished_at, output, read_error(error))


def _documents(row: dict[str, Any]) -> dict[str, Any]:
    """The row with its documents as bytes."""
    encoded = {name: row[name].encode() for name in ("input", "output", "error") if row[name] is not None}
    return row | encoded
