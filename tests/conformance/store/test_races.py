"""Races: several handles on one database, as several processes have, all at once. Whoever commits first wins, and the
answers say so."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from typing import TypeVar

import pytest

from flux.domain.duration import DAY, SECOND
from flux.domain.errors import Conflict
from flux.domain.job import FINAL, Idempotency, Inserted, JobState, Uniqueness
from flux.engine.ports import Demand, Store
from tests.conformance.store.lab import LEASE, LONG, Lab, outcome, run_plainly

T = TypeVar("T")
ROUNDS = 20
UNIQUE = Uniqueness(key="u", states=("scheduled", "available", "running", "retrying"))


async def handles(lab: Lab, count: int) -> list[Store]:
    return [lab.store, *[await lab.another() for _ in range(count - 1)]]


def only(answer: object) -> Inserted:
    assert isinstance(answer, list), answer
    [inserted] = answer
    assert isinstance(inserted, Inserted)
    return inserted


def no_job_twice(claims: Sequence[Sequence[object]]) -> None:
    counts = Counter(claimed.id for each in claims for claimed in each)  # type: ignore[attr-defined]
    assert [job_id for job_id, n in counts.items() if n > 1] == []


@pytest.mark.parametrize("by_hint", [False, True], ids=["policy", "hints"])
async def test_claim_against_claim(lab: Lab, by_hint: bool) -> None:
    stores = await handles(lab, 6)
    inserted = await lab.insert(*[lab.job(queue=f"q{n % 3}", priority=n % 10 + 1) for n in range(600)])
    ids = tuple(each.id for each in inserted)
    for n, store in enumerate(stores):
        await lab.worker(f"w{n}", store=store)

    async def claimer(n: int, store: Store) -> list[object]:
        got: list[object] = []
        start = 0
        while start < len(ids) * 2:
            hints = None
            if by_hint:
                # Everybody is offered the same ids, as a broker's repeated hints would.
                hints = tuple(ids[(start + i) % len(ids)] for i in range(20))
            demand = Demand(worker_id=f"w{n}", types=("t",), slots=20, hints=hints, lowest_first=n % 2 == 1)
            batch = await store.jobs.claim(demand)
            got += batch
            if not by_hint and not batch:
                break
            start += 20
        return got

    claims = await asyncio.gather(*[claimer(n, store) for n, store in enumerate(stores)])
    no_job_twice(claims)
    assert sum(len(each) for each in claims) == 600
    states = await lab.store.queries.states(ids)
    assert set(states.values()) == {JobState.RUNNING}


async def test_cancel_against_finish(lab: Lab) -> None:
    finisher, canceller = await handles(lab, 2)
    await lab.worker(lease=LONG)
    seen = Counter[str]()
    for n in range(ROUNDS):
        claimed = await lab.running()
        state = (JobState.SUCCEEDED, JobState.RETRYING)[n % 2]
        [finished], [cancelled] = await asyncio.gather(
            finisher.jobs.finish("w1", [outcome(claimed, state, delay=DAY)]),
            canceller.jobs.cancel([claimed.id], "stop"),
        )
        stored = await lab.state(claimed.id)
        if state == JobState.SUCCEEDED:
            assert finished == stored == JobState.SUCCEEDED
            # Either the request came first and the end went its way, or there was nothing left to cancel.
            assert (cancelled.state, cancelled.done) in (
                (JobState.RUNNING, True),
                (JobState.SUCCEEDED, False),
            )
        else:
            assert stored == JobState.CANCELLED, "a job that was to be cancelled is tried again"
            assert (finished, cancelled.state, cancelled.done) in (
                (JobState.RETRYING, JobState.CANCELLED, True),
                (JobState.CANCELLED, JobState.RUNNING, True),
            )
        seen[f"{finished} {cancelled.state}"] += 1
    assert sum(seen.values()) == ROUNDS


async def test_claim_against_cancel(lab: Lab) -> None:
    claimer, canceller = await handles(lab, 2)
    await lab.worker(lease=LONG)
    for _ in range(ROUNDS):
        job_id = await lab.add()
        claimed, [cancelled] = await asyncio.gather(
            claimer.jobs.claim(Demand(worker_id="w1", types=("t",), slots=1)),
            canceller.jobs.cancel([job_id], None),
        )
        job = await lab.get(job_id)
        if claimed:
            assert (cancelled.state, cancelled.done) == (JobState.RUNNING, True)
            assert (job.state, job.cancel_requested) == (JobState.RUNNING, True)
        else:
            assert (cancelled.state, cancelled.done) == (JobState.CANCELLED, True)
            assert (job.state, job.attempt) == (JobState.CANCELLED, 0)


async def test_rescue_against_finish(lab: Lab) -> None:
    finisher, rescuer = await handles(lab, 2)
    epoch = await lab.lead()
    for n in range(ROUNDS):
        await lab.worker(f"w{n}")
        claimed = await lab.running(f"w{n}")
        lab.clock.advance(LEASE + 1)
        [finished], rescued = await asyncio.gather(
            finisher.jobs.finish(f"w{n}", [outcome(claimed, JobState.SUCCEEDED)]),
            rescuer.duties.rescue_lost(epoch, 0, 10),
        )
        stored = await lab.state(claimed.id)
        assert (finished, len(rescued), stored) in (
            (JobState.SUCCEEDED, 0, JobState.SUCCEEDED),
            (None, 1, JobState.RETRYING),
        )


async def test_rescue_against_rescue(lab: Lab) -> None:
    stores = await handles(lab, 3)
    epoch = await lab.lead()
    await lab.worker()
    await lab.insert(*[lab.job(max_retries=0) for _ in range(30)])
    claimed = await lab.claim()
    lab.clock.advance(LEASE + 1)
    passes = await asyncio.gather(*[store.duties.rescue_lost(epoch, 0, 100) for store in stores])
    counts = [len(rescued) for rescued in passes]
    assert sum(counts) == 30
    for each in claimed:
        assert await lab.state(each.id) == JobState.DEAD


async def test_claim_against_leave(lab: Lab) -> None:
    """A claim must never land under a worker that is being swept: nobody would look for its job any more."""
    claimer, leaver = await handles(lab, 2)
    await lab.lead()
    for n in range(ROUNDS):
        await lab.worker(f"w{n}", lease=LONG)
        job_id = await lab.add(max_retries=1000)
        claim = claimer.jobs.claim(Demand(worker_id=f"w{n}", types=("t",), slots=1, hints=(job_id,)))
        await asyncio.gather(claim, leaver.leases.leave(f"w{n}"), return_exceptions=True)
        await lab.rescue()
        assert await lab.state(job_id) != JobState.RUNNING


async def test_promotion_against_promotion(lab: Lab) -> None:
    stores = await handles(lab, 4)
    epoch = await lab.lead()
    inserted = await lab.insert(*[lab.job(delay=SECOND) for _ in range(200)])
    lab.clock.advance(SECOND)
    counts = await asyncio.gather(*[store.duties.promote_due(epoch, 100, run_plainly) for store in stores])
    assert sum(each.count for each in counts) == 200
    states = await lab.store.queries.states([each.id for each in inserted])
    assert set(states.values()) == {JobState.AVAILABLE}


async def test_promotion_against_cancel(lab: Lab) -> None:
    promoter, canceller = await handles(lab, 2)
    epoch = await lab.lead()
    for _ in range(ROUNDS):
        job_id = await lab.add(delay=SECOND)
        lab.clock.advance(SECOND)
        _, [cancelled] = await asyncio.gather(
            promoter.duties.promote_due(epoch, 100, run_plainly), canceller.jobs.cancel([job_id], None)
        )
        assert (cancelled.state, cancelled.done) == (JobState.CANCELLED, True)
        assert await lab.state(job_id) == JobState.CANCELLED


async def test_callers_with_one_idempotency_key(lab: Lab) -> None:
    stores = await handles(lab, 6)
    for n in range(ROUNDS):
        key = Idempotency(key=f"k{n}", fingerprint="f")
        answers = await asyncio.gather(
            *[store.jobs.insert([[lab.job(idempotency=key)]]) for store in stores for _ in range(3)]
        )
        inserted = [only(answer) for [answer] in answers]
        assert len({each.id for each in inserted}) == 1, "two jobs for one key"
        assert Counter(each.how for each in inserted) == {"created": 1, "replayed": 17}
    assert len(await lab.every_id()) == ROUNDS


async def test_callers_with_one_key_and_two_requests(lab: Lab) -> None:
    first, second = await handles(lab, 2)
    for n in range(ROUNDS):
        [a], [b] = await asyncio.gather(
            first.jobs.insert([[lab.job(idempotency=Idempotency(key=f"k{n}", fingerprint="a"))]]),
            second.jobs.insert([[lab.job(idempotency=Idempotency(key=f"k{n}", fingerprint="b"))]]),
        )
        assert isinstance(a, Conflict) != isinstance(b, Conflict)


async def test_batches_with_keys_in_opposite_order(lab: Lab) -> None:
    """Two group commits that lock the same keys from both ends must not block each other for good."""
    first, second = await handles(lab, 2)
    for n in range(ROUNDS):
        keys = [Idempotency(key=f"k{n}-{i}", fingerprint="f") for i in range(10)]
        [a], [b] = await asyncio.gather(
            first.jobs.insert([[lab.job(idempotency=key) for key in keys]]),
            second.jobs.insert([[lab.job(idempotency=key) for key in reversed(keys)]]),
        )
        assert isinstance(a, list)
        assert isinstance(b, list)
        assert [each.id for each in a] == [each.id for each in reversed(b)]


async def test_callers_with_one_unique_job(lab: Lab) -> None:
    stores = await handles(lab, 6)
    for n in range(ROUNDS):
        unique = Uniqueness(key=f"u{n}", states=UNIQUE.states)
        answers = await asyncio.gather(*[store.jobs.insert([[lab.job(unique=unique)]]) for store in stores])
        inserted = [only(answer) for [answer] in answers]
        assert len({each.id for each in inserted}) == 1
        assert Counter(each.how for each in inserted) == {"created": 1, "duplicate": 5}


async def test_retry_against_insert_of_the_unique_key(lab: Lab) -> None:
    retrier, inserter = await handles(lab, 2)
    await lab.worker(lease=LONG)
    for n in range(ROUNDS):
        unique = Uniqueness(key=f"u{n}", states=UNIQUE.states)
        dead = await lab.ended(JobState.DEAD, unique=unique)
        [retried], [answer] = await asyncio.gather(
            retrier.jobs.retry([dead]), inserter.jobs.insert([[lab.job(unique=unique)]])
        )
        inserted = only(answer)
        if retried.done:
            assert (inserted.how, inserted.id) == ("duplicate", dead)
        else:
            assert (inserted.how, retried.state) == ("created", JobState.DEAD)
        live = [job_id for job_id in {dead, inserted.id} if await lab.state(job_id) == JobState.AVAILABLE]
        assert len(live) == 1, "two live jobs with one unique key"
        for claimed in await lab.claim():
            await lab.finish(claimed, JobState.SUCCEEDED)


async def test_retry_against_retry(lab: Lab) -> None:
    stores = await handles(lab, 4)
    await lab.worker(lease=LONG)
    for _ in range(ROUNDS):
        dead = await lab.ended(JobState.DEAD, max_retries=0)
        answers = await asyncio.gather(*[store.jobs.retry([dead]) for store in stores])
        assert Counter(answer.done for [answer] in answers) == {True: 1, False: 3}
        job = await lab.get(dead)
        assert (job.state, job.attempt_limit) == (JobState.AVAILABLE, 2)
        [claimed] = await lab.claim()
        await lab.finish(claimed, JobState.SUCCEEDED)


async def test_everybody_at_once(lab: Lab) -> None:
    """Claims, ends, cancels, retries, promotion and rescue together: nothing lost, nothing twice, nobody stuck."""
    stores = await handles(lab, 6)
    epoch = await lab.lead()
    inserted = await lab.insert(
        *[lab.job(max_retries=2, priority=n % 10 + 1, delay=n % 2) for n in range(300)]
    )
    ids = [each.id for each in inserted]
    lab.clock.advance(SECOND)
    ends = (JobState.SUCCEEDED, JobState.RETRYING, JobState.DEAD, JobState.AVAILABLE, JobState.SCHEDULED)

    async def work(n: int, store: Store) -> list[str]:
        finished: list[str] = []
        await lab.worker(f"w{n}", lease=LONG, store=store)
        for turn in range(40):
            claimed = await store.jobs.claim(Demand(worker_id=f"w{n}", types=("t",), slots=10))
            outcomes = []
            for i, each in enumerate(claimed):
                state = ends[(turn + i) % len(ends)]
                if state == JobState.RETRYING and each.attempt >= each.attempt_limit:
                    state = JobState.DEAD
                outcomes.append(outcome(each, state))
            states = await store.jobs.finish(f"w{n}", outcomes)
            for each, state in zip(claimed, states, strict=True):
                assert state is not None, "a claim was lost under a live lease"
                if state == JobState.SUCCEEDED:
                    finished.append(each.id)
        return finished

    async def lead(store: Store) -> None:
        for _ in range(60):
            await store.duties.promote_due(epoch, 50, run_plainly)
            assert await store.duties.rescue_lost(epoch, 0, 50) == []

    async def meddle(store: Store) -> None:
        for start in range(0, 300, 10):
            await store.jobs.cancel(ids[start : start + 3], None)
            await store.jobs.retry(ids[start : start + 10])

    *finished, _, _ = await asyncio.gather(
        *[work(n, store) for n, store in enumerate(stores[:4])], lead(stores[4]), meddle(stores[5])
    )
    counted = Counter(job_id for each in finished for job_id in each)
    assert [job_id for job_id, n in counted.items() if n > 1] == [], "succeeded twice"
    states = await lab.store.queries.states(ids)
    assert set(states) == set(ids), "a job is lost"
    assert {job_id for job_id, state in states.items() if state == JobState.SUCCEEDED} == set(counted)
    assert set(states.values()) <= FINAL | {JobState.AVAILABLE, JobState.RETRYING, JobState.SCHEDULED}
    for job_id in ids:
        job = await lab.get(job_id)
        assert job.attempt <= job.attempt_limit
