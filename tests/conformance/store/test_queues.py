"""Queues: what people set on them, and how deep they are."""

from __future__ import annotations

from flux.domain.duration import HOUR, SECOND
from flux.domain.job import JobState
from flux.engine.ports import QueueSettings, QueueView, Store
from tests.conformance.store.lab import START, Lab, SteeredClock


async def by_name(store: Store) -> dict[str, QueueView]:
    return {view.settings.name: view for view in await store.queues.list()}


async def test_an_empty_store_has_no_queues(store: Store) -> None:
    assert await store.queues.list() == []


async def test_a_queue_exists_from_its_first_job_on(lab: Lab, store: Store) -> None:
    await lab.add(queue="b")
    await lab.add(queue="a", delay=SECOND)
    await store.duties.sample_depth(await lab.lead())
    assert [view.settings.name for view in await store.queues.list()] == ["a", "b"]
    assert (await by_name(store))["a"].settings == QueueSettings(name="a")


async def test_a_queue_exists_from_its_first_setting_on(store: Store) -> None:
    settings = await store.queues.set("a", paused=None, by=None, max_depth=10, clear_depth=False)
    assert settings == QueueSettings(name="a", max_depth=10)
    assert (await by_name(store))["a"].settings == settings


async def test_pausing_tells_who_and_when(store: Store, clock: SteeredClock) -> None:
    clock.advance(SECOND)
    settings = await store.queues.set("a", paused=True, by="anna", max_depth=None, clear_depth=False)
    assert settings == QueueSettings(
        name="a", paused=True, paused_at=START + SECOND, paused_by="anna", max_depth=None
    )
    settings = await store.queues.set("a", paused=False, by="bert", max_depth=None, clear_depth=False)
    assert not settings.paused
    assert (await by_name(store))["a"].settings == settings


async def test_settings_do_not_touch_each_other(store: Store) -> None:
    await store.queues.set("a", paused=True, by="anna", max_depth=None, clear_depth=False)
    settings = await store.queues.set("a", paused=None, by="bert", max_depth=5, clear_depth=False)
    assert (settings.paused, settings.paused_by, settings.max_depth) == (True, "anna", 5)
    settings = await store.queues.set("a", paused=False, by="bert", max_depth=None, clear_depth=False)
    assert (settings.paused, settings.max_depth) == (False, 5)
    settings = await store.queues.set("a", paused=None, by=None, max_depth=None, clear_depth=True)
    assert settings.max_depth is None


async def test_depth_by_state_and_the_oldest(lab: Lab, store: Store, clock: SteeredClock) -> None:
    await lab.worker(lease=HOUR)
    await lab.running(queue="a")
    retrying = await lab.running(queue="a")
    await lab.finish(retrying, JobState.RETRYING, delay=HOUR)
    await lab.ended(JobState.SUCCEEDED, queue="a")
    clock.advance(SECOND)
    await lab.add(queue="a")
    clock.advance(SECOND)
    await lab.add(queue="a")
    await lab.add(queue="a", delay=HOUR)
    await lab.add(queue="b", delay=HOUR)
    await store.duties.sample_depth(await lab.lead())
    views = await by_name(store)
    assert {state: n for state, n in views["a"].depth.items() if n} == {
        "available": 2,
        "scheduled": 1,
        "retrying": 1,
        "running": 1,
    }
    assert (views["a"].oldest, views["a"].sampled_at) == (START + SECOND, START + 2 * SECOND)
    assert {state: n for state, n in views["b"].depth.items() if n} == {"scheduled": 1}
    assert views["b"].oldest is None


async def test_a_queue_that_was_emptied_shows_nothing(lab: Lab, store: Store, clock: SteeredClock) -> None:
    await lab.worker(lease=HOUR)
    claimed = await lab.running(queue="a")
    epoch = await lab.lead()
    await store.duties.sample_depth(epoch)
    await lab.finish(claimed, JobState.SUCCEEDED)
    clock.advance(SECOND)
    await store.duties.sample_depth(epoch)
    view = (await by_name(store))["a"]
    assert {state: n for state, n in view.depth.items() if n} == {}


async def test_depth_over_time(lab: Lab, store: Store, clock: SteeredClock) -> None:
    epoch = await lab.lead()
    await lab.add(queue="a")
    await store.duties.sample_depth(epoch)
    clock.advance(10 * SECOND)
    await lab.add(queue="a")
    await store.duties.sample_depth(epoch)
    series = [
        (queue, state, depth) for _, queue, state, depth in sorted(await store.queries.depths(START - HOUR))
    ]
    assert series == [("a", "available", 1), ("a", "available", 2)]
    later = await store.queries.depths(START + 5 * SECOND)
    assert [depth for _, _, _, depth in later] == [2]


async def test_the_oldest_waits_no_longer_than_it_is_there(
    lab: Lab, store: Store, clock: SteeredClock
) -> None:
    await lab.add(queue="a", run_at=1)
    clock.advance(HOUR)
    await store.duties.sample_depth(await lab.lead())
    assert (await by_name(store))["a"].oldest == START
