"""Latency: from enqueue to the handler's start on an idle worker, and how late a delayed job starts."""

from __future__ import annotations

import asyncio
import time

from benchmarks import harness
from benchmarks.machine import percentile
from flux.domain.job import NewJob
from flux.engine.context import Context
from flux.engine.handler import Handler


async def measure(rounds: int, delayed: int) -> dict[str, float]:
    """Milliseconds: ``start_p50``, ``start_p99``, ``late_p50``, ``late_max``."""
    started = asyncio.Event()
    at = 0.0
    late: list[float] = []
    all_late = asyncio.Event()

    async def noop(_: Context) -> None:
        nonlocal at
        at = time.perf_counter()
        started.set()

    async def due(context: Context) -> None:
        late.append((time.time_ns() // 1000 - context.claimed.run_at) / 1000)
        if len(late) == delayed:
            all_late.set()

    handlers = {"noop": Handler(type="noop", call=noop), "due": Handler(type="due", call=due)}
    waits = []
    with harness.database() as path:
        async with harness.engine(path) as engine, harness.working(engine, handlers, 10):
            for _ in range(rounds):
                await asyncio.sleep(0.02)
                started.clear()
                begun = time.perf_counter()
                await engine.enqueuer.insert([NewJob(id=engine.ids.new(), type="noop")])
                await started.wait()
                waits.append((at - begun) * 1000)
            for n in range(delayed):
                await engine.enqueuer.insert(
                    [NewJob(id=engine.ids.new(), type="due", delay=200_000 + n * 37_000)]
                )
            await all_late.wait()
    return {
        "start_p50": percentile(waits, 0.5),
        "start_p99": percentile(waits, 0.99),
        "late_p50": percentile(late, 0.5),
        "late_max": max(late),
    }


def main(rounds: int = 500, delayed: int = 50) -> dict[str, float]:
    """One round."""
    return harness.run(measure(rounds, delayed))


if __name__ == "__main__":
    for name, value in main().items():
        print(f"{name} {value:.2f} ms")
