"""Drain: how many waiting no-op jobs one worker process finishes a second, every transition committed."""

from __future__ import annotations

import asyncio
import time

from benchmarks import harness


async def measure(total: int, concurrency: int) -> float:
    """Jobs a second, from the worker's start to the last outcome in the store."""
    done = asyncio.Event()
    with harness.database() as path:
        async with harness.engine(path) as engine:
            for start in range(0, total, 1000):
                batch = harness.jobs(engine.ids.new, min(1000, total - start))
                await engine.enqueuer.insert(batch)
            begun = time.perf_counter()
            async with harness.working(engine, {"noop": harness.counted(total, done)}, concurrency):
                await done.wait()
            # The worker has left: every outcome is committed.
            return total / (time.perf_counter() - begun)


def main(total: int = 60_000, concurrency: int = 1000) -> float:
    """One round."""
    return harness.run(measure(total, concurrency))


if __name__ == "__main__":
    print(f"{main():,.0f} jobs/s")
