"""Steps whose end is being written: what every store releases by, and counts."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from flux.domain.job import FINAL
from flux.domain.workflow.release import Outcome, fails_workflow
from flux.domain.workflow.states import BITS, StepState, step_state
from flux.stores.standing import Ending

LIVE = "live"
"""The stored state of a step whose job is live; where that stands, the job says."""


FAILING = frozenset(StepState(end) for end in Outcome if fails_workflow(end, continue_on_failure=False))
"""The ends that fail a workflow where they are not tolerated: a step that is cancelled by itself counts as failed."""


class EndedStep(msgspec.Struct, frozen=True, array_like=True, order=True):
    """A step that has come to its final state in this transaction. ``bit`` is that state's in the masks of edges."""

    workflow_id: str
    number: int
    state: StepState
    bit: int


def ended_step(workflow_id: str, number: int, state: StepState) -> EndedStep:
    """The end of a step."""
    return EndedStep(workflow_id, number, state, BITS[state])


def ended_steps(endings: Iterable[Ending]) -> list[EndedStep]:
    """The steps that end with their jobs, in the order in which rows of steps are locked."""
    return sorted(
        ended_step(ending.job.workflow_id, ending.job.step, step_state(ending.state))
        for ending in endings
        if ending.job.workflow_id is not None and ending.job.step is not None and ending.state in FINAL
    )


class Tally:
    """By how much the counters of workflows change with a transaction."""

    __slots__ = ("_counts",)

    def __init__(self) -> None:
        self._counts: dict[str, list[int]] = {}

    def ended(self, workflow_id: str, steps: int, failures: int = 0) -> None:
        """So many steps have ended, and so many of them fail the workflow."""
        counts = self._counts.setdefault(workflow_id, [0, 0])
        counts[0] += steps
        counts[1] += failures

    def take(self) -> list[tuple[str, int, int]]:
        """(workflow, ended, failures) in the order in which rows of workflows are locked; then it is empty."""
        taken = [(id, steps, failures) for id, (steps, failures) in sorted(self._counts.items())]
        self._counts = {}
        return taken
