"""Numbers for people: how much ends, how fast, and how long jobs wait and run, now and over time."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Final

import msgspec

from flux.domain.duration import DAY, HOUR, MINUTE, SECOND
from flux.domain.errors import Invalid
from flux.domain.stats import slot_of
from flux.engine.ports import QueueView, Store
from flux.engine.tallies import Numbers, Tallies, Tally

WINDOWS: Final = {"1h": (HOUR, 30 * SECOND), "24h": (DAY, 15 * MINUTE), "7d": (7 * DAY, 2 * HOUR)}
"""Window -> its length and the step of its points (µs): about a hundred points each."""

_FRESH: Final = 1.0
"""Seconds that an answer is shared: a hundred viewers cost what one costs."""
_PIECE: Final = 15 * MINUTE
_MOST_GROUPS: Final = 200
"""Queues and types that are told apart; the busiest ones."""


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


class _Series:
    """The steps of one window. Steps that are over never change, so only the newest are read again.

    The whole is kept as a running sum: what leaves the window is subtracted from it.
    """

    def __init__(self, length: int, step: int) -> None:
        self.length = length
        self.step = step
        self.whole = Tallies()
        self._steps: dict[int, Tallies] = {}
        self._numbers: dict[int, Numbers] = {}
        self._depths: dict[int, Counter[str]] = {}
        self._complete_until: int | None = None
        self._read_at: int | None = None
        # A week's chart need not move every second.
        self._every = min(step // 30, MINUTE)

    async def refresh(self, store: Store, now: int) -> None:
        """Read what is new."""
        if self._read_at is not None and 0 <= now - self._read_at < self._every:
            return
        first = (now - self.length) // self.step * self.step
        since = first if self._complete_until is None else max(first, self._complete_until)
        depths = await store.queries.depths(since, self.step)
        # In pieces, so that a week of a busy system is at no time one large answer.
        piece = max(self.step, _PIECE)
        fresh: dict[int, Tallies] = {}
        for start in range(since, now + 1, piece):
            for row in await store.queries.rollups(start, self.step, min(start + piece, now + 1)):
                fresh.setdefault(row.slot, Tallies()).count(row)
        for start in [start for start in self._steps if start < first or start >= since]:
            self.whole.add(self._steps.pop(start), -1)
            self._numbers.pop(start, None)
        for start, tallies in fresh.items():
            self._steps[start] = tallies
            self.whole.add(tallies)
        for start in [start for start in self._depths if start < first or start >= since]:
            del self._depths[start]
        for slot, _, state, depth in depths:
            self._depths.setdefault(slot // self.step * self.step, Counter())[state] += depth
        # One step back, for what was committed a moment late.
        self._complete_until = now // self.step * self.step - self.step
        self._read_at = now

    def points(self, now: int) -> list[Point]:
        """One for each step up to now."""
        first = (now - self.length) // self.step * self.step + self.step
        found = []
        for start in range(first, now + 1, self.step):
            numbers = self._numbers.get(start)
            if numbers is None:
                tallies = self._steps.get(start)
                tally = Tally() if tallies is None else tallies.all
                numbers = tally.numbers(min(self.step, now - start) or 1)
                if start + self.step <= now:
                    self._numbers[start] = numbers
            found.append(Point(at=start, numbers=numbers, depth=dict(self._depths.get(start, {}))))
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
        recent = Tallies()
        for row in await self._store.queries.rollups(minute, MINUTE):
            recent.count(row)
        queues = await self._store.queues.list()
        views = {view.settings.name: view for view in queues}
        depth: Counter[str] = Counter()
        for view in queues:
            depth.update(view.depth)
        lengths = (length, now - minute)
        return Statistics(
            at=now,
            window=window,
            step=step,
            now=recent.all.numbers(now - minute),
            whole=series.whole.all.numbers(length),
            depth=dict(depth),
            oldest=min((view.oldest for view in queues if view.oldest is not None), default=None),
            sampled_at=max((view.sampled_at for view in queues if view.sampled_at is not None), default=None),
            queues=_groups(series.whole.queues, recent.queues, lengths, views),
            types=_groups(series.whole.types, recent.types, lengths, {}),
            points=series.points(now),
        )


def _groups(
    whole: dict[str, Tally], recent: dict[str, Tally], lengths: tuple[int, int], views: dict[str, QueueView]
) -> dict[str, Group]:
    nothing = Tally()
    names = sorted(whole.keys() | recent.keys() | views.keys())
    if len(names) > _MOST_GROUPS:
        busiest = sorted(names, key=lambda name: -whole.get(name, nothing).outcomes.total())
        names = sorted(busiest[:_MOST_GROUPS])
    found = {}
    for name in names:
        view = views.get(name)
        found[name] = Group(
            window=whole.get(name, nothing).numbers(lengths[0]),
            now=recent.get(name, nothing).numbers(lengths[1]),
            depth={} if view is None else dict(view.depth),
            oldest=None if view is None else view.oldest,
        )
    return found
