"""The states of a workflow and of its steps, and how a step's end meets the needs of the steps after it.

A step waits for its *edges*. Each has a *mask* of the ends of its source that satisfy it. When the last source has
ended the step is released: its job may start when every edge was satisfied, and is skipped otherwise, which is an end
again.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType

from flux.domain.job import JobState


class WorkflowState(StrEnum):
    """Where a run of a graph stands. The last three are final."""

    RUNNING = "running"
    PAUSED = "paused"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"


class StepState(StrEnum):
    """Where a step stands: before its job, where that is, and how it ended. The last four are final."""

    BLOCKED = "blocked"
    SCHEDULED = "scheduled"
    AVAILABLE = "available"
    RUNNING = "running"
    RETRYING = "retrying"
    WAITING = "waiting"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    SKIPPED = "skipped"
    CANCELLED = "cancelled"


ENDED = frozenset({StepState.SUCCEEDED, StepState.FAILED, StepState.SKIPPED, StepState.CANCELLED})

BITS: Mapping[StepState, int] = MappingProxyType(
    {StepState.SUCCEEDED: 1, StepState.FAILED: 2, StepState.SKIPPED: 4, StepState.CANCELLED: 8}
)
"""The bit of each end in the mask of an edge."""


def step_state(job: JobState) -> StepState:
    """What the state of its job is for a step: a job that is dead has failed it."""
    return StepState.FAILED if job is JobState.DEAD else StepState(job)
