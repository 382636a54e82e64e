"""Finishing: what becomes of a job after an attempt, the fence, and what people can read about it afterwards."""

from __future__ import annotations

import pytest

from flux.domain.duration import MINUTE, SECOND
from flux.domain.errors import DataRefused
from flux.domain.job import AttemptOutcome, ClaimedJob, JobError, JobState, LogLine
from flux.engine.ports import Note, Store
from tests.conformance.store.lab import START, Lab, SteeredClock, outcome


async def test_success(lab: Lab, clock: SteeredClock) -> None:
    await lab.worker()
    claimed = await lab.running()
    clock.advance(SECOND)
    assert await lab.finish(claimed, JobState.SUCCEEDED, result=b'{"n":1}') == JobState.SUCCEEDED
    job = await lab.get(claimed.id)
    assert (job.state, job.result, job.error) == (JobState.SUCCEEDED, b'{"n":1}', None)
    assert (job.started_at, job.finished_at) == (START, START + SECOND)
    assert (job.attempt, job.worker_id) == (1, "w1")
    assert not job.cancel_requested


async def test_a_result_is_told_from_none(lab: Lab) -> None:
    await lab.worker()
    nothing, null = await lab.running(), await lab.running()
    await lab.finish(nothing, JobState.SUCCEEDED)
    await lab.finish(null, JobState.SUCCEEDED, result=b"null")
    assert (await lab.get(nothing.id)).result is None
    assert (await lab.get(null.id)).result == b"null"


async def test_death(lab: Lab) -> None:
    await lab.worker()
    claimed = await lab.running(max_retries=0)
    error = JobError(kind="exception", message="ValueError: no", traceback='File "x"\nValueError: no')
    assert await lab.finish(claimed, JobState.DEAD, error=error) == JobState.DEAD
    job = await lab.get(claimed.id)
    assert (job.state, job.error, job.finished_at) == (JobState.DEAD, error, START)


async def test_a_retry_waits_its_delay_by_the_stores_clock(lab: Lab, clock: SteeredClock) -> None:
    await lab.worker(lease=10 * MINUTE)
    claimed = await lab.running()
    clock.advance(SECOND)
    assert await lab.finish(claimed, JobState.RETRYING, delay=MINUTE) == JobState.RETRYING
    job = await lab.get(claimed.id)
    assert (job.state, job.run_at, job.attempt) == (JobState.RETRYING, START + SECOND + MINUTE, 1)
    assert job.error is not None
    assert (job.error.kind, job.finished_at) == ("exception", None)
    clock.advance(MINUTE - 1)
    assert await lab.promote() == 0
    clock.advance(1)
    assert await lab.promote() == 1
    again = await lab.claim_one()
    assert (again.id, again.attempt, again.attempt_limit) == (claimed.id, 2, 4)


async def test_a_snooze_counts_no_attempt(lab: Lab, clock: SteeredClock) -> None:
    await lab.worker(lease=10 * MINUTE)
    claimed = await lab.running(max_retries=0)
    assert await lab.finish(claimed, JobState.SCHEDULED, delay=MINUTE) == JobState.SCHEDULED
    job = await lab.get(claimed.id)
    assert (job.state, job.attempt, job.run_at) == (JobState.SCHEDULED, 0, START + MINUTE)
    clock.advance(MINUTE)
    await lab.promote()
    again = await lab.claim_one()
    assert (again.attempt, again.attempt_limit) == (1, 1)


async def test_a_release_counts_no_attempt_and_is_available_at_once(lab: Lab) -> None:
    await lab.worker()
    claimed = await lab.running(max_retries=0)
    assert await lab.finish(claimed, JobState.AVAILABLE) == JobState.AVAILABLE
    job = await lab.get(claimed.id)
    assert (job.state, job.attempt) == (JobState.AVAILABLE, 0)
    assert (await lab.claim_one()).attempt == 1


async def test_a_handler_may_cancel_its_job(lab: Lab) -> None:
    await lab.worker()
    claimed = await lab.running()
    error = JobError(kind="cancelled", message="not needed")
    assert await lab.finish(claimed, JobState.CANCELLED, error=error) == JobState.CANCELLED
    assert (await lab.get(claimed.id)).error == error


async def test_answers_stand_in_the_order_of_the_outcomes(lab: Lab, store: Store) -> None:
    await lab.worker()
    await lab.insert(*[lab.job() for _ in range(6)])
    claimed = await lab.claim()
    states = [
        JobState.DEAD,
        JobState.SUCCEEDED,
        JobState.RETRYING,
        JobState.AVAILABLE,
        JobState.SCHEDULED,
        JobState.CANCELLED,
    ]
    outcomes = [outcome(each, state, delay=1) for each, state in zip(claimed, states, strict=True)]
    outcomes.reverse()
    assert await store.jobs.finish("w1", outcomes) == list(reversed(states))
    assert [await lab.state(each.id) for each in claimed] == states


async def test_nothing_to_finish_is_no_error(lab: Lab, store: Store) -> None:
    await lab.worker()
    assert await store.jobs.finish("w1", []) == []


async def test_a_large_batch(lab: Lab, store: Store) -> None:
    await lab.worker(slots=3000)
    await lab.insert(*[lab.job() for _ in range(3000)])
    claimed = await lab.claim(slots=3000)
    outcomes = [outcome(each, JobState.SUCCEEDED, result=b"1") for each in claimed]
    assert await store.jobs.finish("w1", outcomes) == [JobState.SUCCEEDED] * 3000


# --- the fence ----------------------------------------------------------------------------------------------------


async def test_a_claim_id_that_is_not_the_jobs_changes_nothing(lab: Lab, store: Store) -> None:
    await lab.worker()
    claimed = await lab.running()
    forged = outcome(claimed, JobState.SUCCEEDED, result=b"1")
    forged.claim_id = claimed.claim_id ^ 1
    assert await store.jobs.finish("w1", [forged]) == [None]
    assert await lab.state(claimed.id) == JobState.RUNNING
    assert await lab.finish(claimed, JobState.SUCCEEDED) == JobState.SUCCEEDED


async def test_an_earlier_claim_never_finishes_a_later_one(lab: Lab) -> None:
    await lab.worker()
    first = await lab.running()
    await lab.finish(first, JobState.AVAILABLE)
    # The attempt has the same number, so only the fence tells the two apart.
    second = await lab.claim_one()
    assert (second.id, second.attempt) == (first.id, first.attempt)
    for state in (JobState.SUCCEEDED, JobState.DEAD, JobState.RETRYING, JobState.AVAILABLE):
        assert await lab.finish(first, state) is None
    job = await lab.get(first.id)
    assert (job.state, job.attempt, job.result) == (JobState.RUNNING, 1, None)
    assert await lab.finish(second, JobState.SUCCEEDED) == JobState.SUCCEEDED


async def test_a_job_that_does_not_exist(lab: Lab, store: Store) -> None:
    await lab.worker()
    claimed = await lab.running()
    ghost = outcome(claimed, JobState.SUCCEEDED)
    ghost.job_id = lab.new_id()
    assert await store.jobs.finish("w1", [ghost]) == [None]


async def test_the_same_finish_again_changes_nothing(lab: Lab, clock: SteeredClock, store: Store) -> None:
    """The answer to a commit may be lost, and the batch is sent again."""
    await lab.worker()
    ended, retried, snoozed = await lab.running(), await lab.running(), await lab.running()
    batch = [
        outcome(ended, JobState.SUCCEEDED, result=b"1", logs=[LogLine(START, "info", "once")]),
        outcome(retried, JobState.RETRYING, delay=MINUTE),
        outcome(snoozed, JobState.SCHEDULED, delay=MINUTE),
    ]
    await store.jobs.finish("w1", batch)
    before = [await store.queries.get(each.id) for each in (ended, retried, snoozed)]
    counted = sum(row.count for row in await store.queries.rollups(0))
    clock.advance(SECOND)
    again = await store.jobs.finish("w1", batch)
    for told, real in zip(again, (JobState.SUCCEEDED, JobState.RETRYING, JobState.SCHEDULED), strict=True):
        assert told in (None, real)
    assert [await store.queries.get(each.id) for each in (ended, retried, snoozed)] == before
    assert len(await store.queries.logs(ended.id, 0, 100)) == 1
    assert sum(row.count for row in await store.queries.rollups(0)) == counted


async def test_two_outcomes_of_one_attempt_in_one_batch(lab: Lab, store: Store) -> None:
    await lab.worker()
    claimed = await lab.running()
    answers = await store.jobs.finish(
        "w1", [outcome(claimed, JobState.SUCCEEDED, result=b"1"), outcome(claimed, JobState.DEAD)]
    )
    assert answers[0] == JobState.SUCCEEDED
    assert answers[1] in (None, JobState.SUCCEEDED)
    assert await lab.state(claimed.id) == JobState.SUCCEEDED


async def test_a_stale_member_leaves_the_others_alone(lab: Lab, store: Store) -> None:
    await lab.worker()
    stale, good = await lab.running(), await lab.running()
    await lab.finish(stale, JobState.AVAILABLE)
    answers = await store.jobs.finish(
        "w1", [outcome(stale, JobState.SUCCEEDED), outcome(good, JobState.SUCCEEDED)]
    )
    assert answers == [None, JobState.SUCCEEDED]


# --- a bad member -------------------------------------------------------------------------------------------------


async def test_a_member_that_no_column_holds_stops_the_batch_and_applies_nothing(
    lab: Lab, store: Store
) -> None:
    await lab.worker()
    good, bad = await lab.running(), await lab.running()
    with pytest.raises(DataRefused):
        await store.jobs.finish(
            "w1", [outcome(good, JobState.SUCCEEDED), outcome(bad, JobState.RETRYING, delay=2**70)]
        )
    assert await lab.state(good.id) == JobState.RUNNING
    assert await lab.state(bad.id) == JobState.RUNNING
    # What the completer does then: halve, and let the bad one fail by itself.
    assert await lab.finish(good, JobState.SUCCEEDED) == JobState.SUCCEEDED
    with pytest.raises(DataRefused):
        await lab.finish(bad, JobState.RETRYING, delay=2**70)
    assert await lab.finish(bad, JobState.DEAD) == JobState.DEAD


# --- what is read afterwards --------------------------------------------------------------------------------------


async def test_attempts_are_kept_in_order(lab: Lab, clock: SteeredClock, store: Store) -> None:
    await lab.worker("w1", lease=10 * MINUTE)
    await lab.worker("w2", lease=10 * MINUTE)
    job_id = await lab.add()
    first = await lab.claim_one("w1")
    clock.advance(SECOND)
    error = JobError(kind="timeout", message="took longer than 1s")
    await lab.finish(first, JobState.RETRYING, how=AttemptOutcome.TIMEOUT, error=error)
    clock.advance(SECOND)
    await lab.promote()
    second = await lab.claim_one("w2")
    clock.advance(SECOND)
    running = await store.queries.attempts(job_id)
    assert [each.number for each in running] == [1, 2]
    assert (running[1].outcome, running[1].finished_at) == (None, None)
    await lab.finish(second, JobState.SUCCEEDED, worker="w2")
    attempts = await store.queries.attempts(job_id)
    assert [each.number for each in attempts] == [1, 2]
    assert [each.outcome for each in attempts] == ["timeout", "succeeded"]
    assert [each.worker_id for each in attempts] == ["w1", "w2"]
    assert [each.error for each in attempts] == [error, None]
    assert [each.started_at for each in attempts] == [START, START + 2 * SECOND]
    assert [each.finished_at for each in attempts] == [START + SECOND, START + 3 * SECOND]
    assert (await lab.get(job_id)).attempts == attempts


async def test_attempts_that_did_not_count_are_seen_too(lab: Lab, store: Store) -> None:
    await lab.worker()
    claimed = await lab.running()
    await lab.finish(claimed, JobState.AVAILABLE)
    claimed = await lab.claim_one()
    await lab.finish(claimed, JobState.SCHEDULED)
    await lab.promote()
    claimed = await lab.claim_one()
    await lab.finish(claimed, JobState.SUCCEEDED)
    outcomes = [each.outcome for each in await store.queries.attempts(claimed.id)]
    assert outcomes == ["released", "snoozed", "succeeded"]


async def test_log_lines_come_with_their_attempt(lab: Lab, store: Store) -> None:
    await lab.worker()
    first = await lab.running()
    lines = [LogLine(START, "info", "one"), LogLine(START + 1, "error", "two\n🙂")]
    await lab.finish(first, JobState.RETRYING, logs=lines)
    await lab.promote()
    second = await lab.claim_one()
    await lab.finish(second, JobState.SUCCEEDED, logs=[LogLine(START + 2, "info", "three")])
    kept = await store.queries.logs(first.id, 0, 100)
    assert [(attempt, line) for _, attempt, line in kept] == [
        (1, lines[0]),
        (1, lines[1]),
        (2, LogLine(START + 2, "info", "three")),
    ]
    sequences = [sequence for sequence, _, _ in kept]
    assert sequences == sorted(set(sequences))
    assert await store.queries.logs(first.id, sequences[0], 1) == kept[1:2]


# --- notes --------------------------------------------------------------------------------------------------------


async def test_notes_are_read_while_it_runs_and_handed_to_the_next_attempt(lab: Lab, store: Store) -> None:
    await lab.worker()
    claimed = await lab.running()

    def note(**fields: object) -> Note:
        return Note(job_id=claimed.id, claim_id=claimed.claim_id, attempt=claimed.attempt, **fields)

    await store.jobs.note(
        [note(progress=b'{"done":1}', checkpoint=b'{"row":10}', logs=[LogLine(START, "info", "a")])]
    )
    await store.jobs.note([note(progress=b'{"done":2}')])
    job = await lab.get(claimed.id)
    assert (job.progress, job.checkpoint) == (b'{"done":2}', b'{"row":10}')
    assert [line.text for _, _, line in await store.queries.logs(claimed.id, 0, 9)] == ["a"]
    await lab.finish(claimed, JobState.RETRYING)
    await lab.promote()
    again = await lab.claim_one()
    assert again.checkpoint == '{"row":10}'
    await lab.finish(again, JobState.SUCCEEDED, logs=[LogLine(START, "info", "b")])
    job = await lab.get(claimed.id)
    assert (job.progress, job.checkpoint) == (b'{"done":2}', b'{"row":10}')
    assert [line.text for _, _, line in await store.queries.logs(claimed.id, 0, 9)] == ["a", "b"]


async def test_the_last_heartbeat_of_an_attempt_is_read(lab: Lab, store: Store, clock: SteeredClock) -> None:
    await lab.worker()
    claimed, other = await lab.running(), await lab.running()

    async def note(claimed: ClaimedJob, at: int, **fields: object) -> None:
        clock.time = at
        await store.jobs.note(
            [Note(job_id=claimed.id, claim_id=claimed.claim_id, attempt=claimed.attempt, **fields)]
        )

    async def heard(claimed: ClaimedJob) -> int | None:
        return (await lab.get(claimed.id)).heartbeat_at

    assert await heard(claimed) is None
    await note(claimed, START + 10, heard=True)
    await note(other, START + 11, logs=[LogLine(START, "info", "a log line is no heartbeat")])
    assert (await heard(claimed), await heard(other)) == (START + 10, None)
    await note(claimed, START + 20, progress=b"1")
    assert await heard(claimed) == START + 20
    await note(claimed, START + 30, checkpoint=b"2")
    await note(claimed, START + 40, heard=True)
    job = await lab.get(claimed.id)
    assert (job.heartbeat_at, job.progress, job.checkpoint) == (START + 40, b"1", b"2")
    # It belongs to its attempt.
    await lab.finish(claimed, JobState.AVAILABLE)
    assert await heard(claimed) is None
    clock.time = START + 50
    again = await lab.claim_one()
    assert (again.id, await heard(again)) == (claimed.id, None)
    await note(again, START + 60, heard=True)
    await lab.finish(again, JobState.SUCCEEDED)
    assert await heard(again) == START + 60


async def test_notes_of_a_lost_claim_are_quietly_dropped(lab: Lab, store: Store) -> None:
    await lab.worker()
    stale, good = await lab.running(), await lab.running()
    await lab.finish(stale, JobState.AVAILABLE)
    await lab.claim_one()
    await store.jobs.note(
        [
            Note(
                job_id=stale.id,
                claim_id=stale.claim_id,
                attempt=1,
                progress=b"1",
                checkpoint=b"1",
                logs=[LogLine(START, "info", "ghost")],
            ),
            Note(job_id=good.id, claim_id=good.claim_id, attempt=1, progress=b"2"),
            Note(job_id=lab.new_id(), claim_id=1, attempt=1, progress=b"3"),
        ]
    )
    job = await lab.get(stale.id)
    assert (job.progress, job.checkpoint) == (None, None)
    assert await store.queries.logs(stale.id, 0, 9) == []
    assert (await lab.get(good.id)).progress == b"2"


async def test_a_note_after_the_end_is_dropped(lab: Lab, store: Store) -> None:
    await lab.worker()
    claimed = await lab.running()
    await lab.finish(claimed, JobState.SUCCEEDED)
    await store.jobs.note([Note(job_id=claimed.id, claim_id=claimed.claim_id, attempt=1, progress=b"1")])
    assert (await lab.get(claimed.id)).progress is None
