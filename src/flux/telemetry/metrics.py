"""What Prometheus scrapes: made from the store, so that any process can serve it, by a registry that the app owns."""

from __future__ import annotations

import asyncio
import time
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Final

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from flux.domain.duration import MINUTE, SECOND
from flux.domain.errors import FluxError
from flux.domain.job import LIVE
from flux.domain.stats import bucket_bounds
from flux.engine.counts import Counts
from flux.engine.engine import Engine
from flux.engine.ports import QueueView, RollupRow, WorkerView

CONTENT_TYPE: Final = b"text/plain; version=0.0.4; charset=utf-8"

BOUNDS: Final = (
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 1800.0, 7200.0,
)  # fmt: skip
"""Upper bounds of the histograms' buckets, in seconds."""

MOST_QUEUES: Final = 200
MOST_TYPES: Final = 500
OTHER: Final = "_other"
"""The label of what is past these numbers, and of types that no worker has ever known."""

_STEP: Final = 15 * MINUTE
_SHARED: Final = 1.0
"""Seconds that one reading of the store serves all scrapes."""

# An unknown type is only a word in somebody's request; so may be one that was never started.
_NEVER_RAN: Final = frozenset({"unknown_type", "expired", "cancelled"})


class JobTotals:
    """Finished jobs counted up from the store's rollups; what was counted once stays, also when it is pruned there."""

    def __init__(self) -> None:
        self.ended: Counter[tuple[str, str, str]] = Counter()
        self.failed: Counter[tuple[str, str, str]] = Counter()
        self.ran: dict[tuple[str, str], Counter[int]] = {}
        self.waited: dict[str, Counter[int]] = {}
        self._seen: dict[RollupRow, int] = {}
        self._counted_at = 0
        self._queues: set[str] = set()
        self._types: set[str] = set()

    def since(self) -> int:
        """From when on rollups have to be read: all at first, then what may have grown since the last count."""
        return max(self._counted_at // _STEP - 1, 0) * _STEP

    def count(self, rows: Iterable[RollupRow], known_types: frozenset[str], now: int) -> None:
        """Add what is new in these rows, summed up by steps of `_STEP` from ``since()`` on and read after ``now``."""
        rows = list(rows)
        for row in rows:
            if row.kind not in _NEVER_RAN or row.type in known_types:
                self._admit(self._types, row.type, MOST_TYPES)
            self._admit(self._queues, row.queue, MOST_QUEUES)
        seen: dict[RollupRow, int] = {}
        for row in rows:
            key = RollupRow(
                row.slot, row.queue, row.type, row.outcome, row.kind, row.wait_bucket, row.run_bucket, 0
            )
            seen[key] = row.count
            self._add(row, row.count - self._seen.get(key, 0))
        self._seen = seen
        self._counted_at = now

    def queue(self, name: str) -> str:
        """The label of a queue."""
        self._admit(self._queues, name, MOST_QUEUES)
        return name if name in self._queues else OTHER

    def _add(self, row: RollupRow, new: int) -> None:
        if new <= 0:
            return
        queue = row.queue if row.queue in self._queues else OTHER
        type = row.type if row.type in self._types else OTHER
        self.ended[queue, type, row.outcome] += new
        # What a person cancelled has not failed.
        if row.kind and row.outcome != "cancelled":
            self.failed[queue, type, row.kind] += new
        if row.run_bucket >= 0:
            self.ran.setdefault((queue, type), Counter())[row.run_bucket] += new
        if row.wait_bucket >= 0:
            self.waited.setdefault(queue, Counter())[row.wait_bucket] += new

    @staticmethod
    def _admit(names: set[str], name: str, most: int) -> None:
        if len(names) < most:
            names.add(name)


class Metrics:
    """Reads the store at most once a second and writes the text that Prometheus reads."""

    def __init__(self, engine: Engine, more: Callable[[], Iterable[Metric]] | None = None) -> None:
        self._engine = engine
        self._totals = JobTotals()
        self._reading = _Reading()
        self._more = more
        self._read_at = float("-inf")
        self._lock = asyncio.Lock()
        self._registry = CollectorRegistry()
        self._registry.register(_Families(self))

    async def text(self) -> bytes:
        """The metrics as text. When the store is away they are the last ones known, and `flux_store_up` is 0."""
        async with self._lock:
            if time.monotonic() - self._read_at >= _SHARED:
                await self._read()
                self._read_at = time.monotonic()
            return generate_latest(self._registry)

    async def _read(self) -> None:
        reading, store = self._reading, self._engine.store
        started = time.perf_counter()
        try:
            async with asyncio.timeout(5):
                now = await store.now()
                workers = await store.queries.workers()
                queues = await store.queues.list()
                reading.store_seconds = time.perf_counter() - started
                due = await store.duties.next_due()
                rows = await store.queries.rollups(self._totals.since(), _STEP)
        except (FluxError, TimeoutError):
            reading.up = False
            return
        reading.up = True
        reading.workers = [worker for worker in workers if worker.alive]
        reading.queues = queues
        reading.lag = max(now - due, 0) / SECOND if due is not None else 0.0
        known = frozenset(type for worker in workers for type in worker.info.types)
        self._totals.count(rows, known, now)
        started = time.perf_counter()
        try:
            async with asyncio.timeout(2):
                reading.broker_up = await self._engine.broker.health() is None
        except (FluxError, TimeoutError, OSError):
            reading.broker_up = False
        reading.broker_seconds = time.perf_counter() - started

    def families(self) -> Iterable[Metric]:
        """All metrics, from the last reading."""
        yield from _of_jobs(self._totals)
        yield from _of_queues(self._totals, self._reading.queues)
        yield from _of_workers(self._reading.workers)
        yield from _of_parts(self._reading)
        yield from _of_repairs(self._engine.counts)
        if self._more is not None:
            yield from self._more()


def _of_repairs(counts: Counts) -> Iterable[Metric]:
    """What this process put right: in one that runs no scheduler or worker both stay 0."""
    yield CounterMetricFamily(
        "flux_rescues", "Running jobs that this process's scheduler took back.", value=counts.rescues
    )
    yield CounterMetricFamily(
        "flux_reconciliations",
        "Jobs that this process's worker held on paper only, and handed back.",
        value=counts.reconciliations,
    )


class _Reading:
    """What the last look at the store found."""

    def __init__(self) -> None:
        self.up = False
        self.broker_up = False
        self.workers: list[WorkerView] = []
        self.queues: list[QueueView] = []
        self.lag = 0.0
        self.store_seconds = 0.0
        self.broker_seconds = 0.0


class _Families(Collector):
    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics

    def collect(self) -> Iterable[Metric]:
        return self._metrics.families()

    def describe(self) -> Iterable[Metric]:
        # Nothing to say before the first reading; the registry would collect otherwise.
        return []


def _of_jobs(totals: JobTotals) -> Iterable[Metric]:
    ended = CounterMetricFamily(
        "flux_jobs", "Jobs that ended, by final state.", labels=["queue", "type", "outcome"]
    )
    for labels, count in totals.ended.items():
        ended.add_metric(list(labels), count)
    yield ended
    failed = CounterMetricFamily(
        "flux_jobs_failed", "Jobs that ended in failure, by kind of error.", labels=["queue", "type", "kind"]
    )
    for labels, count in totals.failed.items():
        failed.add_metric(list(labels), count)
    yield failed
    ran = HistogramMetricFamily(
        "flux_jobs_duration_seconds", "How long the last attempt of ended jobs ran.", labels=["queue", "type"]
    )
    for pair, counts in totals.ran.items():
        ran.add_metric(list(pair), *_histogram(counts))
    yield ran
    waited = HistogramMetricFamily(
        "flux_jobs_wait_seconds", "How long ended jobs waited from due to started.", labels=["queue"]
    )
    for queue, counts in totals.waited.items():
        waited.add_metric([queue], *_histogram(counts))
    yield waited


def _of_queues(totals: JobTotals, queues: list[QueueView]) -> Iterable[Metric]:
    depth: Counter[tuple[str, str]] = Counter()
    paused: Counter[str] = Counter()
    for view in queues:
        name = totals.queue(view.settings.name)
        paused[name] = max(paused[name], int(view.settings.paused))
        for state in LIVE:
            depth[name, state.value] += view.depth.get(state, 0)
    depths = GaugeMetricFamily("flux_queue_depth", "Jobs that have not ended.", labels=["queue", "state"])
    for labels, count in depth.items():
        depths.add_metric(list(labels), count)
    yield depths
    pauses = GaugeMetricFamily("flux_queue_paused", "1 when the queue is paused.", labels=["queue"])
    for name, value in paused.items():
        pauses.add_metric([name], value)
    yield pauses


def _of_workers(workers: list[WorkerView]) -> Iterable[Metric]:
    yield GaugeMetricFamily("flux_workers_active", "Workers that are alive.", value=len(workers))
    slots = GaugeMetricFamily("flux_worker_slots", "Slots of live workers.", labels=["state"])
    total = sum(worker.info.slots for worker in workers)
    busy = min(sum(worker.busy for worker in workers), total)
    slots.add_metric(["busy"], busy)
    slots.add_metric(["free"], total - busy)
    yield slots


def _of_parts(reading: _Reading) -> Iterable[Metric]:
    yield GaugeMetricFamily(
        "flux_scheduler_lag_seconds", "How long the oldest thing that is due has been due.", value=reading.lag
    )
    yield GaugeMetricFamily("flux_store_up", "1 when the store answers.", value=int(reading.up))
    yield GaugeMetricFamily("flux_broker_up", "1 when the broker answers.", value=int(reading.broker_up))
    yield GaugeMetricFamily(
        "flux_store_latency_seconds", "How long the last three small reads took.", value=reading.store_seconds
    )
    yield GaugeMetricFamily(
        "flux_broker_latency_seconds", "How long the broker took to answer.", value=reading.broker_seconds
    )


def _histogram(counts: Counter[int]) -> tuple[list[tuple[str, float]], float]:
    """(bound, count up to it), and the sum: a duration counts as the middle of its bucket in the store."""
    within = [0] * (len(BOUNDS) + 1)
    total = 0.0
    for bucket, count in counts.items():
        low, high = bucket_bounds(bucket)
        middle = (low + high - 1) / 2 / SECOND
        within[bisect_left(BOUNDS, middle)] += count
        total += middle * count
    buckets, below = [], 0
    for bound, count in zip((*map(str, BOUNDS), "+Inf"), within, strict=True):
        below += count
        buckets.append((bound, float(below)))
    return buckets, total
