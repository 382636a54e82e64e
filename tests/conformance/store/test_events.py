"""Events: every transition, in order, once."""

from __future__ import annotations

import asyncio

from flux.domain.duration import DAY, SECOND
from flux.domain.job import JobState, NewJob
from flux.engine.ports import Event, Store
from tests.conformance.store.lab import LEASE, START, Lab, SteeredClock, illegal_transitions


async def history(lab: Lab, job_id: str) -> list[str]:
    return [event.state for event in await lab.all_events() if event.key == job_id]


async def test_a_life_in_events(lab: Lab, clock: SteeredClock) -> None:
    await lab.worker("w1", lease=DAY)
    job_id = await lab.add(queue="q", delay=SECOND)
    clock.advance(SECOND)
    await lab.promote()
    claimed = await lab.claim_one()
    await lab.finish(claimed, JobState.RETRYING, delay=SECOND)
    clock.advance(SECOND)
    await lab.promote()
    claimed = await lab.claim_one()
    await lab.finish(claimed, JobState.SUCCEEDED)
    assert await history(lab, job_id) == [
        "scheduled",
        "available",
        "running",
        "retrying",
        "available",
        "running",
        "succeeded",
    ]
    events = [event for event in await lab.all_events() if event.key == job_id]
    assert {(event.subject, event.type, event.queue) for event in events} == {("job", "t", "q")}
    assert [event.at for event in events] == [
        START,
        *[START + SECOND] * 3,
        *[START + 2 * SECOND] * 3,
    ]


async def test_cancel_retry_rescue_and_burial_are_told_too(
    lab: Lab, store: Store, clock: SteeredClock
) -> None:
    await lab.worker()
    cancelled, lost = await lab.add(), await lab.running(max_retries=0)
    await store.jobs.cancel([cancelled], None)
    await store.jobs.retry([cancelled])
    clock.advance(LEASE + 1)
    await lab.rescue()
    expired, unknown = await lab.add(expires_in=1), await lab.add("unknown")
    clock.advance(SECOND)
    await store.duties.expire(lab.epoch, 10)
    await store.duties.bury(lab.epoch, "unknown", "default", clock(), 10)
    assert await history(lab, cancelled) == ["available", "cancelled", "available"]
    assert await history(lab, lost.id) == ["available", "running", "dead"]
    assert await history(lab, expired) == ["available", "cancelled"]
    assert await history(lab, unknown) == ["available", "dead"]


async def test_nothing_that_did_not_happen_is_told(lab: Lab, store: Store) -> None:
    await lab.worker()
    claimed = await lab.running()
    await lab.finish(claimed, JobState.SUCCEEDED)
    before = await lab.all_events()
    await lab.finish(claimed, JobState.DEAD)
    await store.jobs.cancel([claimed.id], None)
    await store.jobs.retry([claimed.id])
    await lab.claim()
    await store.jobs.insert([[lab.job(id=claimed.id)]])
    assert await lab.all_events() == before


async def test_pages_of_events_are_whole_and_in_order(lab: Lab, store: Store) -> None:
    await lab.worker()
    ids = [inserted.id for inserted in await lab.insert(*[lab.job() for _ in range(25)])]
    await lab.claim()
    whole = await lab.all_events()
    assert [event.key for event in whole if event.state == "available"] == ids
    paged = []
    after = "0.0"
    while page := await store.queries.events(after, 7):
        assert len(page) <= 7
        paged += page
        after = page[-1].id
    assert paged == whole
    assert len({event.id for event in whole}) == len(whole)


async def test_starting_from_the_newest(lab: Lab, store: Store) -> None:
    assert await store.queries.events(None, 10) == []
    await lab.add()
    second = await lab.add()
    [newest] = await store.queries.events(None, 10)
    assert newest.key == second
    assert await store.queries.events(newest.id, 10) == []
    third = await lab.add()
    assert [event.key for event in await store.queries.events(newest.id, 10)] == [third]


async def test_a_follower_misses_nothing_while_many_write(lab: Lab) -> None:
    stores = [lab.store, *[await lab.another() for _ in range(3)]]
    jobs = [[lab.job() for _ in range(40)] for _ in stores]
    heard: list[Event] = []
    done = False

    async def write(store: Store, jobs: list[NewJob]) -> None:
        for job in jobs:
            await store.jobs.insert([[job]])
            if job is not jobs[0]:
                await store.jobs.cancel([jobs[0].id, job.id], None)

    async def follow() -> None:
        while True:
            last = done
            page = await lab.store.queries.events(heard[-1].id if heard else "0.0", 7)
            heard.extend(page)
            if last and not page:
                return
            await asyncio.sleep(0)  # a store without threads never waits

    follower = asyncio.create_task(follow())
    await asyncio.gather(*[write(store, mine) for store, mine in zip(stores, jobs, strict=True)])
    done = True
    await follower
    assert heard == await lab.all_events()
    assert len(heard) == 4 * 40 * 2


async def test_queues_workers_and_schedules_have_events_too(lab: Lab, store: Store) -> None:
    await store.queues.set("a", paused=True, by="anna", max_depth=None, clear_depth=False)
    await lab.worker("w1")
    await store.leases.leave("w1")
    told = {(event.subject, event.key) for event in await lab.all_events()}
    assert {("queue", "a"), ("worker", "w1")} <= told


async def test_the_helper_finds_what_is_illegal(lab: Lab, store: Store) -> None:
    """The check behind every other test here can fail."""
    await lab.worker()
    claimed = await lab.running()
    await lab.finish(claimed, JobState.SUCCEEDED)
    events = await lab.all_events()
    assert illegal_transitions(events) == []
    jobs = [event for event in events if event.subject == "job"]
    assert illegal_transitions([*events, jobs[0]]) != []
    assert illegal_transitions([*events, jobs[-1]]) != []
    assert illegal_transitions([jobs[0], jobs[-1]]) != []
