"""Leases: who is alive, until when, and what a heartbeat is told."""

from __future__ import annotations

import pytest

from flux.domain.duration import MINUTE, SECOND
from flux.domain.errors import LeaseLost
from flux.domain.job import JobState
from flux.engine.ports import Renewal, RunningJob, Store
from tests.conformance.store.lab import LEASE, START, Lab, SteeredClock


async def test_a_worker_is_seen_as_it_registered(lab: Lab, store: Store, clock: SteeredClock) -> None:
    clock.advance(SECOND)
    await lab.worker("w1", types=("b", "a"), queues="default,email:5", slots=7)
    [view] = await store.queries.workers()
    assert (view.info.id, view.info.host, view.info.pid, view.info.version) == ("w1", "host", 1, "0")
    assert (set(view.info.types), view.info.queues, view.info.slots) == ({"a", "b"}, "default,email:5", 7)
    assert (view.started_at, view.seen_at) == (START + SECOND, START + SECOND)
    assert view.lease_until == START + SECOND + LEASE
    assert (view.busy, view.draining, view.alive) == (0, False, True)


async def test_a_renewal_extends_the_lease_from_now(lab: Lab, store: Store, clock: SteeredClock) -> None:
    await lab.worker()
    clock.advance(LEASE - SECOND)
    assert await store.leases.renew("w1", LEASE) == Renewal()
    [view] = await store.queries.workers()
    assert view.seen_at == START + LEASE - SECOND
    assert view.lease_until == START + 2 * LEASE - SECOND
    clock.advance(LEASE - 1)
    await lab.add()
    assert len(await lab.claim()) == 1


async def test_what_runs_under_a_worker_is_counted_as_it_is_read(lab: Lab, store: Store) -> None:
    await lab.worker("w1")
    await lab.worker("w2")
    await lab.add()
    [first, second, third] = [await lab.running("w1"), await lab.running("w1"), await lab.running("w2")]
    counts = {view.info.id: view.busy for view in await store.queries.workers()}
    assert counts == {"w1": 2, "w2": 1}
    await lab.finish(first, JobState.SUCCEEDED)
    await lab.finish(second, JobState.RETRYING)
    await store.jobs.cancel([third.id], None)  # which runs on until its worker has heard of it
    counts = {view.info.id: view.busy for view in await store.queries.workers()}
    assert counts == {"w1": 0, "w2": 1}


async def test_what_runs_under_each_worker_is_told_from_the_longest_on(
    lab: Lab, store: Store, clock: SteeredClock
) -> None:
    await lab.worker("w1")
    await lab.worker("w2")
    created_first = await lab.add()
    first = await lab.running("w1", type="report", queue="mail")
    clock.advance(SECOND)
    other = await lab.running("w2")
    [second] = await lab.claim("w1", hints=(created_first,))
    await lab.add()

    async def told(most: int) -> dict[str, list[str]]:
        return {view.info.id: [job.id for job in view.running] for view in await store.queries.workers(most)}

    assert {view.info.id: view.running for view in await store.queries.workers()} == {"w1": (), "w2": ()}
    assert await told(10) == {"w1": [first.id, second.id], "w2": [other.id]}
    views = {view.info.id: view for view in await store.queries.workers(1)}
    assert views["w1"].running == (RunningJob(first.id, "report", "mail", 1, START),)
    assert views["w1"].busy == 2
    await lab.finish(first, JobState.RETRYING)
    assert await told(10) == {"w1": [second.id], "w2": [other.id]}
    # It still runs under a worker that is gone, until it is rescued.
    await store.leases.leave("w1")
    assert await told(10) == {"w1": [second.id], "w2": [other.id]}


async def test_a_lapsed_lease_cannot_be_renewed(lab: Lab, store: Store, clock: SteeredClock) -> None:
    await lab.worker()
    clock.advance(LEASE + 1)
    with pytest.raises(LeaseLost):
        await store.leases.renew("w1", LEASE)
    # Not even by asking again.
    with pytest.raises(LeaseLost):
        await store.leases.renew("w1", LEASE)
    [view] = await store.queries.workers()
    assert not view.alive


async def test_what_never_was_or_has_left_cannot_be_renewed(lab: Lab, store: Store) -> None:
    with pytest.raises(LeaseLost):
        await store.leases.renew("nobody", LEASE)
    await lab.worker()
    await store.leases.leave("w1")
    with pytest.raises(LeaseLost):
        await store.leases.renew("w1", LEASE)


async def test_orders_do_not_renew(lab: Lab, store: Store, clock: SteeredClock) -> None:
    await lab.worker()
    clock.advance(LEASE - 1)
    assert await store.leases.orders("w1") == Renewal()
    clock.advance(2)
    with pytest.raises(LeaseLost):
        await store.leases.renew("w1", LEASE)


async def test_leaving_twice_or_unknown_is_no_error(lab: Lab, store: Store) -> None:
    await lab.worker()
    await store.leases.leave("w1")
    await store.leases.leave("w1")
    await store.leases.leave("nobody")


async def test_a_worker_is_asked_to_drain(lab: Lab, store: Store) -> None:
    await lab.worker("w1")
    await lab.worker("w2")
    assert await store.queries.drain("w1")
    assert (await store.leases.renew("w1", LEASE)).drain
    assert (await store.leases.orders("w1")).drain
    assert not (await store.leases.renew("w2", LEASE)).drain
    draining = {view.info.id: view.draining for view in await store.queries.workers()}
    assert draining == {"w1": True, "w2": False}
    assert await store.queries.drain("w1")  # asked twice, it is told once
    told = [(event.key, event.state) for event in await lab.all_events() if event.subject == "worker"]
    assert told == [("w1", "alive"), ("w2", "alive"), ("w1", "draining")]


async def test_only_a_living_worker_drains(lab: Lab, store: Store, clock: SteeredClock) -> None:
    assert not await store.queries.drain("nobody")
    await lab.worker()
    clock.advance(LEASE + 1)
    assert not await store.queries.drain("w1")


async def test_workers_are_shown_newest_first_and_for_an_hour(
    lab: Lab, store: Store, clock: SteeredClock
) -> None:
    await lab.worker("old")
    clock.advance(SECOND)
    await lab.worker("new")
    assert [view.info.id for view in await store.queries.workers()] == ["new", "old"]
    clock.advance(50 * MINUTE)
    assert [view.alive for view in await store.queries.workers()] == [False, False]
    clock.advance(20 * MINUTE)
    assert await store.queries.workers() == []


async def test_a_second_connection_speaks_of_the_same_leases(
    lab: Lab, store: Store, clock: SteeredClock
) -> None:
    leases = store.lease_connection()
    await lab.worker()
    claimed = await lab.running()
    await store.jobs.cancel([claimed.id], None)
    clock.advance(LEASE - SECOND)
    assert (await leases.renew("w1", LEASE)).cancels == (claimed.id,)
    clock.advance(2 * SECOND)
    assert await lab.rescue() == 0
    await leases.leave("w1")
    await leases.close()
    assert await lab.rescue() == 1
    assert await lab.state(claimed.id) == JobState.CANCELLED
