"""Bulk enqueue: jobs accepted a second in batches, each batch one transaction, through the SDK's own path."""

from __future__ import annotations

import time

import msgspec

from benchmarks import harness
from flux.domain.request import JobRequest


async def measure(total: int, batch: int) -> float:
    """Jobs a second: requests made, validated, encoded, committed."""
    with harness.database() as path:
        async with harness.engine(path) as engine:
            begun = time.perf_counter()
            for start in range(0, total, batch):
                await engine.jobs.submit_many(
                    [
                        JobRequest(type="noop", payload=msgspec.Raw(msgspec.json.encode({"n": n})))
                        for n in range(start, start + batch)
                    ]
                )
            return total / (time.perf_counter() - begun)


def main(total: int = 100_000, batch: int = 1000) -> float:
    """One round."""
    return harness.run(measure(total, batch))


if __name__ == "__main__":
    print(f"{main():,.0f} jobs/s")
