"""Random graphs, driven to their ends in random batches, beside a model that knows no counters."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections.abc import Coroutine, Sequence
from pathlib import Path
from typing import Any, TypeVar

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from flux.domain.job import JobState
from flux.domain.workflow.states import BITS, ENDED, StepState, WorkflowState
from flux.engine.ports import Store, StoredDefinition, StoredEdge, StoredStep
from tests.conformance.store.graphs import Run, create, defined, job_state
from tests.conformance.store.lab import Factory, Lab, outcome

T = TypeVar("T")
S = StepState

ENDS = (S.SUCCEEDED, S.SUCCEEDED, S.SUCCEEDED, S.FAILED, S.SKIPPED, S.CANCELLED)


@st.composite
def graphs(draw: st.DrawFn) -> StoredDefinition:
    """Up to twelve steps, with edges from smaller numbers to greater ones."""
    count = draw(st.integers(1, 12))
    steps = [
        StoredStep(name=f"s{n}", type="t", tolerated=draw(st.booleans()), queue=draw(st.sampled_from("pq")))
        for n in range(count)
    ]
    edges = [
        StoredEdge(source, target, draw(st.sampled_from((1, 1, 2, 5, 15))))
        for target in range(1, count)
        for source in sorted(draw(st.sets(st.integers(0, target - 1), max_size=4)))
    ]
    return defined(steps, edges)


class Model:
    """What the rules say of each step, looked at as a whole whenever one has ended."""

    def __init__(self, definition: StoredDefinition) -> None:
        self.definition = definition
        self.states = [S.BLOCKED] * len(definition.steps)
        self.cancelled = False
        self.settle()

    def settle(self) -> None:
        """Decide every blocked step whose sources have all ended; smaller numbers first, so once is enough."""
        for number, state in enumerate(self.states):
            sources = [edge for edge in self.definition.edges if edge.target == number]
            if state is not S.BLOCKED or any(self.states[edge.source] not in ENDED for edge in sources):
                continue
            met = all(edge.mask & BITS[self.states[edge.source]] for edge in sources)
            self.states[number] = S.AVAILABLE if met else S.SKIPPED

    def available(self) -> list[int]:
        """The steps that may be claimed."""
        return [number for number, state in enumerate(self.states) if state is S.AVAILABLE]

    def end(self, ends: Sequence[tuple[int, StepState]]) -> None:
        """These steps have ended."""
        for number, end in ends:
            self.states[number] = end
        self.settle()

    def cancel(self) -> None:
        """Nobody works on the run, and it is cancelled."""
        if any(state not in ENDED for state in self.states):
            self.cancelled = True
        self.states = [state if state in ENDED else S.CANCELLED for state in self.states]

    def state(self) -> WorkflowState:
        """Where the run stands."""
        if any(state not in ENDED for state in self.states):
            return WorkflowState.RUNNING
        if self.cancelled:
            return WorkflowState.CANCELLED
        steps = zip(self.definition.steps, self.states, strict=True)
        failed = any(state in (S.FAILED, S.CANCELLED) and not step.tolerated for step, state in steps)
        return WorkflowState.FAILED if failed else WorkflowState.SUCCEEDED


async def drive(lab: Lab, stores: Sequence[Store], definition: StoredDefinition, data: st.DataObject) -> None:
    """One run, in rounds: some of the available steps end, in one batch or in two at once."""
    run, model = await create(lab, definition), Model(definition)
    await agree(run, model)
    while numbers := model.available():
        if data.draw(st.integers(0, 9)) == 0:
            await lab.store.workflows.cancel(run.id, None)
            model.cancel()
            await agree(run, model)
            continue
        chosen = data.draw(st.lists(st.sampled_from(numbers), min_size=1, unique=True))
        ends = [(number, data.draw(st.sampled_from(ENDS))) for number in chosen]
        claimed = await run.claim(*[f"s{number}" for number in chosen])
        outcomes = [outcome(claimed[f"s{number}"], job_state(end)) for number, end in ends]
        split = data.draw(st.integers(0, len(outcomes)))
        halves = [half for half in (outcomes[:split], outcomes[split:]) if half]
        answers = await asyncio.gather(
            *[store.jobs.finish("w1", half) for store, half in zip(stores, halves, strict=False)]
        )
        assert [state for answer in answers for state in answer] == [one.state for one in outcomes]
        model.end(ends)
        await agree(run, model)


async def agree(run: Run, model: Model) -> None:
    """The store says what the model says."""
    read = await run.read()
    assert [step.state for step in read.steps or ()] == model.states
    assert read.state is model.state()
    assert read.steps_left == sum(state not in ENDED for state in model.states)
    available = await run.lab.every_id(workflow_id=run.id, states=(JobState.AVAILABLE,))
    assert sorted(available) == [run.new.job_ids[number] for number in model.available()]


@pytest.mark.parametrize("parallel", [True, False])
def test_random_graphs_end_as_the_model_says(factory: Factory, parallel: bool) -> None:
    place = Path(tempfile.mkdtemp(prefix="flux-graphs-"))
    lab = Lab(factory, place)
    with asyncio.Runner() as runner:

        def run(work: Coroutine[Any, Any, T]) -> T:
            return runner.run(work)

        run(lab.open())
        try:
            run(lab.worker())
            stores = [lab.store, run(lab.another()) if parallel else lab.store]

            @settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
            @given(graphs(), st.data())
            def check(definition: StoredDefinition, data: st.DataObject) -> None:
                run(drive(lab, stores, definition, data))

            check()
        finally:
            run(lab.close())
            shutil.rmtree(place, ignore_errors=True)
