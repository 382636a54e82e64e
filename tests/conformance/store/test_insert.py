"""Inserting: what a job becomes, batches that stand or fall alone, idempotency keys and unique jobs."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from flux.domain.duration import MINUTE, SECOND
from flux.domain.errors import Conflict, DataRefused
from flux.domain.job import (
    Idempotency,
    Inserted,
    JobState,
    NewJob,
    Options,
    Uniqueness,
)
from flux.engine.ports import Retention, Store
from tests.conformance.store.lab import START, Lab, SteeredClock

KEY = Idempotency(key="order-1", fingerprint="f1")
UNIQUE = Uniqueness(key="u", states=("blocked", "scheduled", "available", "running", "retrying"))


def ids(answer: object) -> list[str]:
    assert isinstance(answer, list), answer
    return [inserted.id for inserted in answer]


async def test_a_job_that_may_run_now_is_available(lab: Lab) -> None:
    job = lab.job()
    [answer] = await lab.insert(job)
    assert answer == Inserted(
        id=job.id, state=JobState.AVAILABLE, created_at=START, run_at=START, how="created"
    )


async def test_a_delay_is_counted_from_the_stores_now(lab: Lab) -> None:
    lab.clock.advance(7)
    [answer] = await lab.insert(lab.job(delay=10 * SECOND))
    assert answer.state == JobState.SCHEDULED
    assert answer.created_at == START + 7
    assert answer.run_at == START + 7 + 10 * SECOND


async def test_a_run_at_ahead_waits_and_one_past_does_not(lab: Lab) -> None:
    ahead, past = await lab.insert(lab.job(run_at=START + SECOND), lab.job(run_at=START - SECOND))
    assert (ahead.state, ahead.run_at) == (JobState.SCHEDULED, START + SECOND)
    assert past.state == JobState.AVAILABLE


async def test_every_field_is_read_back_as_it_was_given(lab: Lab, store: Store) -> None:
    options = Options(
        tags=("a", "b"),
        headers={"traceparent": "00-1"},
        backoff=msgspec.Raw(b'{"kind":"constant","delay":"1s"}'),
        copied_from="x",
        step="s",
    )
    job = lab.job(
        "mail:send",
        payload='{"naïve":"→ \\u0041 🙂"}'.encode(),
        queue="mails",
        priority=9,
        delay=5 * SECOND,
        timeout=3 * SECOND,
        max_retries=7,
        expires_at=START + MINUTE,
        options=options,
    )
    await lab.insert(job)
    read = await store.queries.get(job.id)
    assert read is not None
    assert read.payload is not None
    assert msgspec.json.decode(read.payload) == msgspec.json.decode(job.payload)
    assert (read.type, read.queue, read.priority) == ("mail:send", "mails", 9)
    assert (read.timeout, read.max_retries, read.attempt_limit) == (3 * SECOND, 7, 8)
    assert (read.expires_at, read.attempt) == (START + MINUTE, 0)
    assert read.options.tags == ("a", "b")
    assert read.options.headers == {"traceparent": "00-1"}
    assert read.options.backoff is not None
    assert msgspec.json.decode(read.options.backoff) == {"kind": "constant", "delay": "1s"}
    assert (read.options.copied_from, read.options.step) == ("x", "s")
    assert (read.result, read.error, read.started_at, read.finished_at) == (None, None, None, None)
    assert read.worker_id is None
    assert not read.cancel_requested


async def test_expires_in_is_counted_from_the_stores_now(lab: Lab) -> None:
    lab.clock.advance(5)
    assert (await lab.get(await lab.add(expires_in=SECOND))).expires_at == START + 5 + SECOND


async def test_nothing_to_insert_is_no_error(store: Store) -> None:
    assert await store.jobs.insert([]) == []
    assert await store.jobs.insert([[]]) == [[]]


async def test_answers_stand_in_the_order_of_the_jobs(lab: Lab, store: Store) -> None:
    batches = [[lab.job() for _ in range(20)] for _ in range(3)]
    batches[1].reverse()
    answers = await store.jobs.insert(batches)
    assert [ids(answer) for answer in answers] == [[job.id for job in batch] for batch in batches]


async def test_a_large_batch(lab: Lab, store: Store) -> None:
    batch = [lab.job() for _ in range(10_000)]
    [answer] = await store.jobs.insert([batch])
    assert ids(answer) == [job.id for job in batch]
    assert len(await store.queries.states([job.id for job in batch])) == 10_000


# --- a bad member -------------------------------------------------------------------------------------------------


def too_large_a_number(lab: Lab) -> NewJob:
    return lab.job(timeout=2**70)


async def refused_alone(lab: Lab, bad: NewJob) -> None:
    good, beside, after = lab.job(), lab.job(), lab.job()
    first, refused, last = await lab.store.jobs.insert([[good], [beside, bad], [after]])
    assert isinstance(refused, DataRefused)
    assert (ids(first), ids(last)) == ([good.id], [after.id])
    assert await lab.state(beside.id) is None, "half a batch was stored"
    assert await lab.state(good.id) == JobState.AVAILABLE
    assert await lab.state(after.id) == JobState.AVAILABLE


async def test_an_id_that_is_live_refuses_its_own_batch_only(lab: Lab) -> None:
    await refused_alone(lab, lab.job("other", id=await lab.add()))


async def test_an_id_that_is_done_refuses_its_own_batch_only(lab: Lab) -> None:
    await lab.worker()
    job_id = await lab.ended(JobState.SUCCEEDED)
    await refused_alone(lab, lab.job("other", id=job_id))
    assert await lab.state(job_id) == JobState.SUCCEEDED


async def test_an_id_twice_in_one_batch_refuses_it(lab: Lab, store: Store) -> None:
    job = lab.job()
    [answer] = await store.jobs.insert([[job, lab.job(id=job.id)]])
    assert isinstance(answer, DataRefused)
    assert await lab.state(job.id) is None


async def test_an_id_in_two_batches_belongs_to_the_first(lab: Lab, store: Store) -> None:
    job = lab.job()
    first, second = await store.jobs.insert([[job], [lab.job("other", id=job.id)]])
    assert ids(first) == [job.id]
    assert isinstance(second, DataRefused)
    assert (await lab.get(job.id)).type == "t"


async def test_a_number_that_no_column_holds_refuses_its_own_batch_only(lab: Lab) -> None:
    await refused_alone(lab, too_large_a_number(lab))


async def test_a_refused_batch_gives_its_keys_back(lab: Lab, store: Store) -> None:
    taken = await lab.add()
    refused, accepted = await store.jobs.insert(
        [
            [lab.job(idempotency=KEY), lab.job(unique=UNIQUE), lab.job("other", id=taken)],
            [lab.job(idempotency=KEY), lab.job(unique=UNIQUE)],
        ]
    )
    assert isinstance(refused, DataRefused)
    assert isinstance(accepted, list)
    assert [answer.how for answer in accepted] == ["created", "created"]


# --- an insert whose answer was lost: the same jobs once more -----------------------------------------------------


async def test_a_repeated_insert_gets_the_answer_that_was_lost(lab: Lab, store: Store) -> None:
    jobs = [lab.job(), lab.job(delay=SECOND), lab.job(unique=UNIQUE)]
    [first] = await store.jobs.insert([jobs])
    lab.clock.advance(7)
    [again] = await store.jobs.insert([jobs])
    assert again == first
    assert isinstance(again, list)
    assert [answer.how for answer in again] == ["created"] * 3
    told = [event.key for event in await store.queries.events("0.0", 100) if event.subject == "job"]
    assert sorted(told) == sorted(job.id for job in jobs), "stored once"


async def test_a_repeated_insert_tells_the_state_of_now(lab: Lab, store: Store) -> None:
    await lab.worker()
    jobs = [lab.job(), lab.job()]
    await store.jobs.insert([jobs[:1]])
    [claimed] = await lab.claim()
    await lab.finish(claimed, JobState.SUCCEEDED)
    await store.jobs.insert([jobs[1:]])
    [running] = await lab.claim()
    [answer] = await store.jobs.insert([jobs])
    assert isinstance(answer, list)
    assert [(one.id, one.state) for one in answer] == [
        (claimed.id, JobState.SUCCEEDED),
        (running.id, JobState.RUNNING),
    ]
    assert await lab.claim() == []


async def test_a_repeated_insert_beside_new_ones(lab: Lab, store: Store) -> None:
    known, new, keyed = lab.job(), lab.job(), lab.job(idempotency=KEY)
    await store.jobs.insert([[known]])
    answers = await store.jobs.insert([[new], [known], [keyed, known]])
    assert [ids(answer) for answer in answers] == [[new.id], [known.id], [keyed.id, known.id]]


@pytest.mark.parametrize(
    "kinds",
    [{"idempotency": KEY}, {"unique": UNIQUE}, {"idempotency": KEY, "unique": UNIQUE}],
    ids=["idempotent", "unique", "both"],
)
async def test_a_repeated_insert_of_a_job_with_a_key_is_that_job(
    lab: Lab, store: Store, kinds: dict[str, Any]
) -> None:
    """Not a replay and no duplicate of itself: its caller was never told that it was made."""
    job = lab.job(**kinds)
    first = await store.jobs.insert([[job]])
    lab.clock.advance(7)
    assert await store.jobs.insert([[job]]) == first
    assert await lab.every_id() == [job.id]
    if "idempotency" in kinds:
        [other] = await lab.insert(lab.job(**kinds))
        assert (other.id, other.how) == (job.id, "replayed")


async def test_another_payload_under_a_known_id_is_refused(lab: Lab) -> None:
    await refused_alone(lab, lab.job(id=await lab.add(), payload=b'{"other":1}'))


# --- idempotency keys ---------------------------------------------------------------------------------------------


async def test_a_repeated_request_gets_the_first_job(lab: Lab) -> None:
    [first] = await lab.insert(lab.job(idempotency=KEY))
    lab.clock.advance(MINUTE)
    [second] = await lab.insert(lab.job(idempotency=KEY))
    assert (first.how, second.how) == ("created", "replayed")
    assert (second.id, second.state, second.created_at) == (first.id, JobState.AVAILABLE, START)
    assert await lab.every_id() == [first.id]


async def test_a_replay_tells_the_state_of_now(lab: Lab) -> None:
    await lab.worker()
    done = await lab.ended(JobState.SUCCEEDED, idempotency=KEY)
    [again] = await lab.insert(lab.job(idempotency=KEY))
    assert (again.id, again.state, again.how) == (done, JobState.SUCCEEDED, "replayed")
    assert again.created_at == START


async def test_a_key_twice_in_one_batch(lab: Lab) -> None:
    first, second = await lab.insert(lab.job(idempotency=KEY), lab.job(idempotency=KEY))
    assert (first.how, second.how) == ("created", "replayed")
    assert first.id == second.id


async def test_a_key_for_another_request_is_a_conflict_that_names_the_index(lab: Lab, store: Store) -> None:
    await lab.insert(lab.job(idempotency=KEY))
    beside = lab.job()
    other = lab.job(idempotency=Idempotency(key="order-1", fingerprint="f2"))
    refused, accepted = await store.jobs.insert([[beside, other], [lab.job()]])
    assert isinstance(refused, Conflict)
    assert "1" in str(refused)
    assert isinstance(accepted, list)
    assert await lab.state(beside.id) is None


async def test_a_key_for_two_requests_of_one_call(lab: Lab, store: Store) -> None:
    first, second = await store.jobs.insert(
        [
            [lab.job(idempotency=KEY)],
            [lab.job(idempotency=Idempotency(key="order-1", fingerprint="f2"))],
        ]
    )
    assert isinstance(first, list)
    assert isinstance(second, Conflict)


async def test_a_key_is_free_after_its_time(lab: Lab, clock: SteeredClock) -> None:
    key = Idempotency(key="k", fingerprint="f", ttl=MINUTE)
    [first] = await lab.insert(lab.job(idempotency=key))
    clock.advance(MINUTE - 1)
    [replay] = await lab.insert(lab.job(idempotency=key))
    assert (replay.id, replay.how) == (first.id, "replayed")
    clock.advance(2)
    [second] = await lab.insert(lab.job(idempotency=key))
    assert second.how == "created"
    assert second.id != first.id
    # and the new job holds it for a time of its own
    clock.advance(MINUTE - 1)
    [replay] = await lab.insert(lab.job(idempotency=key))
    assert (replay.id, replay.how) == (second.id, "replayed")


async def test_a_free_key_may_stand_for_another_request(lab: Lab, clock: SteeredClock) -> None:
    await lab.insert(lab.job(idempotency=Idempotency(key="k", fingerprint="f1", ttl=SECOND)))
    clock.advance(2 * SECOND)
    [answer] = await lab.insert(lab.job(idempotency=Idempotency(key="k", fingerprint="f2", ttl=SECOND)))
    assert answer.how == "created"


async def test_a_key_without_a_time_lives_as_long_as_its_job(lab: Lab, clock: SteeredClock) -> None:
    await lab.worker()
    first = await lab.ended(JobState.SUCCEEDED, idempotency=KEY)
    clock.advance(1000 * MINUTE)
    [replay] = await lab.insert(lab.job(idempotency=KEY))
    assert (replay.id, replay.how) == (first, "replayed")
    keep_none = Retention(succeeded=0, dead=0, cancelled=0, most=None)
    await lab.store.duties.prune(await lab.lead(), keep_none, 1000)
    assert await lab.state(first) is None
    [second] = await lab.insert(lab.job(idempotency=KEY))
    assert second.how == "created"


async def test_the_key_is_read_back_with_the_job(lab: Lab) -> None:
    options = Options(idempotency_key="order-1")
    job_id = await lab.add(idempotency=KEY, options=options)
    assert (await lab.get(job_id)).options.idempotency_key == "order-1"
    assert await lab.every_id(key="order-1") == [job_id]


# --- unique jobs --------------------------------------------------------------------------------------------------


async def test_a_second_unique_job_is_the_first_one(lab: Lab) -> None:
    [first] = await lab.insert(lab.job(unique=UNIQUE, delay=SECOND))
    [second] = await lab.insert(lab.job(unique=UNIQUE))
    assert (second.id, second.how) == (first.id, "duplicate")
    assert second.state == JobState.SCHEDULED
    assert await lab.every_id() == [first.id]


async def test_unique_twice_in_one_batch(lab: Lab) -> None:
    first, second, other = await lab.insert(
        lab.job(unique=UNIQUE),
        lab.job(unique=UNIQUE),
        lab.job(unique=Uniqueness(key="v", states=UNIQUE.states)),
    )
    assert (first.how, second.how, other.how) == ("created", "duplicate", "created")
    assert first.id == second.id


@pytest.mark.parametrize("end", [JobState.SUCCEEDED, JobState.DEAD, JobState.CANCELLED])
async def test_the_key_is_given_up_when_the_job_leaves_its_states(lab: Lab, end: JobState) -> None:
    await lab.worker()
    first = await lab.running(unique=UNIQUE)
    [second] = await lab.insert(lab.job(unique=UNIQUE))
    assert (second.id, second.how, second.state) == (first.id, "duplicate", JobState.RUNNING)
    await lab.finish(first, end)
    [third] = await lab.insert(lab.job(unique=UNIQUE))
    assert third.how == "created"


async def test_a_cancel_gives_the_key_up(lab: Lab, store: Store) -> None:
    first = await lab.add(unique=UNIQUE)
    await store.jobs.cancel([first], None)
    [second] = await lab.insert(lab.job(unique=UNIQUE))
    assert second.how == "created"


async def test_a_key_may_be_held_by_waiting_jobs_only(lab: Lab) -> None:
    waiting = Uniqueness(key="u", states=("scheduled", "available", "retrying"))
    await lab.worker()
    first = await lab.add(unique=waiting)
    [twin] = await lab.insert(lab.job(unique=waiting))
    assert (twin.how, twin.id) == ("duplicate", first)
    claimed = await lab.claim_one()
    [second] = await lab.insert(lab.job(unique=waiting))
    assert second.how == "created"
    # The first comes back to a state that holds the key while the second has it: it goes on, and the key stays.
    assert await lab.finish(claimed, JobState.RETRYING, delay=SECOND) == JobState.RETRYING
    [third] = await lab.insert(lab.job(unique=waiting))
    assert (third.how, third.id) == ("duplicate", second.id)


async def test_a_key_may_be_held_beyond_the_end(lab: Lab) -> None:
    forever = Uniqueness(key="u", states=(*UNIQUE.states, "succeeded"))
    await lab.worker()
    first = await lab.ended(JobState.SUCCEEDED, unique=forever)
    [second] = await lab.insert(lab.job(unique=forever))
    assert (second.id, second.how, second.state) == (first, "duplicate", JobState.SUCCEEDED)


async def test_a_key_held_for_a_period_is_free_afterwards(lab: Lab, clock: SteeredClock) -> None:
    hourly = Uniqueness(key="u", states=(*UNIQUE.states, "succeeded"), period=MINUTE)
    await lab.worker()
    first = await lab.ended(JobState.SUCCEEDED, unique=hourly)
    clock.advance(MINUTE - 1)
    [second] = await lab.insert(lab.job(unique=hourly))
    assert (second.id, second.how) == (first, "duplicate")
    clock.advance(2)
    [third] = await lab.insert(lab.job(unique=hourly))
    assert third.how == "created"
    [fourth] = await lab.insert(lab.job(unique=hourly))
    assert (fourth.id, fourth.how) == (third.id, "duplicate")


async def test_idempotency_comes_before_uniqueness(lab: Lab) -> None:
    [first] = await lab.insert(lab.job(unique=UNIQUE, idempotency=KEY))
    [second] = await lab.insert(lab.job(unique=UNIQUE, idempotency=KEY))
    assert (second.id, second.how) == (first.id, "replayed")


async def test_a_key_whose_job_was_a_duplicate_replays_the_job_that_stands_for_it(lab: Lab) -> None:
    [first] = await lab.insert(lab.job(unique=UNIQUE))
    [second] = await lab.insert(lab.job(unique=UNIQUE, idempotency=KEY))
    assert (second.id, second.how) == (first.id, "duplicate")
    [third] = await lab.insert(lab.job(unique=UNIQUE, idempotency=KEY))
    assert third.id == first.id
    assert third.how in ("duplicate", "replayed")


async def test_a_failure_within_the_period_frees_the_key(lab: Lab) -> None:
    hourly = Uniqueness(key="u", states=(*UNIQUE.states, "succeeded"), period=MINUTE)
    await lab.worker()
    await lab.ended(JobState.DEAD, unique=hourly)
    [second] = await lab.insert(lab.job(unique=hourly))
    assert second.how == "created"


async def test_a_period_ends_although_the_job_still_lives(lab: Lab, clock: SteeredClock) -> None:
    hourly = Uniqueness(key="u", states=UNIQUE.states, period=MINUTE)
    first = await lab.add(unique=hourly)
    clock.advance(MINUTE + 1)
    [second] = await lab.insert(lab.job(unique=hourly))
    assert second.how == "created"
    # The end of the first must not give up the key that is the second's now.
    await lab.store.jobs.cancel([first], None)
    [third] = await lab.insert(lab.job(unique=hourly))
    assert (third.id, third.how) == (second.id, "duplicate")
