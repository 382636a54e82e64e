"""Counts of what ended, which can be added up and subtracted; rates and percentiles come out of them."""

from __future__ import annotations

from collections import Counter

import msgspec

from flux.domain.duration import SECOND
from flux.domain.stats import percentile
from flux.engine.ports import RollupRow


class Times(msgspec.Struct, frozen=True):
    """Percentiles in microseconds; None when nothing was counted."""

    p50: int | None = None
    p95: int | None = None
    p99: int | None = None


class Numbers(msgspec.Struct, frozen=True, kw_only=True):
    """What ended in some time: by final state, dead jobs by kind of error, the rate, waiting and running times."""

    finished: int
    outcomes: dict[str, int]
    errors: dict[str, int]
    per_second: float
    wait: Times
    run: Times


class Tally:
    """The counts of one queue, of one type, or of all."""

    __slots__ = ("errors", "outcomes", "run", "wait")

    def __init__(self) -> None:
        self.outcomes: Counter[str] = Counter()
        self.errors: Counter[str] = Counter()
        self.wait: Counter[int] = Counter()
        self.run: Counter[int] = Counter()

    def count(self, row: RollupRow) -> None:
        """Add a row."""
        self.outcomes[row.outcome] += row.count
        # What was cancelled or expired carries an error too, and did not fail.
        if row.kind and row.outcome == "dead":
            self.errors[row.kind] += row.count
        # A job that was cancelled before it started has neither time.
        if row.wait_bucket >= 0:
            self.wait[row.wait_bucket] += row.count
        if row.run_bucket >= 0:
            self.run[row.run_bucket] += row.count

    def add(self, other: Tally, sign: int = 1) -> None:
        """Add another one, or subtract what was added before."""
        for name in self.__slots__:
            mine, theirs = getattr(self, name), getattr(other, name)
            for key, count in theirs.items():
                mine[key] += sign * count
                if not mine[key]:
                    del mine[key]

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


class Tallies:
    """The counts of some time: of all, by queue and by type."""

    __slots__ = ("all", "queues", "types")

    def __init__(self) -> None:
        self.all = Tally()
        self.queues: dict[str, Tally] = {}
        self.types: dict[str, Tally] = {}

    def count(self, row: RollupRow) -> None:
        """Add a row."""
        self.all.count(row)
        _of(self.queues, row.queue).count(row)
        _of(self.types, row.type).count(row)

    def add(self, other: Tallies, sign: int = 1) -> None:
        """Add another time, or subtract one that was added before."""
        self.all.add(other.all, sign)
        for mine, theirs in ((self.queues, other.queues), (self.types, other.types)):
            for name, tally in theirs.items():
                _of(mine, name).add(tally, sign)
                if not mine[name].outcomes:
                    del mine[name]


def _of(tallies: dict[str, Tally], name: str) -> Tally:
    tally = tallies.get(name)
    if tally is None:
        tally = tallies[name] = Tally()
    return tally


def _times(counts: Counter[int]) -> Times:
    return Times(percentile(counts, 0.5), percentile(counts, 0.95), percentile(counts, 0.99))
