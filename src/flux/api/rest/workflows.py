"""``/workflows``: runs of graphs of jobs."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from flux.api import bodies, examples
from flux.api.http import Answer, Call
from flux.api.operations import BASE, Body, Operation, Parameter, Reply
from flux.api.patience import ended_or_now
from flux.api.rest.jobs import CancelRequest, check_reason, read_seconds
from flux.api.rest.parameters import BOOLEAN, CURSOR, DURATION, limit
from flux.api.views import NULL, instant
from flux.domain.errors import Invalid
from flux.domain.job import JobError
from flux.domain.workflow.definition import MAX_DEFINITION
from flux.domain.workflow.parse import parse_with_graph
from flux.domain.workflow.states import ENDED, OVER, StepState, WorkflowState
from flux.engine.ports import StepView, Workflow, WorkflowFilter
from flux.workflows.definitions import Known
from flux.workflows.service import WorkflowService

if TYPE_CHECKING:
    from flux.api.app import Api


LARGE = 64 << 10
"""From so many bytes on a definition is checked beside the event loop: 10,000 steps take half a second."""


class StepOut(msgspec.Struct):
    """A step of a run. Its job, once there was one, is ``job_id``; ``waiting_for`` says what it waits for."""

    name: str
    state: StepState
    needs: list[str]
    job_id: str | None
    attempt: int
    started_at: str | None
    finished_at: str | None
    output: msgspec.Raw
    error: JobError | None
    items: dict[str, int] | None
    waiting_for: dict[str, Any] | None


class WorkflowOut(msgspec.Struct):
    """A run. A list, and ``steps=false``, leave the steps out."""

    id: str
    name: str
    template: str | None
    version: int | None
    state: WorkflowState
    input: msgspec.Raw
    output: msgspec.Raw
    error: JobError | None
    cancel_requested: bool
    created_at: str | None
    started_at: str | None
    finished_at: str | None
    steps: list[StepOut] | msgspec.UnsetType = msgspec.UNSET


class WorkflowList(msgspec.Struct):
    """A page of runs, newest first."""

    workflows: list[WorkflowOut]
    next_cursor: str | None


class StepList(msgspec.Struct):
    """A page of steps, in the order of the graph."""

    steps: list[StepOut]
    next_cursor: str | None


class WorkflowsResource:
    """The calls on workflows."""

    def __init__(self, api: Api) -> None:
        self._api = api
        self._workflows = api.workflows

    async def create(self, call: Call) -> Answer:
        """``POST /workflows``."""
        body = await call.body(MAX_DEFINITION)
        given = bodies.read(body, dict[str, Any])
        if len(body) < LARGE:
            definition, graph = parse_with_graph(given)
        else:
            definition, graph = await asyncio.to_thread(parse_with_graph, given)
        created = await self._workflows.start(definition, None, graph)
        location = (b"location", f"{BASE}/workflows/{created.id}".encode())
        return Answer.json(await self._out(await self._workflows.get(created.id)), 201, (location,))

    async def list(self, call: Call) -> Answer:
        """``GET /workflows``."""
        wanted = WorkflowFilter(
            states=_states(call, WorkflowState), name=call.one("name"), template=call.one("template")
        )
        page = await self._workflows.list(wanted, call.number("limit", 50, 1, 500), call.one("cursor"))
        return Answer.json(WorkflowList([workflow_out(run) for run in page.workflows], page.next_cursor))

    async def get(self, call: Call) -> Answer:
        """``GET /workflows/{id}``."""
        with_steps = call.one("steps") is None or call.flag("steps")
        return Answer.json(await self._out(await self._workflows.get(call.path["id"], with_steps)))

    async def steps(self, call: Call) -> Answer:
        """``GET /workflows/{id}/steps``."""
        run = await self._workflows.get(call.path["id"], False)
        known = await self._workflows.definition(run)
        most, after = call.number("limit", 100, 1, 1000), call.number("cursor", -1, -1, 1 << 31)
        found = await self._workflows.steps(run.id, _states(call, StepState), after, most + 1)
        page = found[:most]
        following = str(page[-1].number) if len(found) > most else None
        return Answer.json(StepList([step_out(step, known, {}) for step in page], following))

    async def wait(self, call: Call) -> Answer:
        """``GET /workflows/{id}/wait``."""
        seconds = read_seconds(call.one("timeout"))
        id, workflows = call.path["id"], self._workflows
        run = await ended_or_now(self._api, call, workflows.wait(id, seconds), lambda: workflows.get(id))
        return Answer.json(await self._out(run), 200 if run.state in OVER else 202)

    async def cancel(self, call: Call) -> Answer:
        """``DELETE /workflows/{id}``."""
        reason = (await bodies.read_action(call, CancelRequest)).reason
        check_reason(reason)
        return Answer.json(await self._out(await self._workflows.cancel(call.path["id"], reason)))

    async def _out(self, run: Workflow) -> WorkflowOut:
        return await described(self._workflows, run)


async def described(workflows: WorkflowService, run: Workflow) -> WorkflowOut:
    """A run as clients see it, with those steps that were read."""
    out = workflow_out(run)
    if run.steps is not None:
        known = await workflows.definition(run)
        states = {step.name: step.state for step in run.steps}
        out.steps = [step_out(step, known, states) for step in run.steps]
    return out


def workflow_out(run: Workflow) -> WorkflowOut:
    """A run as clients see it, without its steps."""
    return WorkflowOut(
        id=run.id,
        name=run.name,
        template=run.template,
        version=run.version,
        state=run.state,
        input=msgspec.Raw(run.input),
        output=NULL if run.output is None else msgspec.Raw(run.output),
        error=run.error,
        cancel_requested=run.cancel_requested,
        created_at=instant(run.created_at),
        started_at=instant(run.started_at),
        finished_at=instant(run.finished_at),
    )


def step_out(step: StepView, known: Known, states: dict[str, StepState]) -> StepOut:
    """A step as clients see it. ``states``: those of all steps, as far as they are known."""
    needs = list(known.graph.needs[step.name])
    return StepOut(
        name=step.name,
        state=step.state,
        needs=needs,
        job_id=step.job_id,
        attempt=step.attempt,
        started_at=instant(step.started_at),
        finished_at=instant(step.finished_at),
        output=NULL if step.output is None else msgspec.Raw(step.output),
        error=step.error,
        items=None,
        waiting_for=_waiting_for(step, needs, states),
    )


def _waiting_for(step: StepView, needs: Sequence[str], states: dict[str, StepState]) -> dict[str, Any] | None:
    if step.state is not StepState.BLOCKED:
        return None
    left = [name for name in needs if states.get(name) not in ENDED]
    shown = ", ".join(f"{name} ({states[name]})" if name in states else name for name in left[:5])
    more = f" and {len(left) - 5} more" if len(left) > 5 else ""
    return {"kind": "needs", "text": f"It waits for {shown}{more}.", "needs": left}


def _states(call: Call, kind: Any) -> tuple[Any, ...]:
    given = [state for text in call.query.get("state", ()) for state in text.split(",") if state]
    known = list(kind)
    for state in given:
        if state not in known:
            raise Invalid.one("state", f"{state[:50]!r} is not a state; the states are {', '.join(known)}")
    return tuple(kind(state) for state in given)


_STEPS: list[dict[str, Any]] = [
    {
        "name": "charge",
        "state": "succeeded",
        "needs": [],
        "job_id": examples.ID,
        "attempt": 1,
        "started_at": examples.AT,
        "finished_at": examples.AT,
        "output": {"receipt": "r-42"},
        "error": None,
        "items": None,
        "waiting_for": None,
    },
]

_EXAMPLE: dict[str, Any] = {
    "id": examples.ID,
    "name": "order",
    "template": None,
    "version": None,
    "state": "succeeded",
    "input": {"order_id": 42},
    "output": {"receipt": "r-42"},
    "error": None,
    "cancel_requested": False,
    "created_at": examples.AT,
    "started_at": examples.AT,
    "finished_at": examples.AT,
}

_DEFINITION: dict[str, Any] = {
    "name": "order",
    "input": {"order_id": 42},
    "steps": {
        "charge": {"type": "echo", "payload": {"order": "${{ input.order_id }}"}},
        "label": {"type": "echo", "payload": {"charged": "${{ steps.charge.output }}"}},
    },
    "output": "${{ steps.label.output }}",
}


def operations(api: Api) -> list[Operation]:
    """The operations on workflows."""
    workflows = WorkflowsResource(api)
    one = f"{BASE}/workflows/{{id}}"
    run = Reply("The run.", WorkflowOut, {**_EXAMPLE, "steps": _STEPS})

    def states(kind: Any, example: str) -> Parameter:
        return Parameter(
            "state",
            "One or more states (repeat the parameter, or separate them by commas).",
            {"type": "array", "items": {"type": "string", "enum": list(kind)}},
            [example],
            repeatable=True,
        )

    return [
        Operation(
            method="POST",
            path=f"{BASE}/workflows",
            name="createWorkflow",
            group="Workflows",
            summary="Run a workflow",
            about=(
                "The definition inline. So far its steps are jobs, with `needs`, `when` and expressions; fan-out, "
                "signals, timers and workflows within workflows are checked, and refused as not to be run yet."
            ),
            handler=workflows.create,
            body=Body(dict[str, Any], _DEFINITION, about="See `flux workflow schema`."),
            replies={
                201: Reply(
                    "It runs.",
                    WorkflowOut,
                    {**_EXAMPLE, "steps": _STEPS},
                    headers={"Location": "Where it is."},
                )
            },
            problems=(400, 413, 415, 422),
        ),
        Operation(
            method="GET",
            path=f"{BASE}/workflows",
            name="listWorkflows",
            group="Workflows",
            summary="List runs of workflows, newest first",
            handler=workflows.list,
            query=(
                states(WorkflowState, "running"),
                Parameter("name", "Runs of this name.", example="order"),
                Parameter("template", "Runs of this template.", example="order"),
                limit(500, 50),
                CURSOR,
            ),
            replies={200: Reply("A page.", WorkflowList, {"workflows": [_EXAMPLE], "next_cursor": None})},
            problems=(422,),
        ),
        Operation(
            method="GET",
            path=one,
            name="getWorkflow",
            group="Workflows",
            summary="Read a run and its steps",
            handler=workflows.get,
            query=(Parameter("steps", "false leaves the steps out.", {**BOOLEAN, "default": True}, True),),
            replies={200: run},
            problems=(404, 422),
        ),
        Operation(
            method="GET",
            path=f"{one}/steps",
            name="listSteps",
            group="Workflows",
            summary="List the steps of a run, in the order of its graph",
            handler=workflows.steps,
            query=(
                states(StepState, "failed"),
                limit(1000, 100),
                Parameter("cursor", "Where to go on: the `next_cursor` of the page before.", example="99"),
            ),
            replies={200: Reply("A page.", StepList, {"steps": _STEPS, "next_cursor": None})},
            problems=(404, 422),
        ),
        Operation(
            method="GET",
            path=f"{one}/wait",
            name="waitForWorkflow",
            group="Workflows",
            summary="Wait for a run to end",
            about="200 once it has ended, 202 with the run as it stands after `timeout`.",
            handler=workflows.wait,
            query=(
                Parameter("timeout", "How long to wait, at most 5m.", {**DURATION, "default": "30s"}, "30s"),
            ),
            replies={200: run, 202: Reply("It has not ended.", WorkflowOut, {**_EXAMPLE, "steps": _STEPS})},
            problems=(404, 422),
        ),
        Operation(
            method="DELETE",
            path=one,
            name="cancelWorkflow",
            group="Workflows",
            summary="Cancel a run",
            about="Steps that have not begun end at once; those that run are asked to stop.",
            handler=workflows.cancel,
            body=Body(CancelRequest, {"reason": "ordered twice"}, required=False),
            replies={200: run},
            problems=(404, 409, *bodies.ACTION_PROBLEMS),
        ),
    ]
