"""What the dispatcher reads: the lanes that have available jobs, and the ids of a lane, oldest first."""

from __future__ import annotations

from flux.domain.duration import SECOND
from flux.engine.ports import Lane, Store
from tests.conformance.store.lab import Lab, SteeredClock

A5 = Lane("a", 5)


async def found(store: Store) -> set[tuple[str, int]]:
    lanes = await store.duties.lanes()
    assert len(lanes) == len(set(lanes)), "no lane is named twice"
    return {(lane.queue, lane.priority) for lane in lanes}


async def test_an_empty_store_has_no_lanes(store: Store) -> None:
    assert await store.duties.lanes() == []
    assert await store.duties.offerable(A5, None, 10) == []


async def test_lanes_are_those_of_available_jobs(lab: Lab, store: Store) -> None:
    for priority in (1, 5, 10):
        for type in ("t", "u"):
            await lab.add(type, queue="a", priority=priority)
    await lab.add(queue="b", priority=7)
    await lab.add(queue="c", delay=SECOND)
    await lab.worker()
    await lab.running(queue="d", type="t")
    assert await found(store) == {("a", 1), ("a", 5), ("a", 10), ("b", 7)}


async def test_lanes_of_paused_queues_are_left_out(lab: Lab, store: Store) -> None:
    await lab.add(queue="a")
    await lab.add(queue="b")
    await store.queues.set("a", paused=True, by=None, max_depth=None, clear_depth=False)
    assert await found(store) == {("b", 5)}
    await store.queues.set("a", paused=False, by=None, max_depth=None, clear_depth=False)
    assert await found(store) == {("a", 5), ("b", 5)}


async def test_a_lane_is_read_oldest_first_whatever_the_types(lab: Lab, store: Store) -> None:
    ids = [await lab.add(type, queue="a") for type in "cabcab"]
    await lab.add(queue="a", priority=6)
    await lab.add(queue="b")
    assert await store.duties.offerable(A5, None, 100) == ids
    assert await store.duties.offerable(A5, None, 4) == ids[:4]


async def test_a_lane_is_read_on_from_an_id(lab: Lab, store: Store) -> None:
    """Page by page, also where there are more types than ids on a page; the id may be gone meanwhile."""
    jobs = [lab.job(f"t{number * 7 % 9}", queue="a") for number in range(60)]
    await lab.insert(*jobs)
    await store.jobs.cancel([jobs[9].id], None)
    ids = [job.id for job in jobs if job is not jobs[9]]
    assert await store.duties.offerable(A5, jobs[9].id, 100) == ids[9:]
    for limit in (1, 7, 100):
        read: list[str] = []
        while page := await store.duties.offerable(A5, read[-1] if read else None, limit):
            assert len(page) <= limit
            read += page
        assert read == ids


async def test_what_is_claimed_or_has_ended_is_not_offered(lab: Lab, store: Store) -> None:
    await lab.worker()
    ids = [await lab.add(queue="a") for _ in range(4)]
    [claimed] = await lab.claim(hints=(ids[1],))
    assert claimed.id == ids[1]
    await store.jobs.cancel([ids[2]], None)
    assert await store.duties.offerable(A5, None, 10) == [ids[0], ids[3]]


async def test_what_has_expired_is_not_offered(lab: Lab, store: Store, clock: SteeredClock) -> None:
    await lab.add(queue="a", expires_in=SECOND)
    lasting = await lab.add(queue="a", expires_in=3 * SECOND)
    clock.advance(2 * SECOND)
    assert await store.duties.offerable(A5, None, 10) == [lasting]
