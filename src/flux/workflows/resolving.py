"""The worker's side of a step: its condition and its payload, from the outputs of the steps before it."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec

from flux.domain.job import ClaimedJob
from flux.domain.request import Bounds, encode_value, json_problem
from flux.domain.workflow.definition import JobStep
from flux.domain.workflow.expression import ExpressionError
from flux.domain.workflow.plan import PlannedStep
from flux.domain.workflow.resolve import judge
from flux.domain.workflow.scope import Scope, WorkflowView
from flux.domain.workflow.template import all_cheap, fill
from flux.engine.ports import Workflows
from flux.engine.steps import StepRefused
from flux.workflows.definitions import Definitions, Known, Remembered, step_views
from flux.workflows.graphs import read_options


class _Run(msgspec.Struct, frozen=True):
    name: str
    input: Any


class StepResolver:
    """Fulfils ``engine.steps.Steps``."""

    def __init__(self, workflows: Workflows, definitions: Definitions, bounds: Bounds) -> None:
        self._workflows = workflows
        self._bounds = bounds
        self._definitions = definitions
        self._runs = Remembered(self._read_run)

    async def resolve(self, job: ClaimedJob) -> str | None:
        """See ``Steps``."""
        definition_id = read_options(job.options).definition
        if definition_id is None or job.workflow_id is None or job.step is None:
            return job.payload
        known, run = await asyncio.gather(
            self._definitions.get(definition_id), self._runs.get(job.workflow_id)
        )
        planned = known.plan.steps[job.step]
        step = known.definition.steps[planned.name]
        assert isinstance(step, JobStep)
        scope = await self._scope(job.workflow_id, known, planned, run)
        asked = (step.when, step.payload)
        try:
            if all_cheap(asked, scope):
                return self._evaluate(step, scope)
            # It would keep everybody else's jobs waiting.
            return await asyncio.to_thread(self._evaluate, step, scope)
        except ExpressionError as error:
            raise StepRefused(str(error)) from error

    def _evaluate(self, step: JobStep, scope: Scope) -> str | None:
        if not judge(step.when, scope):
            return None
        raw = encode_value(fill(step.payload, scope))
        if problem := json_problem(raw, self._bounds.max_payload):
            raise StepRefused(f"the payload {problem}")
        return raw.decode()

    async def _scope(self, workflow_id: str, known: Known, planned: PlannedStep, run: _Run) -> Scope:
        numbers = sorted({number for role in planned.reads.values() for number in role})
        views = await step_views(self._workflows, known, workflow_id, numbers)
        return Scope(input=run.input, steps=views, workflow=WorkflowView(workflow_id, run.name))

    async def _read_run(self, id: str) -> _Run:
        found = await self._workflows.read(id, False)
        if found is None:
            raise StepRefused("its workflow is gone")
        return _Run(found.name, msgspec.json.decode(found.input))
