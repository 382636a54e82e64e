"""The states of a workflow and of its steps, as stores keep and people read them.

The rule by which a step is released is in ``release.py``; these are the words for where things stand meanwhile.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType

from flux.domain.job import JobState
from flux.domain.workflow.release import Outcome, WorkflowState

__all__ = ["BITS", "ENDED", "OVER", "StepState", "WorkflowState", "step_state"]


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


OVER = frozenset({WorkflowState.SUCCEEDED, WorkflowState.FAILED, WorkflowState.CANCELLED})
"""The states in which a run stays."""

ENDED = frozenset({StepState.SUCCEEDED, StepState.FAILED, StepState.SKIPPED, StepState.CANCELLED})

BITS: Mapping[StepState, int] = MappingProxyType({StepState(outcome): outcome.bit for outcome in Outcome})
"""The bit of each end in the mask of an edge."""


def step_state(job: JobState) -> StepState:
    """What the state of its job is for a step: a job that is dead has failed it."""
    return StepState.FAILED if job is JobState.DEAD else StepState(job)
