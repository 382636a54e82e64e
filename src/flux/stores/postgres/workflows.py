"""The port Workflows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias, TypeVar

import msgspec

from flux.domain.errors import DataRefused, FluxError, Unavailable
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
from flux.stores.postgres.clock import clock
from flux.stores.postgres.creating import SQL, Creation
from flux.stores.postgres.database import Database
from flux.stores.postgres.editing import withdraw
from flux.stores.postgres.ending import standing
from flux.stores.postgres.errors import overtaken
from flux.stores.postgres.events import EventLog
from flux.stores.postgres.rows import read_error
from flux.stores.postgres.session import Record, Session
from flux.stores.runs import MISSING, StepJob, already, stands, stored_states, view, workflow

T = TypeVar("T")
List: TypeAlias = list[T]  # inside the class the name is taken by the verb

_ALL = 1 << 30


class PostgresWorkflows:
    """Runs of graphs in PostgreSQL."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._namespace = database.namespace

    # --- life -------------------------------------------------------------------------------------------------

    async def create(self, runs: Sequence[NewWorkflow]) -> List[CreatedWorkflow | FluxError]:
        """See the port. What is refused for a row's data is halved until that row's run stands alone."""
        if not runs:
            return []

        async def work(session: Session) -> List[CreatedWorkflow | FluxError]:
            now = await clock(session, self._database)
            return await Creation(session, self._namespace, now).create(runs)

        try:
            return await self._database.calm(work)
        except DataRefused as error:
            if len(runs) == 1:
                return [error]
        half = len(runs) // 2
        answers = await self.create(runs[:half])
        try:
            return answers + await self.create(runs[half:])
        except Unavailable as away:
            return answers + [Unavailable(str(away)) for _ in runs[half:]]

    async def cancel(self, workflow_id: str, reason: str | None) -> WorkflowChanged:
        """See the port. The request is committed first: from then on nothing is released that could start, so that
        what is found to cancel does not grow."""
        asked = {"namespace": self._namespace, "id": workflow_id}
        if not await self._database.statement(SQL["ask_cancel"], reason=reason, **asked):
            rows = await self._database.statement(SQL["state_of_workflow"], **asked)
            return already(WorkflowState(rows[0][0])) if rows else MISSING
        await self._database.calm(lambda session: self._withdraw(session, workflow_id, reason))
        [row] = await self._database.statement(SQL["state_of_workflow"], **asked)
        return WorkflowChanged(WorkflowState(row[0]), True)

    async def _withdraw(self, session: Session, workflow_id: str, reason: str | None) -> None:
        """Jobs first, then steps, as whoever ends a step locks them. What was released in between is looked for once
        those who did it have committed; it is taken only where nobody has it, since it comes out of order."""
        namespace, asked = self._namespace, {"namespace": self._namespace, "id": workflow_id}
        seen = await self._live(session, workflow_id)
        jobs = await standing(session, namespace, seen)
        blocked = await session.run(SQL["cancel_steps"], **asked)
        late = await self._live(session, workflow_id) - seen
        if late:
            found = await standing(session, namespace, late, wait=False)
            if len(found) < len(late):
                raise overtaken()
            jobs |= found
        events = EventLog(namespace, await clock(session, self._database))
        if blocked:
            events.tally.ended(workflow_id, blocked)
        await withdraw(session, namespace, jobs.values(), reason, events)
        await events.write(session)

    async def _live(self, session: Session, workflow_id: str) -> set[str]:
        rows = await session.fetch(SQL["live_of_workflow"], namespace=self._namespace, id=workflow_id)
        return {str(row[0]) for row in rows}

    async def ending(self, limit: int) -> List[str]:
        """See the port."""
        rows = await self._database.statement(SQL["ending_workflows"], namespace=self._namespace, limit=limit)
        return [row[0] for row in rows]

    async def end(
        self, workflow_id: str, state: WorkflowState, output: bytes | None, error: JobError | None
    ) -> bool:
        """See the port."""

        async def work(session: Session) -> bool:
            count = await session.run(
                SQL["end_workflow"],
                namespace=self._namespace,
                now=self._database.now(),
                id=workflow_id,
                state=state,
                output=output,
                error=None if error is None else msgspec.json.encode(error),
            )
            return count > 0

        return await self._database.calm(work)

    # --- reading ----------------------------------------------------------------------------------------------

    async def read(self, workflow_id: str, with_steps: bool) -> Workflow | None:
        """See the port."""

        async def work(session: Session) -> Workflow | None:
            row = await session.row(SQL["read_workflow"], namespace=self._namespace, id=workflow_id)
            if row is None:
                return None
            found = workflow(row)
            if with_steps:
                found.steps = await self._page(session, workflow_id, stored_states(()), -1, _ALL)
            return found

        return await self._database.calm(work)

    async def definition(self, definition_id: str) -> bytes | None:
        """See the port."""
        rows = await self._database.statement(
            SQL["read_definition"], namespace=self._namespace, id=definition_id
        )
        return rows[0][0] if rows else None

    async def list(self, filter: WorkflowFilter, limit: int, cursor: str | None) -> WorkflowPage:
        """See the port."""
        values: dict[str, Any] = {
            "namespace": self._namespace,
            "below": LAST if cursor is None else read_cursor(cursor),
            "template": filter.template,
            "name": filter.name,
            "states": filter.states,
            "limit": limit + 1,
        }
        if filter.states:
            statement = SQL["list_workflows_by_state"]
        else:
            statement = SQL["list_workflows" if filter.name is None else "list_workflows_by_name"]
        rows = await self._database.statement(statement, **values)
        found = [workflow(row) for row in rows[:limit]]
        return WorkflowPage(found, write_cursor(found[-1].id) if len(rows) > limit else None)

    async def steps(
        self, workflow_id: str, states: Sequence[StepState], after: int, limit: int
    ) -> List[StepView]:
        """See the port."""
        stored = stored_states(states)

        async def work(session: Session) -> List[StepView]:
            found: List[StepView] = []
            last = after
            while len(found) < limit:
                page = await self._page(session, workflow_id, stored, last, limit)
                found += [step for step in page if not states or step.state in states]
                if len(page) < limit:
                    break
                last = page[-1].number
            return found[:limit]

        return await self._database.calm(work)

    async def _page(
        self, session: Session, workflow_id: str, stored: List[str], after: int, limit: int
    ) -> List[StepView]:
        rows = await session.fetch(
            SQL["read_steps"],
            namespace=self._namespace,
            id=workflow_id,
            after=after,
            states=stored,
            limit=limit,
        )
        if not rows:
            return []
        jobs = {
            id: _job(row)
            for id, *row in await session.fetch(
                SQL["read_step_jobs"],
                namespace=self._namespace,
                id=workflow_id,
                first=rows[0][3],
                last=rows[-1][3],
            )
        }
        return [
            view(number, name, state, str(job_id), jobs.get(job_id)) for number, name, state, job_id in rows
        ]

    async def outputs(self, workflow_id: str, numbers: Sequence[int]) -> List[StepOutput]:
        """See the port."""

        async def work(session: Session) -> List[StepOutput]:
            rows = await session.fetch(
                SQL["read_some_steps"], namespace=self._namespace, id=workflow_id, numbers=numbers
            )
            ends = {
                id: StepJob(JobState(state), 0, None, None, result, read_error(error))
                for id, state, result, error in await session.fetch(
                    SQL["read_step_ends"], namespace=self._namespace, ids=[row[2] for row in rows]
                )
            }
            found = []
            for number, stored, job_id in rows:
                job = ends.get(job_id)
                output, error = (None, None) if job is None else (job.output, job.error)
                found.append(StepOutput(number, stands(stored, job), output, error))
            return found

        return await self._database.calm(work)


def _job(row: Record) -> StepJob:
    state, attempt, started_at, finished_at, result, error = row
    return StepJob(JobState(state), attempt, started_at, finished_at, result, read_error(error))
