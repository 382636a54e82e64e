"""Workflows: runs of graphs, whose steps are jobs.

The end of a step releases the steps that wait for it *in the transaction that ends its job*, whoever ends that: this
port has no verb for it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import msgspec

from flux.domain.errors import FluxError
from flux.domain.job import JobError
from flux.domain.workflow.states import StepState, WorkflowState


class StoredStep(msgspec.Struct, frozen=True, kw_only=True):
    """A step of a definition. From ``type`` on it is what its job is made of, when ``kind`` is ``job``.

    A step of another kind is ``waiting`` once it is released. ``tolerated``: its failure (or cancel) does not fail the
    workflow. ``options`` is the JSON of a job's ``Options``: where it names the ``definition`` expressions stand in
    the payload or the condition, which its worker resolves. ``timeout`` is in microseconds.
    """

    name: str
    kind: str = "job"
    tolerated: bool = False
    type: str | None = None
    queue: str = "default"
    priority: int = 5
    max_retries: int = 3
    timeout: int | None = None
    payload: bytes = b"{}"
    options: bytes | None = None


class StoredEdge(msgspec.Struct, frozen=True, array_like=True):
    """``target`` waits for ``source`` (a smaller number); ``mask`` has the bits (``BITS``) of the ends that satisfy it.

    There is at most one edge between two steps.
    """

    source: int
    target: int
    mask: int


class StoredDefinition(msgspec.Struct, frozen=True, kw_only=True):
    """A graph: at least one step, in topological order. ``id`` is the digest of everything in it."""

    id: str
    document: bytes
    steps: tuple[StoredStep, ...]
    edges: tuple[StoredEdge, ...] = ()


class NewWorkflow(msgspec.Struct, frozen=True, kw_only=True):
    """A validated run, ready to be created. ``timeout`` (µs) counts from the store's now.

    ``job_ids`` has the id of each step's job, whether it will ever run or not, in the order of the steps: so that the
    steps of an older run are older. ``dynamic_end``: something has to be evaluated when the last step has ended.
    """

    id: str
    name: str
    definition: StoredDefinition
    job_ids: Sequence[str]
    template: str | None = None
    version: int | None = None
    input: bytes = b"{}"
    timeout: int | None = None
    dynamic_end: bool = False


class CreatedWorkflow(msgspec.Struct, frozen=True):
    """The store's answer for one run."""

    id: str
    state: WorkflowState
    created_at: int


class StepView(msgspec.Struct, kw_only=True):
    """A step as it is read. One whose job never was has no ``job_id``, no times, and attempt 0."""

    number: int
    name: str
    state: StepState
    job_id: str | None = None
    attempt: int = 0
    started_at: int | None = None
    finished_at: int | None = None
    output: bytes | None = None
    error: JobError | None = None


class StepOutput(msgspec.Struct, frozen=True):
    """How a step ended, for the expressions of those after it; of one that has not ended, where it stands."""

    number: int
    state: StepState
    output: bytes | None
    error: JobError | None


class Workflow(msgspec.Struct, kw_only=True):
    """A run as it is read. ``failures`` counts the steps that failed or were cancelled by themselves, and are not
    tolerated.

    ``ending``: its steps have all ended, and it waits for ``Workflows.end``. ``steps`` is None where the reader left
    them out.
    """

    id: str
    name: str
    template: str | None
    version: int | None
    definition_id: str
    state: WorkflowState
    input: bytes
    output: bytes | None
    error: JobError | None
    created_at: int
    started_at: int | None
    finished_at: int | None
    deadline: int | None
    steps_left: int
    failures: int
    dynamic_end: bool
    ending: bool
    cancel_requested: bool
    cancel_reason: str | None
    steps: list[StepView] | None = None


class WorkflowFilter(msgspec.Struct, kw_only=True):
    """Which runs a person wants to see; empty: all."""

    states: tuple[WorkflowState, ...] = ()
    name: str | None = None
    template: str | None = None


class WorkflowPage(msgspec.Struct):
    """A page of runs, newest first, without their steps."""

    workflows: list[Workflow]
    next_cursor: str | None


class WorkflowChanged(msgspec.Struct, frozen=True):
    """What a person's verb found and did: ``state`` after it (None: no such run), and whether it did anything."""

    state: WorkflowState | None
    done: bool
    why: str | None = None


class Workflows(Protocol):
    """Runs of graphs."""

    async def create(self, runs: Sequence[NewWorkflow]) -> list[CreatedWorkflow | FluxError]:
        """Create runs in one commit, each of them all or none: the steps without needs are available at once.

        A run's answer may be ``DataRefused`` (a value the store cannot take; another run's id). A run that is stored
        already, with its definition, name and input, is this very one repeated after its answer was lost: it is
        answered in the state it has by now.
        """
        ...

    async def cancel(self, workflow_id: str, reason: str | None) -> WorkflowChanged:
        """End every step that has not ended; those that run are asked to. Nothing new starts from here on.

        The run is ``cancelled`` when the last of them has ended: the answer says ``running`` until then.
        """
        ...

    async def read(self, workflow_id: str, with_steps: bool) -> Workflow | None:
        """One run; with all its steps where they are wanted."""
        ...

    async def definition(self, definition_id: str) -> bytes | None:
        """The document of a definition. It never changes under its id."""
        ...

    async def steps(
        self, workflow_id: str, states: Sequence[StepState], after: int, limit: int
    ) -> list[StepView]:
        """The steps of a run numbered above ``after`` (-1: all) that are in one of ``states`` (empty: in any)."""
        ...

    async def outputs(self, workflow_id: str, numbers: Sequence[int]) -> list[StepOutput]:
        """How these steps ended, by their numbers."""
        ...

    async def ending(self, limit: int) -> list[str]:
        """Runs whose steps have all ended and that wait for ``end``, oldest first."""
        ...

    async def end(
        self, workflow_id: str, state: WorkflowState, output: bytes | None, error: JobError | None
    ) -> bool:
        """End a run that waits for it; False when it does not (any more)."""
        ...

    async def list(self, filter: WorkflowFilter, limit: int, cursor: str | None) -> WorkflowPage:
        """A page of runs, newest first. Raises ``Invalid`` for a bad cursor."""
        ...
