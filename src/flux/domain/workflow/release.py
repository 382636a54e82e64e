"""What the end of a step means for the others: the rule by which counters alone decide.

Each step starts with ``needs_left``, the number of its needs, and ``needs_unmet`` 0. When a step ends, each step that
needs it has one taken from ``needs_left``, and one added to ``needs_unmet`` where its condition does not name that
outcome. A store does just this in SQL; nothing else about the graph is looked at. Since both are sums, the order in
which needs end does not matter, and ``needs_left`` reaches 0 exactly once.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum
from typing import Final

from msgspec import Struct


class Outcome(StrEnum):
    """How a step ended. A job that is ``dead`` is a failed step."""

    SUCCEEDED = "succeeded"
    FAILED = "failed"
    SKIPPED = "skipped"
    CANCELLED = "cancelled"

    @property
    def bit(self) -> int:
        """Its bit in the mask of an edge."""
        return _BITS[self]


class Condition(StrEnum):
    """What an edge may ask of the step before it: an outcome, or ``ended``, which is any of them."""

    SUCCEEDED = "succeeded"
    FAILED = "failed"
    SKIPPED = "skipped"
    CANCELLED = "cancelled"
    ENDED = "ended"


class OnFailure(StrEnum):
    """What a failed step means for the steps that do not depend on it."""

    FAIL_FAST = "fail_fast"
    FINISH_INDEPENDENT = "finish_independent"


class WorkflowState(StrEnum):
    """Where a run of a graph stands. The last three are final. Only a person makes it ``paused``."""

    RUNNING = "running"
    PAUSED = "paused"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"


class Release(StrEnum):
    """What the counters of a step say."""

    BLOCKED = "blocked"
    RUN = "run"
    SKIP = "skip"


_BITS: Final = {outcome: 1 << i for i, outcome in enumerate(Outcome)}
ANY: Final = sum(_BITS.values())
"""The mask of ``ended``."""


class Counters(Struct):
    """The two numbers by which a step is released."""

    needs_left: int
    needs_unmet: int = 0

    def need_ended(self, mask: int, outcome: Outcome) -> Release:
        """Count the end of one need, and say what follows. Only the last need's end gives RUN or SKIP."""
        if self.needs_left <= 0:
            raise ValueError("more needs ended than the step has: an end was counted twice")
        self.needs_left -= 1
        self.needs_unmet += is_unmet(mask, outcome)
        return self.release

    @property
    def release(self) -> Release:
        """Whether the step runs, is skipped or still waits."""
        if self.needs_left:
            return Release.BLOCKED
        return Release.SKIP if self.needs_unmet else Release.RUN


def mask_of(conditions: Iterable[str]) -> int:
    """The outcomes that conditions name, as a mask."""
    mask = 0
    for condition in conditions:
        mask |= ANY if condition == Condition.ENDED else Outcome(condition).bit
    return mask


def conditions_of(mask: int) -> tuple[Condition, ...]:
    """The shortest list of conditions that ``mask_of`` turns into this mask."""
    if mask == ANY:
        return (Condition.ENDED,)
    return tuple(Condition(outcome.value) for outcome in Outcome if mask & outcome.bit)


def is_unmet(mask: int, outcome: Outcome) -> bool:
    """Whether an edge is not satisfied by this outcome."""
    return not mask & outcome.bit


def fails_workflow(outcome: Outcome, *, continue_on_failure: bool) -> bool:
    """Whether a step that ended so makes its workflow a failed one. A step cancelled by itself counts as failed."""
    return outcome in (Outcome.FAILED, Outcome.CANCELLED) and not continue_on_failure


def cancels_others(outcome: Outcome, on_failure: OnFailure, *, continue_on_failure: bool) -> bool:
    """Whether every step that has not ended is to be cancelled now."""
    return on_failure is OnFailure.FAIL_FAST and fails_workflow(
        outcome, continue_on_failure=continue_on_failure
    )


def final_state(*, steps_left: int, failures: int, cancelled: bool) -> WorkflowState:
    """The state of a run. ``failures`` counts the ends that fail it; ``cancelled``: somebody cancelled the run."""
    if steps_left:
        return WorkflowState.RUNNING
    if cancelled:
        return WorkflowState.CANCELLED
    return WorkflowState.FAILED if failures else WorkflowState.SUCCEEDED
