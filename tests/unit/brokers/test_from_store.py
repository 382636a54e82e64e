"""The store as its own broker: look when there is reason to, and not otherwise."""

from __future__ import annotations

from flux.brokers.from_store import StoreBroker
from flux.engine.ports import Demand, Topic

JOBS = ("a", "b", "c", "d", "e")


class Steered:
    """Changes that a test makes; as long as nothing changes, a wait is over at once."""

    def __init__(self) -> None:
        self.number = 0
        self.waits: list[int] = []

    @property
    def changes(self) -> Steered:
        return self

    def version(self, about: Topic = Topic.ANY) -> int:
        return self.number

    async def wait(self, seen: int, timeout: float, about: Topic = Topic.ANY) -> int:
        self.waits.append(seen)
        return self.number


def demand(worker: str = "w", slots: int = 5) -> Demand:
    return Demand(worker_id=worker, types=("t",), slots=slots)


async def test_it_looks_once_for_each_change() -> None:
    store = Steered()
    broker = StoreBroker(store)
    for _ in range(3):
        offer = await broker.receive(demand(), 1)
        assert offer is not None
        assert offer.ids is None
        await broker.acknowledge(offer, demand(), JOBS[:2])
        assert store.waits == []
        store.number += 1


async def test_a_full_claim_is_a_reason_to_look_again() -> None:
    store = Steered()
    broker = StoreBroker(store)
    offer = await broker.receive(demand(), 1)
    assert offer is not None
    await broker.acknowledge(offer, demand(), JOBS)
    assert await broker.receive(demand(), 1) is not None
    assert store.waits == []


async def test_a_claim_that_failed_is_a_reason_to_look_again() -> None:
    store = Steered()
    broker = StoreBroker(store)
    assert await broker.receive(demand(), 1) is not None
    assert await broker.receive(demand(), 1) is not None
    assert store.waits == []


async def test_a_change_during_the_claim_is_not_missed() -> None:
    store = Steered()
    broker = StoreBroker(store)
    offer = await broker.receive(demand(), 1)
    assert offer is not None
    store.number += 1
    await broker.acknowledge(offer, demand(), ())
    assert await broker.receive(demand(), 1) is not None
    assert store.waits == []


async def test_after_a_silence_it_looks_anyway() -> None:
    store = Steered()
    broker = StoreBroker(store)
    offer = await broker.receive(demand(), 1)
    assert offer is not None
    await broker.acknowledge(offer, demand(), ())
    assert await broker.receive(demand(), 1) is None
    assert store.waits == [0]
    assert await broker.receive(demand(), 1) is not None


async def test_workers_look_for_themselves() -> None:
    store = Steered()
    broker = StoreBroker(store)
    offer = await broker.receive(demand("one"), 1)
    assert offer is not None
    await broker.acknowledge(offer, demand("one"), ())
    assert await broker.receive(demand("two"), 1) is not None
    await broker.publish([])
    assert await broker.health() is None


async def test_workers_that_lapsed_leave_little_behind() -> None:
    broker = StoreBroker(Steered())
    for number in range(3000):
        worker = f"w{number}"
        offer = await broker.receive(demand(worker), 1)
        assert offer is not None
        if number % 2:
            await broker.acknowledge(offer, demand(worker), ())
    assert len(broker._looking) < 500
    assert len(broker._looked) < 500
