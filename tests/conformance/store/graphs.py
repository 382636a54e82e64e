"""Graphs in few words, ``graph("a b c", "a>b", "b>c:failed|skipped")``, and what is done with their runs."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec

from flux.domain.job import ClaimedJob, JobState, Options
from flux.domain.workflow.states import BITS, StepState, WorkflowState
from flux.engine.ports import (
    CreatedWorkflow,
    NewWorkflow,
    Store,
    StoredDefinition,
    StoredEdge,
    StoredStep,
    Workflow,
)
from tests.conformance.store.lab import Lab, outcome


def job_state(end: str) -> JobState:
    """The state of the job of a step that ends so."""
    return JobState.DEAD if end == "failed" else JobState(end)


def mask(states: Iterable[StepState | str]) -> int:
    """The mask of an edge that these ends satisfy."""
    return sum(BITS[StepState(state)] for state in states)


def graph(
    steps: str, *needs: str, tolerated: str = "", kinds: Mapping[str, str] | None = None
) -> StoredDefinition:
    """Steps by name, in topological order; needs are ``source>target``, by ``:`` and the ends that satisfy them."""
    names = steps.split()
    edges = []
    for need in needs:
        link, _, ends = need.partition(":")
        source, target = link.split(">")
        wanted = ends.split("|") if ends else ["succeeded"]
        edges.append(StoredEdge(names.index(source), names.index(target), mask(wanted)))
    planned = [
        StoredStep(
            name=name,
            kind=(kinds or {}).get(name, "job"),
            type="t",
            tolerated=name in tolerated.split(),
            payload=msgspec.json.encode({"step": name}),
            options=msgspec.json.encode(Options(step=name)),
        )
        for name in names
    ]
    return defined(planned, edges)


def defined(steps: Sequence[StoredStep], edges: Sequence[StoredEdge]) -> StoredDefinition:
    """A definition under the digest of its content."""
    document = msgspec.json.encode([steps, edges])
    id = hashlib.sha256(document).hexdigest()
    return StoredDefinition(id=id, document=document, steps=tuple(steps), edges=tuple(edges))


def new_run(lab: Lab, definition: StoredDefinition, **fields: Any) -> NewWorkflow:
    """A run of a definition, not created yet."""
    fields.setdefault("id", lab.new_id())
    fields.setdefault("name", "w")
    ids = [lab.new_id() for _ in definition.steps]
    return NewWorkflow(definition=definition, job_ids=ids, **fields)


class Run:
    """A run under test; its steps are called by their names."""

    def __init__(self, lab: Lab, new: NewWorkflow) -> None:
        self.lab = lab
        self.new = new
        self.id = new.id
        self.numbers = {step.name: number for number, step in enumerate(new.definition.steps)}

    def job_id(self, step: str) -> str:
        """The id of a step's job."""
        return self.new.job_ids[self.numbers[step]]

    async def read(self) -> Workflow:
        """The run, with its steps."""
        found = await self.lab.store.workflows.read(self.id, True)
        assert found is not None, f"{self.id} is lost"
        return found

    async def state(self) -> WorkflowState:
        """Where the run stands."""
        return (await self.read()).state

    async def states(self) -> dict[str, str]:
        """Where each step stands."""
        return {step.name: str(step.state) for step in (await self.read()).steps or ()}

    async def claim(
        self, *steps: str, store: Store | None = None, worker: str = "w1"
    ) -> dict[str, ClaimedJob]:
        """Claim the jobs of steps that must be available."""
        store = store or self.lab.store
        ids = tuple(self.job_id(step) for step in steps)
        claimed = {job.id: job for job in await self.lab.claim(worker, hints=ids, store=store)}
        assert sorted(claimed) == sorted(ids), f"{steps} are not all available"
        return {step: claimed[self.job_id(step)] for step in steps}

    async def end(self, **ends: str) -> None:
        """End steps in one batch, claiming them first: ``end(a="succeeded", b="failed")``."""
        claimed = await self.claim(*ends)
        outcomes = [outcome(claimed[step], job_state(end)) for step, end in ends.items()]
        answers = await self.lab.store.jobs.finish("w1", outcomes)
        assert None not in answers


async def create(lab: Lab, definition: StoredDefinition, **fields: Any) -> Run:
    """A run that must be created."""
    new = new_run(lab, definition, **fields)
    [answer] = await lab.store.workflows.create([new])
    assert answer == CreatedWorkflow(new.id, WorkflowState.RUNNING, lab.clock()), answer
    return Run(lab, new)
