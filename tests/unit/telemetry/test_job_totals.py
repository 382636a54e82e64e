"""Counters from rollups: nothing twice, nothing lost, no words of strangers."""

from __future__ import annotations

from flux.domain.duration import MINUTE
from flux.engine.ports import RollupRow
from flux.telemetry.metrics import MOST_QUEUES, OTHER, JobTotals

STEP = 15 * MINUTE
NOBODY: frozenset[str] = frozenset()


def row(
    slot: int, count: int, *, queue: str = "q", type: str = "t", outcome: str = "succeeded", kind: str = ""
) -> RollupRow:
    return RollupRow(slot, queue, type, outcome, kind, 10, 20, count)


def test_growing_slots_are_counted_once() -> None:
    totals = JobTotals()
    assert totals.since() == 0
    totals.count([row(0, 5), row(STEP * 10, 2)], NOBODY, STEP * 10 + 1)
    assert totals.since() == STEP * 9
    totals.count([row(STEP * 10, 3)], NOBODY, STEP * 10 + 2)
    totals.count([row(STEP * 10, 3)], NOBODY, STEP * 10 + 3)
    assert totals.ended == {("q", "t", "succeeded"): 8}
    assert totals.ran["q", "t"] == {20: 8}
    assert totals.waited["q"] == {10: 8}


def test_a_long_silence_loses_nothing() -> None:
    totals = JobTotals()
    totals.count([row(STEP, 1)], NOBODY, STEP * 2)
    assert totals.since() <= STEP
    totals.count([row(STEP, 1), row(STEP * 3, 4), row(STEP * 90, 2)], NOBODY, STEP * 91)
    assert totals.ended.total() == 7


def test_what_the_store_forgets_stays_counted() -> None:
    totals = JobTotals()
    totals.count([row(0, 5)], NOBODY, 1)
    totals.count([], NOBODY, 2)
    totals.count([row(0, 1)], NOBODY, 3)
    assert totals.ended.total() == 6


def test_types_that_nobody_knows_share_a_label() -> None:
    totals = JobTotals()
    strangers = [row(0, 1, type=f"x{i}", outcome="dead", kind="unknown_type") for i in range(5)]
    totals.count(strangers, NOBODY, 1)
    assert totals.ended == {("q", OTHER, "dead"): 5}
    assert totals.failed == {("q", OTHER, "unknown_type"): 5}


def test_labels_are_bounded() -> None:
    totals = JobTotals()
    totals.count([row(0, 1, queue=f"q{i}") for i in range(MOST_QUEUES + 50)], NOBODY, 1)
    assert len({queue for queue, _, _ in totals.ended}) == MOST_QUEUES + 1
    assert totals.ended[OTHER, "t", "succeeded"] == 50


def test_a_cancelled_job_has_not_failed() -> None:
    totals = JobTotals()
    totals.count([row(0, 1, outcome="cancelled", kind="cancelled")], frozenset({"t"}), 1)
    assert totals.ended == {("q", "t", "cancelled"): 1}
    assert not totals.failed
