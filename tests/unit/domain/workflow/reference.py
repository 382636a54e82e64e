"""A workflow run in memory by the rules alone: what every engine has to come to."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from flux.domain.workflow.plan import Plan
from flux.domain.workflow.release import (
    Counters,
    OnFailure,
    Outcome,
    Release,
    WorkflowState,
    cancels_others,
    fails_workflow,
    final_state,
)


class ReferenceRun:
    """Steps that may run, and the end of one at a time. ``outcomes`` says how a step ends when it runs."""

    def __init__(self, plan: Plan, outcomes: Mapping[int, Outcome], on_failure: OnFailure) -> None:
        self.plan = plan
        self.outcomes = outcomes
        self.on_failure = on_failure
        self.counters: dict[int, Counters] = {step.number: step.counters() for step in plan.steps}
        self.runnable: list[int] = list(plan.roots)
        self.releases: dict[int, int] = dict.fromkeys(self.runnable, 1)
        self.ended: dict[int, Outcome] = {}
        self.failures = 0
        self.stopped = False

    @property
    def state(self) -> WorkflowState:
        """The state of the workflow now."""
        return final_state(
            steps_left=len(self.plan.steps) - len(self.ended), failures=self.failures, cancelled=False
        )

    def run(self, choose: Callable[[int], int]) -> None:
        """Run to the end; ``choose(n)`` says which of the n runnable steps ends next."""
        while self.runnable:
            number = self.runnable.pop(choose(len(self.runnable)))
            self._end(number, self.outcomes[number])

    def _end(self, number: int, outcome: Outcome) -> None:
        ends = [(number, outcome)]
        while ends:
            number, outcome = ends.pop()
            if number in self.ended:
                continue
            self.ended[number] = outcome
            step = self.plan.steps[number]
            continues = step.continue_on_failure
            if not self.stopped:
                self.failures += fails_workflow(outcome, continue_on_failure=continues)
            if self.stopped:
                continue
            if cancels_others(outcome, self.on_failure, continue_on_failure=continues):
                self.stopped = True
                self.runnable.clear()
                ends = [(other.number, Outcome.CANCELLED) for other in self.plan.steps]
                continue
            for edge in step.dependents:
                match self.counters[edge.step].need_ended(edge.mask, outcome):
                    case Release.RUN:
                        self.releases[edge.step] = self.releases.get(edge.step, 0) + 1
                        self.runnable.append(edge.step)
                    case Release.SKIP:
                        self.releases[edge.step] = self.releases.get(edge.step, 0) + 1
                        ends.append((edge.step, Outcome.SKIPPED))
                    case Release.BLOCKED:
                        pass
