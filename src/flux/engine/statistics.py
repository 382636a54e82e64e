"""Numbers for people: how much ends, how fast, and how long jobs wait and run, now and over time."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterable
from typing import Final

import msgspec

from flux.domain.duration import DAY, HOUR, MINUTE, SECOND
from flux.domain.errors import Invalid
from flux.domain.stats import percentile, slot_of
from flux.engine.ports import QueueView, RollupRow, Store

WINDOWS: Final = {"1h": (HOUR, 30 * SECOND), "24h": (DAY, 15 * MINUTE), "7d": (7 * DAY, 2 * HOUR)}
"""Window -> its length and the step of its points (µs): about a hundred points each."""

_FRESH: Final = 1.0
"""Seconds that an answer is shared: a hundred viewers cost what one costs."""
_MOST_GROUPS: Final = 200
"""Queues and types that are told apart; the busiest ones."""


class Times(msgspec.Struct, frozen=True):
    """Percentiles in microseconds; None when nothing was counted."""

    p50: int | None = None
    p95: int | None = None
    p99: int | None = None


class Numbers(msgspec.Struct, frozen=True, kw_only=True):
    """What ended in some time: by final state, failures by kind, the rate, waiting and running times."""

    finished: int
    outcomes: dict[str, int]
    errors: dict[str, int]
    per_second: float
    wait: Times
    run: Times


class Point(msgspec.Struct, frozen=True, kw_only=True):
    """One step of a chart: what ended in it, and the depth by state at its end."""

    at: int
    numbers: Numbers
    depth: dict[str, int]


class Group(msgspec.Struct, frozen=True, kw_only=True):
    """One queue or one type: the last minute and the whole window."""

    now: Numbers
    window: Numbers
    depth: dict[str, int] = {}
    oldest: int | None = None


class Statistics(msgspec.Struct, frozen=True, kw_only=True):
    """The whole of ``GET /stats``. Times are microseconds; ``depth`` is of ``sampled_at``."""

    at: int
    window: str
    step: int
    now: Numbers
    whole: Numbers
    depth: dict[str, int]
    oldest: int | None
    sampled_at: int | None
    queues: dict[str, Group]
    types: dict[str, Group]
    points: list[Point]


class Tally:
    """Counts that can be added up; percentiles come out of them."""

    __slots__ = ("errors", "outcomes", "run", "wait")

    def __init__(self) -> None:
        self.outcomes: Counter[str] = Counter()
        self.errors: Counter[str] = Counter()
        self.wait: Counter[int] = Counter()
        self.run: Counter[int] = Counter()

    def count(self, row: RollupRow) -> None:
        """Add a row."""
        self.outcomes[row.outcome] += row.count
        if row.kind:
            self.errors[row.kind] += row.count
        # A job that was cancelled before it started has neither time.
        if row.wait_bucket >= 0:
            self.wait[row.wait_bucket] += row.count
        if row.run_bucket >= 0:
            self.run[row.run_bucket] += row.count

    def numbers(self, length: int) -> Numbers:
        """What was counted, over a length of time in microseconds."""
        finished = self.outcomes.total()
        return Numbers(
            finished=finished,
            outcomes=dict(self.outcomes),
            errors=dict(self.errors),
            per_second=round(finished * SECOND / max(length, 1), 3),
            wait=_times(self.wait),
            run=_times(self.run),
        )


class _Series:
    """The rows of one window, by steps. Steps that are over never change, so only the newest are read again."""

    def __init__(self, length: int, step: int) -> None:
        self.length = length
        self.step = step
        self.rows: dict[int, list[RollupRow]] = {}
        self.depths: dict[int, Counter[str]] = {}
        self._complete_until: int | None = None

    async def refresh(self, store: Store, now: int) -> None:
        first = (now - self.length) // self.step * self.step
        since = first if self._complete_until is None else max(first, self._complete_until)
        rows = await store.queries.rollups(since, self.step)
        depths = await store.queries.depths(since, self.step)
        for kept in (self.rows, self.depths):
            for start in [start for start in kept if start < first or start >= since]:
                del kept[start]
        for row in rows:
            self.rows.setdefault(row.slot, []).append(row)
        for slot, _, state, depth in depths:
            self.depths.setdefault(slot // self.step * self.step, Counter())[state] += depth
        # One step back, for what was committed a moment late.
        self._complete_until = now // self.step * self.step - self.step

    def points(self, now: int) -> list[Point]:
        first = (now - self.length) // self.step * self.step + self.step
        found = []
        for start in range(first, now + 1, self.step):
            tally = _tally(self.rows.get(start, ()))
            length = min(self.step, now - start) or 1
            depth = dict(self.depths.get(start, {}))
            found.append(Point(at=start, numbers=tally.numbers(length), depth=depth))
        return found


class StatisticsService:
    """Reads rollups and sampled depths, never jobs; callers of the same second share one answer."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._series: dict[str, _Series] = {}
        self._answers: dict[str, tuple[float, Statistics]] = {}
        self._locks: dict[str, asyncio.Lock] = {}

    async def get(self, window: str = "1h") -> Statistics:
        """The numbers of a window (1h, 24h, 7d). Raises ``Invalid``."""
        if window not in WINDOWS:
            raise Invalid.one("window", f"must be one of {', '.join(WINDOWS)}")
        async with self._locks.setdefault(window, asyncio.Lock()):
            time = asyncio.get_running_loop().time()
            known = self._answers.get(window)
            if known is None or time - known[0] >= _FRESH:
                answer = await self._read(window)
                # From its end, so that a slow store is not asked without a pause.
                known = self._answers[window] = (asyncio.get_running_loop().time(), answer)
            return known[1]

    async def _read(self, window: str) -> Statistics:
        length, step = WINDOWS[window]
        now = await self._store.now()
        series = self._series.setdefault(window, _Series(length, step))
        await series.refresh(self._store, now)
        minute = slot_of(now - MINUTE)
        recent = await self._store.queries.rollups(minute, MINUTE)
        queues = await self._store.queues.list()
        rows = [row for rows in series.rows.values() for row in rows]
        views = {view.settings.name: view for view in queues}
        depth: Counter[str] = Counter()
        for view in queues:
            depth.update(view.depth)
        return Statistics(
            at=now,
            window=window,
            step=step,
            now=_tally(recent).numbers(now - minute),
            whole=_tally(rows).numbers(length),
            depth=dict(depth),
            oldest=min((view.oldest for view in queues if view.oldest is not None), default=None),
            sampled_at=max((view.sampled_at for view in queues if view.sampled_at is not None), default=None),
            queues=_groups("queue", rows, recent, length, now - minute, views),
            types=_groups("type", rows, recent, length, now - minute, {}),
            points=series.points(now),
        )


def _groups(
    by: str,
    rows: Iterable[RollupRow],
    recent: Iterable[RollupRow],
    length: int,
    minute: int,
    views: dict[str, QueueView],
) -> dict[str, Group]:
    whole: dict[str, Tally] = {}
    last: dict[str, Tally] = {}
    for tallies, source in ((whole, rows), (last, recent)):
        for row in source:
            name: str = row.queue if by == "queue" else row.type
            tally = tallies.get(name)
            if tally is None:
                tally = tallies[name] = Tally()
            tally.count(row)
    names = sorted(whole.keys() | last.keys() | views.keys())
    if len(names) > _MOST_GROUPS:
        busiest = sorted(names, key=lambda name: -whole[name].outcomes.total() if name in whole else 0)
        names = sorted(busiest[:_MOST_GROUPS])
    nothing = Tally()
    found = {}
    for name in names:
        view = views.get(name)
        found[name] = Group(
            now=last.get(name, nothing).numbers(minute),
            window=whole.get(name, nothing).numbers(length),
            depth={} if view is None else dict(view.depth),
            oldest=None if view is None else view.oldest,
        )
    return found


def _tally(rows: Iterable[RollupRow]) -> Tally:
    tally = Tally()
    for row in rows:
        tally.count(row)
    return tally


def _times(counts: Counter[int]) -> Times:
    return Times(percentile(counts, 0.5), percentile(counts, 0.95), percentile(counts, 0.99))
