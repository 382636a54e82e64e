"""Runs of graphs as both stores see them: what an answer that was lost is known by, and what is read back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec

from flux.domain.errors import DataRefused
from flux.domain.job import JobError, JobState
from flux.domain.workflow.states import ENDED, StepState, WorkflowState, step_state
from flux.engine.ports import CreatedWorkflow, NewWorkflow, StepView, Workflow, WorkflowChanged
from flux.stores.releasing import LIVE

_error: Final = msgspec.json.Decoder(JobError)

MISSING: Final = WorkflowChanged(None, False, "There is no such workflow.")

_WITHOUT_JOB: Final = frozenset({StepState.BLOCKED, StepState.WAITING}) | ENDED


class KnownRun(msgspec.Struct, array_like=True):
    """What is stored of a run under whose id one is created."""

    name: str
    definition_id: str
    input: bytes
    state: WorkflowState
    created_at: int


def once_more(run: NewWorkflow, known: KnownRun) -> CreatedWorkflow | DataRefused:
    """The answer that was lost, or the refusal of another run's id."""
    if (known.name, known.definition_id, known.input) != (run.name, run.definition.id, run.input):
        return DataRefused(f"The database refused a row: there is another workflow with the id {run.id}.")
    return CreatedWorkflow(run.id, known.state, known.created_at)


def already(state: WorkflowState) -> WorkflowChanged:
    """The answer to whoever would cancel a run that has ended."""
    return WorkflowChanged(state, False, f"The workflow has already ended as {state}.")


def stored_states(states: Sequence[StepState]) -> list[str]:
    """The stored states of steps that may stand so."""
    if not states:
        return [*sorted(_WITHOUT_JOB), LIVE]
    found = {str(state) if state in _WITHOUT_JOB else LIVE for state in states}
    return sorted(found)


class StepJob(msgspec.Struct, array_like=True):
    """What a step shows of its job."""

    state: JobState
    attempt: int
    started_at: int | None
    finished_at: int | None
    output: bytes | None
    error: JobError | None


def stands(stored: str, job: StepJob | None) -> StepState:
    """Where a step stands, by its own row and by its job."""
    if stored != LIVE:
        return StepState(stored)
    return StepState.BLOCKED if job is None else step_state(job.state)


def view(number: int, name: str, stored: str, job_id: str, job: StepJob | None) -> StepView:
    """A step for people."""
    if job is None:
        return StepView(number=number, name=name, state=stands(stored, None))
    return StepView(
        number=number,
        name=name,
        state=stands(stored, job),
        job_id=job_id,
        attempt=job.attempt,
        started_at=job.started_at,
        finished_at=job.finished_at,
        output=job.output,
        error=job.error,
    )


def workflow(row: Mapping[str, Any]) -> Workflow:
    """A run from its row; documents are bytes."""
    return Workflow(
        id=row["id"],
        name=row["name"],
        template=row["template"],
        version=row["version"],
        definition_id=row["definition_id"],
        state=WorkflowState(row["state"]),
        input=row["input"],
        output=row["output"],
        error=None if row["error"] is None else _error.decode(row["error"]),
        created_at=row["created_at"],
        started_at=row["started_at"],
        finished_at=row["finished_at"],
        deadline=row["deadline"],
        steps_left=row["steps_left"],
        failures=row["failures"],
        dynamic_end=bool(row["dynamic_end"]),
        ending=bool(row["ending"]),
        cancel_requested=bool(row["cancel_requested"]),
        cancel_reason=row["cancel_reason"],
    )


def needs_of(run: NewWorkflow) -> list[int]:
    """How many edges lead to each step of a run's definition."""
    needs = [0] * len(run.definition.steps)
    for edge in run.definition.edges:
        needs[edge.target] += 1
    return needs


def queues_of(runs: Sequence[NewWorkflow]) -> set[str]:
    """The queues that the jobs of these runs go through."""
    definitions = {run.definition.id: run.definition for run in runs}.values()
    return {step.queue for definition in definitions for step in definition.steps if step.kind == "job"}
