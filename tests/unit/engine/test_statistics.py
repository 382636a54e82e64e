"""Numbers over time: what is counted, and how little is read for it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from flux.domain.duration import HOUR, MINUTE, SECOND
from flux.domain.errors import Invalid
from flux.domain.stats import bucket
from flux.engine import statistics
from flux.engine.ports import QueueSettings, QueueView, RollupRow
from flux.engine.statistics import StatisticsService

START = 1_790_000_040 * SECOND // HOUR * HOUR


class Rollups:
    """A store that has only rollups, and counts how often and how far back it is asked."""

    def __init__(self) -> None:
        self.time = START
        self.rows: list[RollupRow] = []
        self.asked: list[tuple[int, int]] = []
        self.queries = self
        self.queues = self

    async def now(self) -> int:
        return self.time

    async def rollups(self, since: int, step: int, until: int | None = None) -> list[RollupRow]:
        self.asked.append((since, step))
        await asyncio.sleep(0)
        return [
            RollupRow(
                row.slot // step * step, row.queue, row.type, row.outcome, row.kind, row.wait_bucket,
                row.run_bucket, row.count,
            )
            for row in self.rows
            if row.slot >= since and (until is None or row.slot < until)
        ]  # fmt: skip

    async def depths(self, since: int, step: int) -> list[tuple[int, str, str, int]]:
        return [(self.time, "q", "available", 4), (self.time, "r", "available", 5)]

    async def list(self) -> list[QueueView]:
        settings = QueueSettings(name="q")
        return [QueueView(settings=settings, depth={"available": 4}, oldest=9, sampled_at=self.time)]

    def end(self, ago: int, count: int, outcome: str = "succeeded", queue: str = "q", kind: str = "") -> None:
        waited = -1 if outcome == "cancelled" else bucket(1000)
        slot = (self.time - ago) // (10 * SECOND) * (10 * SECOND)
        self.rows.append(RollupRow(slot, queue, "t", outcome, kind, waited, waited, count))


@pytest.fixture
def tick(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    def expire() -> None:
        monkeypatch.setattr(statistics, "_FRESH", 0.0)

    return expire


async def test_counts_rates_and_percentiles() -> None:
    store: Any = Rollups()
    store.end(30 * SECOND, 60)
    store.end(30 * MINUTE, 40)
    store.end(30 * MINUTE, 10, "dead", "r", "timeout")
    store.end(20 * MINUTE, 5, "cancelled", kind="cancelled")
    found = await StatisticsService(store).get()
    assert found.whole.outcomes == {"succeeded": 100, "dead": 10, "cancelled": 5}
    assert found.whole.errors == {"timeout": 10}, "of those that died"
    assert found.whole.finished == 115
    assert (found.now.finished, found.now.per_second) == (60, 1.0)
    assert found.whole.wait.p50 is not None
    assert 800 <= found.whole.wait.p50 <= 1200
    assert found.queues["q"].window.finished == 105
    assert found.queues["r"].now.finished == 0
    assert found.queues["q"].depth == found.depth == {"available": 4}
    assert found.types["t"].window.finished == 115
    assert len(found.points) == 120
    assert sum(point.numbers.finished for point in found.points) == 115
    assert found.points[-1].depth == {"available": 9}
    assert found.points[-1].at == START


async def test_many_viewers_share_one_look() -> None:
    store: Any = Rollups()
    service = StatisticsService(store)
    answers = await asyncio.gather(*(service.get() for _ in range(100)))
    assert len({id(answer) for answer in answers}) == 1
    assert len(store.asked) == 6  # the window in pieces, and the last minute


async def test_steps_that_are_over_are_not_read_again(tick: Callable[[], None]) -> None:
    tick()
    store: Any = Rollups()
    service = StatisticsService(store)
    store.end(30 * MINUTE, 7)
    store.end(59 * MINUTE + 50 * SECOND, 3)
    first = await service.get()
    assert first.whole.finished == 10
    for _ in range(10):
        store.time += 15 * SECOND
        store.end(0, 1)
        found = await service.get()
        since, step = store.asked[-2]
        assert step == 30 * SECOND
        assert store.time - since <= 90 * SECOND
    # What has left the window is forgotten, what came since is there.
    assert found.whole.finished == 17


async def test_an_unknown_window_is_refused() -> None:
    store: Any = Rollups()
    with pytest.raises(Invalid):
        await StatisticsService(store).get("1y")
