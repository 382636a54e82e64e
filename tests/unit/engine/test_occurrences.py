"""What becomes of an occurrence that comes due."""

from __future__ import annotations

from random import Random
from typing import Any

import msgspec
import pytest

from flux.domain.duration import DAY, HOUR, MINUTE, SECOND
from flux.domain.errors import Conflict
from flux.domain.ids import IdSource
from flux.domain.schedule import Every, Misfire, Once, Overlap, ScheduleSpec
from flux.engine.occurrences import first_occurrence, plan_occurrence
from flux.engine.ports import DueOccurrence, OccurrencePlan, Schedule

NOON = 1_790_000_040 * SECOND // HOUR * HOUR
IDS = IdSource(lambda: NOON, Random(1))


def stored(paused: bool = False, **fields: Any) -> Schedule:
    fields = {"rule": Every(HOUR), "job": {"type": "echo"}} | fields
    spec = ScheduleSpec(name="n", **fields)
    return Schedule(id="s", name="n", spec=msgspec.json.encode(spec), paused=paused)


def plan(
    schedule: Schedule | None, fire_at: int, now: int, previous_alive: bool = False, run_at: int | None = None
) -> OccurrencePlan:
    due = DueOccurrence("j", fire_at, schedule, previous_alive, now, run_at)
    return plan_occurrence(due, IDS, Random(2))


def follows(found: OccurrencePlan) -> list[int | None]:
    return [job.options.fire_at for job in found.following]


def test_on_time_it_runs_and_the_next_one_follows() -> None:
    found = plan(stored(), NOON, NOON + SECOND)
    assert (found.run, found.cancel_previous, follows(found)) == (True, False, [NOON + HOUR])
    (job,) = found.following
    assert (job.type, job.schedule_id, job.run_at) == ("echo", "s", NOON + HOUR)


def test_of_a_deleted_or_paused_schedule_nothing_runs_nor_follows() -> None:
    for schedule, reason in ((None, "schedule deleted"), (stored(paused=True), "schedule paused")):
        assert plan(schedule, NOON, NOON) == OccurrencePlan(run=False, reason=reason)


def test_what_was_missed_runs_once_as_the_newest() -> None:
    late = NOON + 5 * HOUR + 20 * MINUTE
    found = plan(stored(), NOON, late)
    assert (found.run, follows(found)) == (False, [NOON + 5 * HOUR])
    assert found.reason is not None
    assert "misfire: run_once" in found.reason
    found = plan(stored(), NOON + 5 * HOUR, late)
    assert (found.run, follows(found)) == (True, [NOON + 6 * HOUR])


def test_what_was_missed_is_skipped_when_asked() -> None:
    found = plan(stored(misfire=Misfire.SKIP), NOON, NOON + 5 * HOUR + 20 * MINUTE)
    assert (found.run, follows(found)) == (False, [NOON + 6 * HOUR])
    assert found.reason == "missed by 5h20m (misfire: skip)"


def test_what_was_missed_all_runs_one_after_the_other() -> None:
    fire_at, now, runs = NOON, NOON + 3 * HOUR + 1, 0
    while fire_at <= now:
        found = plan(stored(misfire=Misfire.RUN_ALL), fire_at, now)
        assert found.run
        runs += 1
        (following,) = follows(found)
        assert following is not None
        fire_at = following
    assert (runs, fire_at) == (4, NOON + 4 * HOUR)


def test_overlap() -> None:
    found = plan(stored(overlap=Overlap.SKIP), NOON, NOON, previous_alive=True)
    assert (found.run, follows(found)) == (False, [NOON + HOUR])
    found = plan(stored(overlap=Overlap.CANCEL_PREVIOUS), NOON, NOON, previous_alive=True)
    assert (found.run, found.cancel_previous) == (True, True)
    assert not plan(stored(overlap=Overlap.CANCEL_PREVIOUS), NOON, NOON).cancel_previous
    assert plan(stored(), NOON, NOON, previous_alive=True).run


def test_the_end_has_nothing_after_it() -> None:
    found = plan(stored(end_at=NOON + MINUTE), NOON, NOON)
    assert (found.run, found.following) == (True, ())
    found = plan(stored(rule=Once(NOON)), NOON, NOON + SECOND)
    assert (found.run, found.following) == (True, ())


def test_a_fire_time_that_the_rule_no_longer_has_does_not_run() -> None:
    found = plan(stored(), NOON + MINUTE, NOON + 2 * MINUTE)
    assert (found.run, found.reason, follows(found)) == (False, "schedule changed", [NOON + HOUR])


def test_one_that_a_person_let_run_early_stands_for_its_fire_time() -> None:
    found = plan(stored(), NOON + HOUR, NOON, run_at=NOON)
    assert (found.run, follows(found)) == (True, [NOON + 2 * HOUR])
    found = plan(stored(overlap=Overlap.SKIP), NOON + HOUR, NOON, previous_alive=True, run_at=NOON)
    assert (found.run, follows(found)) == (False, [NOON + 2 * HOUR])
    found = plan(stored(), NOON + HOUR + MINUTE, NOON, run_at=NOON)
    assert (found.run, found.reason) == (False, "schedule changed")


def test_one_that_a_person_put_off_was_not_missed() -> None:
    now = NOON + 5 * HOUR + 20 * MINUTE
    found = plan(stored(jitter=MINUTE), NOON, now, run_at=now)
    assert (found.run, follows(found)) == (True, [NOON + 5 * HOUR])
    assert not plan(stored(jitter=MINUTE), NOON, now, run_at=NOON + MINUTE).run, "that was its jitter"


def test_what_cannot_be_read_says_so() -> None:
    for broken in ({"rule": {"kind": "every", "interval": HOUR, "new": 1}}, {"job": {"type": "t", "new": 1}}):
        spec = msgspec.json.decode(stored().spec) | broken
        schedule = Schedule(id="s", name="n", spec=msgspec.json.encode(spec), paused=False)
        with pytest.raises(Conflict, match="of 'n' cannot be read here"):
            plan(schedule, NOON, NOON)


def test_jitter_and_expiry_count_from_the_fire_time() -> None:
    schedule = stored(jitter=10 * MINUTE, job={"type": "echo", "expires_in": "1h", "payload": {"a": [1.5]}})
    job = first_occurrence(schedule, NOON, IDS, Random(4))
    assert job is not None
    assert job.run_at is not None
    assert job.options.fire_at == NOON + HOUR
    assert NOON + HOUR < job.run_at < NOON + HOUR + 10 * MINUTE
    assert (job.expires_at, job.expires_in) == (job.run_at + HOUR, None)
    assert job.payload == b'{"a":[1.5]}'


def test_nothing_is_first_when_paused_or_over() -> None:
    assert first_occurrence(stored(paused=True), NOON, IDS, Random(1)) is None
    assert first_occurrence(stored(end_at=NOON), NOON + DAY, IDS, Random(1)) is None
