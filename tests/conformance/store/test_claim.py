"""Claiming: what may be claimed, by whom, in which order, and what the claim says."""

from __future__ import annotations

import msgspec
import pytest

from flux.domain.duration import MINUTE, SECOND
from flux.domain.errors import LeaseLost
from flux.domain.job import JobState, Options
from flux.engine.ports import Note, Store
from tests.conformance.store.lab import LEASE, LONG, START, Lab, SteeredClock


async def claimed_ids(lab: Lab, slots: int = 100, **demand: object) -> list[str]:
    return [claimed.id for claimed in await lab.claim(slots=slots, **demand)]


async def test_a_claim_tells_what_the_handler_needs(lab: Lab, clock: SteeredClock) -> None:
    await lab.worker()
    job_id = await lab.add(
        queue="q",
        priority=8,
        payload=b'{"a":[1,"\\u00e9"]}',
        timeout=9 * SECOND,
        max_retries=2,
        options=Options(headers={"tenant": "x"}, tags=("t1",)),
    )
    clock.advance(SECOND)
    claimed = await lab.claim_one()
    assert (claimed.id, claimed.type, claimed.queue, claimed.priority) == (job_id, "t", "q", 8)
    assert msgspec.json.decode(claimed.payload) == {"a": [1, "é"]}
    assert (claimed.attempt, claimed.attempt_limit, claimed.timeout) == (1, 3, 9 * SECOND)
    assert (claimed.created_at, claimed.run_at, claimed.started_at) == (START, START, START + SECOND)
    assert claimed.options is not None
    options = msgspec.json.decode(claimed.options, type=Options)
    assert (options.headers, options.tags) == ({"tenant": "x"}, ("t1",))
    assert (claimed.schedule_id, claimed.workflow_id, claimed.checkpoint) == (None, None, None)


async def test_a_claimed_job_runs_and_belongs_to_its_worker(lab: Lab, clock: SteeredClock) -> None:
    await lab.worker("w7")
    job_id = await lab.add()
    clock.advance(SECOND)
    await lab.claim_one("w7")
    job = await lab.get(job_id)
    assert (job.state, job.worker_id, job.attempt) == (JobState.RUNNING, "w7", 1)
    assert (job.started_at, job.finished_at) == (START + SECOND, None)


async def test_a_running_job_is_not_claimed_again(lab: Lab) -> None:
    await lab.worker("w1")
    await lab.worker("w2")
    job_id = await lab.add()
    await lab.claim_one("w1")
    assert await lab.claim("w1") == []
    assert await lab.claim("w2") == []
    assert await lab.claim("w2", hints=(job_id,)) == []


async def test_every_claim_has_a_fence_of_its_own(lab: Lab) -> None:
    await lab.worker()
    await lab.insert(*[lab.job() for _ in range(50)])
    fences: set[tuple[str, int]] = set()
    for _ in range(3):
        for claimed in await lab.claim():
            fences.add((claimed.id, claimed.claim_id))
            await lab.finish(claimed, JobState.AVAILABLE)
    # A store may give one fence to the jobs of one claim: it counts together with the job's id.
    assert len(fences) == 150
    assert all(0 < fence < 2**63 for _, fence in fences)


async def test_an_unknown_worker_claims_nothing(lab: Lab) -> None:
    job_id = await lab.add()
    with pytest.raises(LeaseLost):
        await lab.claim("nobody")
    assert await lab.state(job_id) == JobState.AVAILABLE


async def test_a_worker_whose_lease_has_lapsed_claims_nothing(lab: Lab, clock: SteeredClock) -> None:
    await lab.worker()
    job_id = await lab.add()
    clock.advance(LEASE + 1)
    with pytest.raises(LeaseLost):
        await lab.claim()
    with pytest.raises(LeaseLost):
        await lab.claim(hints=(job_id,))
    assert await lab.state(job_id) == JobState.AVAILABLE


async def test_a_worker_that_left_claims_nothing(lab: Lab, store: Store) -> None:
    await lab.worker()
    await lab.add()
    await store.leases.leave("w1")
    with pytest.raises(LeaseLost):
        await lab.claim()


# --- what may be claimed ------------------------------------------------------------------------------------------


async def test_only_known_types_are_claimed(lab: Lab) -> None:
    await lab.worker(types=("a", "b"))
    a, other, b = await lab.add("a"), await lab.add("c"), await lab.add("b")
    assert await claimed_ids(lab, types=("a", "b")) == [a, b]
    assert await claimed_ids(lab, types=("a", "b"), hints=(other,)) == []
    assert await lab.state(other) == JobState.AVAILABLE


async def test_a_worker_without_types_claims_nothing(lab: Lab) -> None:
    await lab.worker()
    await lab.add()
    assert await lab.claim(types=()) == []


async def test_many_types(lab: Lab) -> None:
    types = tuple(f"type-{n}" for n in range(300))
    await lab.worker(types=types)
    ids = [await lab.add(type) for type in types[::30]]
    assert await claimed_ids(lab, types=types) == ids


async def test_no_more_than_the_slots_are_claimed(lab: Lab) -> None:
    await lab.worker()
    ids = [inserted.id for inserted in await lab.insert(*[lab.job() for _ in range(10)])]
    assert await claimed_ids(lab, slots=0) == []
    assert await claimed_ids(lab, slots=3) == ids[:3]
    assert await claimed_ids(lab, slots=100) == ids[3:]


async def test_what_waits_for_its_time_is_not_claimed(lab: Lab, clock: SteeredClock) -> None:
    await lab.worker(lease=10 * MINUTE)
    job_id = await lab.add(delay=SECOND)
    assert await lab.claim() == []
    assert await lab.claim(hints=(job_id,)) == []
    claimed = await lab.running()
    await lab.finish(claimed, JobState.RETRYING, delay=SECOND)
    assert await lab.claim(hints=(claimed.id,)) == []
    clock.advance(2 * SECOND)
    # Due, but nobody promoted it yet.
    assert await lab.claim() == []


async def test_what_has_ended_is_not_claimed(lab: Lab) -> None:
    await lab.worker()
    ended = [await lab.ended(state) for state in (JobState.SUCCEEDED, JobState.DEAD, JobState.CANCELLED)]
    assert await lab.claim() == []
    assert await lab.claim(hints=tuple(ended)) == []


async def test_an_expired_job_is_never_claimed(lab: Lab, clock: SteeredClock) -> None:
    await lab.worker()
    expired = await lab.add(expires_in=SECOND)
    fresh = await lab.add(expires_in=MINUTE)
    clock.advance(SECOND + 1)
    assert await lab.claim(hints=(expired,)) == []
    assert await claimed_ids(lab) == [fresh]


async def test_many_expired_jobs_do_not_stand_before_others(lab: Lab, clock: SteeredClock) -> None:
    await lab.worker()
    await lab.insert(*[lab.job(expires_in=SECOND, priority=10) for _ in range(200)])
    fresh = await lab.add()
    clock.advance(SECOND + 1)
    assert await claimed_ids(lab, slots=5) == [fresh]


async def test_a_job_that_was_started_in_time_may_be_retried_late(lab: Lab, clock: SteeredClock) -> None:
    await lab.worker()
    claimed = await lab.running(expires_in=SECOND)
    await lab.finish(claimed, JobState.RETRYING, delay=0)
    clock.advance(2 * SECOND)
    await lab.promote()
    assert await claimed_ids(lab) == [claimed.id]


@pytest.mark.parametrize("state", [JobState.AVAILABLE, JobState.SCHEDULED])
async def test_a_job_that_was_started_in_time_and_given_back_does_not_expire(
    lab: Lab, store: Store, clock: SteeredClock, state: JobState
) -> None:
    await lab.worker()
    claimed = await lab.running(expires_in=SECOND)
    clock.advance(2 * SECOND)
    assert await lab.finish(claimed, state) == state
    await lab.promote()
    assert await store.duties.expire(await lab.lead(), 10) == 0
    assert await claimed_ids(lab) == [claimed.id]


async def test_documents_of_every_size_are_read_as_they_were_given(lab: Lab, store: Store) -> None:
    await lab.worker(lease=LONG)
    payloads = [f'"{"é" * size}"'.encode() for size in (0, 10, 65_533, 65_534, 65_535, 1_000_000)]
    ids = [await lab.add(payload=payload) for payload in payloads]
    checkpoint = f'"{"c" * 200_000}"'.encode()
    first = await lab.claim(hints=(ids[1],))
    note = Note(job_id=ids[1], claim_id=first[0].claim_id, attempt=1, checkpoint=checkpoint)
    await store.jobs.note([note])
    await lab.finish(first[0], JobState.AVAILABLE)
    claimed = await lab.claim()
    assert [(job.id, job.payload.encode()) for job in claimed] == list(zip(ids, payloads, strict=True))
    assert [job.checkpoint for job in claimed] == [None, checkpoint.decode(), None, None, None, None]


async def test_what_is_too_much_for_one_claim_is_left_for_the_next(lab: Lab) -> None:
    """However large payloads are, a worker has them in its memory a few at a time."""
    await lab.worker(lease=LONG)
    payload = f'"{"x" * 33_000_000}"'.encode()
    ids = [await lab.add(payload=payload) for _ in range(2)]
    seen: list[str] = []
    while claimed := await lab.claim():
        assert [len(job.payload) for job in claimed] == [len(payload)]
        seen += [job.id for job in claimed]
    assert seen == ids


async def test_a_paused_queue_gives_nothing(lab: Lab, store: Store) -> None:
    await lab.worker()
    held, free = await lab.add(queue="held"), await lab.add(queue="free")
    await store.queues.set("held", paused=True, by="anna", max_depth=None, clear_depth=False)
    assert await claimed_ids(lab, hints=(held,)) == []
    assert await claimed_ids(lab) == [free]
    assert await claimed_ids(lab, queues={"held": 5}, every_queue=False) == []
    await store.queues.set("held", paused=False, by="anna", max_depth=None, clear_depth=False)
    assert await claimed_ids(lab) == [held]


# --- order --------------------------------------------------------------------------------------------------------


async def test_priority_first_then_age(lab: Lab) -> None:
    await lab.worker()
    low, mid1, high, mid2 = [await lab.add(priority=p) for p in (1, 5, 10, 5)]
    assert await claimed_ids(lab) == [high, mid1, mid2, low]


async def test_priority_first_then_age_across_queues(lab: Lab) -> None:
    await lab.worker()
    added = [
        (priority, n, await lab.add(queue=queue, priority=priority))
        for n, (queue, priority) in enumerate(
            [("b", 5), ("a", 5), ("c", 9), ("b", 9), ("a", 1), ("c", 5), ("a", 9), ("b", 1), ("c", 1)]
        )
    ]
    expected = [job_id for _, _, job_id in sorted(added, key=lambda each: (-each[0], each[1]))]
    got = []
    for _ in range(3):
        got += await claimed_ids(lab, slots=3)
    assert got == expected


async def test_priority_first_then_age_across_types(lab: Lab) -> None:
    types = tuple(f"t{n % 7}" for n in range(100))
    ids = [await lab.add(type, queue=f"q{n % 3}") for n, type in enumerate(types)]
    first = await lab.add("t3", priority=9)
    await lab.worker(types=types)
    seen: list[str] = []
    while claimed := await claimed_ids(lab, slots=11, types=types):
        seen += claimed
    assert seen == [first, *ids]


async def test_a_queues_limit_holds_over_all_its_types(lab: Lab) -> None:
    types = tuple(f"t{n}" for n in range(12))
    ids = [await lab.add(type) for _ in range(3) for type in types]
    await lab.worker(types=types)
    assert await claimed_ids(lab, types=types, queues={"default": 5}, every_queue=False) == ids[:5]
    assert (
        await claimed_ids(lab, types=types, slots=9, queues={"default": 20}, every_queue=False) == ids[5:14]
    )


async def test_what_others_must_run_is_not_in_the_way(lab: Lab) -> None:
    """A backlog of one application's jobs costs another one's workers nothing."""
    await lab.worker(types=("mine",))
    for _ in range(5):
        await lab.insert(*[lab.job("theirs") for _ in range(1000)])
    expired = await lab.add("mine", expires_in=1)
    ids = [await lab.add("mine") for _ in range(3)]
    lab.clock.advance(SECOND)
    assert await claimed_ids(lab, types=("mine",)) == ids
    assert expired not in await claimed_ids(lab, types=("mine",))


async def test_lowest_first_turns_the_priorities_round_and_not_the_age(lab: Lab) -> None:
    await lab.worker()
    low1, mid, high, low2 = [
        await lab.add(queue=queue, priority=p) for queue, p in (("a", 1), ("b", 5), ("a", 10), ("b", 1))
    ]
    assert await claimed_ids(lab, lowest_first=True, slots=3) == [low1, low2, mid]
    assert await claimed_ids(lab) == [high]


async def test_a_job_keeps_its_place_when_it_was_given_back(lab: Lab) -> None:
    await lab.worker()
    first, second = await lab.add(), await lab.add()
    claimed = await lab.claim(slots=1)
    assert [each.id for each in claimed] == [first]
    await lab.finish(claimed[0], JobState.AVAILABLE)
    assert await claimed_ids(lab) == [first, second]


# --- queues -------------------------------------------------------------------------------------------------------


async def test_named_queues_only(lab: Lab) -> None:
    await lab.worker()
    a, b = await lab.add(queue="a"), await lab.add(queue="b")
    await lab.add(queue="c")
    assert await claimed_ids(lab, queues={"a": 9, "b": 9, "none": 9}, every_queue=False) == [a, b]
    assert await claimed_ids(lab, queues={}, every_queue=False) == []


async def test_a_queue_has_a_limit_of_its_own(lab: Lab) -> None:
    await lab.worker()
    a = [await lab.add(queue="a", priority=9) for _ in range(5)]
    b = [await lab.add(queue="b") for _ in range(5)]
    got = await claimed_ids(lab, queues={"a": 2, "b": 4}, every_queue=False)
    assert got == a[:2] + b[:4]


async def test_the_slots_bound_all_queues_together(lab: Lab) -> None:
    await lab.worker()
    for _ in range(5):
        await lab.add(queue="a")
        await lab.add(queue="b")
    claimed = await lab.claim(slots=6, queues={"a": 5, "b": 5}, every_queue=False)
    assert len(claimed) == 6


async def test_queues_not_named_are_taken_too_when_asked(lab: Lab) -> None:
    await lab.worker()
    a = [await lab.add(queue="a", priority=9) for _ in range(3)]
    c = [await lab.add(queue="c") for _ in range(3)]
    assert await claimed_ids(lab, queues={"a": 1}, every_queue=True) == [a[0], *c]


async def test_a_queue_that_is_full_is_left_out(lab: Lab) -> None:
    await lab.worker()
    a, c = await lab.add(queue="a"), await lab.add(queue="c")
    assert await claimed_ids(lab, queues={"a": 0}, every_queue=True) == [c]
    assert await claimed_ids(lab, queues={"a": 0}, every_queue=True, hints=(a,)) == []


# --- hints --------------------------------------------------------------------------------------------------------


async def test_a_hint_claims_what_it_names_and_nothing_else(lab: Lab) -> None:
    await lab.worker()
    await lab.add()
    wanted = await lab.add()
    assert await claimed_ids(lab, hints=(wanted,)) == [wanted]


async def test_stale_repeated_and_foreign_hints_do_nothing(lab: Lab) -> None:
    await lab.worker()
    job_id = await lab.add()
    unknown = lab.new_id()
    assert await claimed_ids(lab, hints=(job_id, unknown, job_id, "not an id")) == [job_id]
    assert await claimed_ids(lab, hints=(job_id, unknown)) == []
    assert await claimed_ids(lab, hints=()) == []


async def test_hints_are_claimed_within_slots_and_limits(lab: Lab) -> None:
    await lab.worker()
    a = [await lab.add(queue="a") for _ in range(4)]
    b = [await lab.add(queue="b") for _ in range(4)]
    hints = tuple(a + b)
    assert len(await claimed_ids(lab, hints=hints, slots=3, queues={"a": 2}, every_queue=True)) <= 3
    await lab.worker("w2")
    rest = await lab.claim("w2", hints=hints, queues={"a": 1}, every_queue=False)
    assert [each.queue for each in rest] == ["a"]


async def test_a_hint_for_a_queue_that_is_not_read(lab: Lab) -> None:
    await lab.worker()
    job_id = await lab.add(queue="a")
    assert await claimed_ids(lab, hints=(job_id,), queues={"b": 5}, every_queue=False) == []


async def test_many_hints(lab: Lab) -> None:
    await lab.worker()
    ids = [inserted.id for inserted in await lab.insert(*[lab.job() for _ in range(2000)])]
    assert sorted(await claimed_ids(lab, slots=2000, hints=tuple(reversed(ids)))) == ids
