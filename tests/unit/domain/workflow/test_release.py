"""The rule of release: counters alone decide, in whatever order needs end."""

from __future__ import annotations

import itertools

import pytest

from flux.domain.workflow.release import (
    ANY,
    Counters,
    OnFailure,
    Outcome,
    Release,
    WorkflowState,
    cancels_others,
    conditions_of,
    fails_workflow,
    final_state,
    is_unmet,
    mask_of,
)


def test_a_mask_has_a_bit_for_each_outcome() -> None:
    assert [outcome.bit for outcome in Outcome] == [1, 2, 4, 8]
    assert ANY == 15


@pytest.mark.parametrize("mask", range(1, 16))
def test_a_mask_and_its_conditions_are_the_same(mask: int) -> None:
    conditions = conditions_of(mask)
    assert mask_of(conditions) == mask
    assert {outcome for outcome in Outcome if not is_unmet(mask, outcome)} == {
        outcome for outcome in Outcome if "ended" in conditions or outcome.value in conditions
    }


def test_a_step_waits_for_the_last_of_its_needs_and_is_released_once_in_every_order() -> None:
    ends = [
        (mask_of(["succeeded"]), Outcome.SUCCEEDED),
        (ANY, Outcome.FAILED),
        (mask_of(["skipped"]), Outcome.SKIPPED),
    ]
    for order in itertools.permutations(ends):
        counters = Counters(3)
        said = [counters.need_ended(mask, outcome) for mask, outcome in order]
        assert said == [Release.BLOCKED, Release.BLOCKED, Release.RUN]


def test_one_unmet_need_skips_in_every_order() -> None:
    ends = [(mask_of(["succeeded"]), Outcome.FAILED), (ANY, Outcome.CANCELLED), (ANY, Outcome.SUCCEEDED)]
    for order in itertools.permutations(ends):
        counters = Counters(3)
        assert [counters.need_ended(*end) for end in order][-1] is Release.SKIP


def test_a_step_without_needs_runs_at_once() -> None:
    assert Counters(0).release is Release.RUN


def test_an_end_that_is_counted_twice_is_an_error_and_no_second_release() -> None:
    counters = Counters(1)
    counters.need_ended(ANY, Outcome.SUCCEEDED)
    with pytest.raises(ValueError, match="an end was counted twice"):
        counters.need_ended(ANY, Outcome.SUCCEEDED)


@pytest.mark.parametrize(
    ("outcome", "continues", "fails"),
    [
        (Outcome.SUCCEEDED, False, False),
        (Outcome.SKIPPED, False, False),
        (Outcome.FAILED, False, True),
        (Outcome.CANCELLED, False, True),
        (Outcome.FAILED, True, False),
        (Outcome.CANCELLED, True, False),
    ],
)
def test_which_ends_fail_the_workflow(outcome: Outcome, continues: bool, fails: bool) -> None:
    assert fails_workflow(outcome, continue_on_failure=continues) is fails
    assert cancels_others(outcome, OnFailure.FAIL_FAST, continue_on_failure=continues) is fails
    assert not cancels_others(outcome, OnFailure.FINISH_INDEPENDENT, continue_on_failure=continues)


def test_the_final_state() -> None:
    assert final_state(steps_left=1, failures=1, cancelled=True) is WorkflowState.RUNNING
    assert final_state(steps_left=0, failures=0, cancelled=False) is WorkflowState.SUCCEEDED
    assert final_state(steps_left=0, failures=2, cancelled=False) is WorkflowState.FAILED
    assert final_state(steps_left=0, failures=2, cancelled=True) is WorkflowState.CANCELLED
