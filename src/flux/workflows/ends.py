"""The end of a run whose output is made of expressions: evaluated once its last step has ended."""

from __future__ import annotations

import asyncio

import msgspec

from flux.domain.errors import NotFound
from flux.domain.job import ErrorKind, JobError
from flux.domain.request import Bounds, encode_value, json_problem
from flux.domain.workflow.expression import ExpressionError
from flux.domain.workflow.release import WorkflowState, final_state
from flux.domain.workflow.scope import Scope, WorkflowView
from flux.domain.workflow.template import fill
from flux.engine.ports import Workflow, Workflows
from flux.workflows.definitions import Definitions, Known, step_views

AT_ONCE = 100


class WorkflowEnds:
    """Fulfils ``engine.ends.Ends``."""

    def __init__(self, workflows: Workflows, definitions: Definitions, bounds: Bounds) -> None:
        self._workflows = workflows
        self._definitions = definitions
        self._bounds = bounds

    async def end_some(self) -> int:
        """See ``Ends``. Two leaders that end the same run find the same, and the second changes nothing."""
        ids = await self._workflows.ending(AT_ONCE)
        for id in ids:
            run = await self._workflows.read(id, False)
            if run is not None and run.ending:
                await self._end(run)
        return len(ids)

    async def _end(self, run: Workflow) -> None:
        state = final_state(steps_left=0, failures=run.failures, cancelled=run.cancel_requested)
        error, output = None, None
        if state is WorkflowState.SUCCEEDED:
            try:
                output = await self._output(run)
            except (ExpressionError, NotFound, _TooLarge) as refused:
                state, error = WorkflowState.FAILED, JobError(ErrorKind.EXPRESSION, f"output: {refused}")
        await self._workflows.end(run.id, state, output, error)

    async def _output(self, run: Workflow) -> bytes:
        known = await self._definitions.get(run.definition_id)
        views = await step_views(self._workflows, known, run.id, known.plan.output_reads)
        view = WorkflowView(run.id, run.name, WorkflowState.SUCCEEDED)
        scope = Scope(input=msgspec.json.decode(run.input), steps=views, workflow=view)
        return await asyncio.to_thread(self._evaluate, known, scope)

    def _evaluate(self, known: Known, scope: Scope) -> bytes:
        raw = encode_value(fill(known.definition.output, scope))
        if problem := json_problem(raw, self._bounds.max_result):
            raise _TooLarge(problem)
        return raw


class _TooLarge(Exception):
    pass
