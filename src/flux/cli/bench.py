"""`flux bench`: a quick look at what this machine does, on a database of its own that is thrown away."""

from __future__ import annotations

import asyncio
import os
import platform
import sqlite3
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import msgspec
import typer

from flux.cli.options import Json
from flux.cli.runtime import run_loop
from flux.cli.terminal import print_fields, print_json, progress
from flux.config import Settings, build_engine
from flux.domain.request import JobRequest
from flux.engine.context import Context
from flux.engine.engine import Engine
from flux.engine.handler import Handler
from flux.engine.worker import Worker
from flux.engine.worker_options import WorkerOptions

app = typer.Typer(rich_markup_mode=None)

BATCH = 1000
CALLERS = 32
REQUEST = JobRequest(type="noop")


class Figures(msgspec.Struct, kw_only=True):
    """What was measured: jobs a second, and milliseconds."""

    machine: str
    jobs: int
    enqueue_bulk: float = 0.0
    enqueue_single: float = 0.0
    drain: float = 0.0
    latency_p50_ms: float = 0.0
    latency_p99_ms: float = 0.0


@app.command()
def bench(
    jobs: Annotated[
        int, typer.Option("--jobs", "-n", min=1000, max=5_000_000, help="Jobs to enqueue and drain.")
    ] = 20_000,
    samples: Annotated[
        int, typer.Option(min=10, max=100_000, help="Jobs whose way from enqueue to start is timed.")
    ] = 300,
    directory: Annotated[
        Path | None,
        typer.Option(help="Where the database is made; its disk is what is measured. Default: here."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Measure enqueue, drain and latency of no-op jobs. Every accepted job is synced to the disk, as always."""
    figures = Figures(machine=_machine(), jobs=jobs)
    with tempfile.TemporaryDirectory(prefix=".flux-bench-", dir=directory or Path.cwd()) as where:
        settings = Settings(database_url=f"sqlite:///{where}/bench.db")

        async def main() -> int:
            engine = build_engine(settings)
            await engine.open()
            try:
                await _measure(engine, figures, samples)
            finally:
                await engine.close()
            return 0

        run_loop(main)
    if as_json:
        print_json(figures)
        return
    print_fields(
        (
            ("machine", figures.machine),
            ("enqueue, in batches", f"{figures.enqueue_bulk:,.0f} jobs/s ({BATCH:,} in a transaction)"),
            (
                "enqueue, one by one",
                f"{figures.enqueue_single:,.0f} jobs/s ({CALLERS} callers, each waits for its commit)",
            ),
            ("drain", f"{figures.drain:,.0f} jobs/s ({jobs:,} no-op jobs, one worker process)"),
            (
                "enqueue to start",
                f"p50 {figures.latency_p50_ms:.1f} ms, p99 {figures.latency_p99_ms:.1f} ms (idle)",
            ),
        )
    )


async def _measure(engine: Engine, figures: Figures, samples: int) -> None:
    ran = _Counter()
    handler = Handler(type="noop", call=ran.call)
    total = figures.jobs
    singles = max(total // 10, CALLERS)
    with progress("enqueueing", total) as bar:
        began = time.perf_counter()
        for start in range(0, total, BATCH):
            count = min(BATCH, total - start)
            await engine.jobs.submit_many([REQUEST] * count)
            bar.advance(count)
        figures.enqueue_bulk = total / (time.perf_counter() - began)
    with progress("enqueueing one by one", singles) as bar:
        began = time.perf_counter()
        await asyncio.gather(*(_one_by_one(engine, singles // CALLERS, bar.advance) for _ in range(CALLERS)))
        figures.enqueue_single = singles // CALLERS * CALLERS / (time.perf_counter() - began)
    worker = Worker(engine, {"noop": handler}, WorkerOptions(concurrency=100))
    working = asyncio.create_task(worker.run())
    try:
        await worker.ready.wait()
        waiting = total + singles // CALLERS * CALLERS
        with progress("draining", waiting) as bar:
            began = time.perf_counter()
            await ran.reach(waiting, bar.advance)
            figures.drain = waiting / (time.perf_counter() - began)
        with progress("timing", samples) as bar:
            times = await _latencies(engine, ran, samples, bar.advance)
    finally:
        worker.stop()
        await working
    figures.latency_p50_ms = times[len(times) // 2] * 1000
    figures.latency_p99_ms = times[min(int(len(times) * 0.99), len(times) - 1)] * 1000


async def _one_by_one(engine: Engine, count: int, advance: Callable[[int], None]) -> None:
    for _ in range(count):
        await engine.jobs.submit(REQUEST)
        advance(1)


async def _latencies(
    engine: Engine, ran: _Counter, samples: int, advance: Callable[[int], None]
) -> list[float]:
    times = []
    for _ in range(samples):
        await asyncio.sleep(0.005)
        ran.started.clear()
        began = time.perf_counter()
        await engine.jobs.submit(REQUEST)
        await ran.started.wait()
        times.append(ran.last - began)
        advance(1)
    return sorted(times)


class _Counter:
    """Counts the starts of the no-op handler, and knows when the last one was."""

    def __init__(self) -> None:
        self.count = 0
        self.last = 0.0
        self.started = asyncio.Event()

    async def call(self, context: Context) -> None:
        self.count += 1
        self.last = time.perf_counter()
        self.started.set()

    async def reach(self, wanted: int, advance: Callable[[int], None]) -> None:
        told = self.count
        while self.count < wanted:
            await asyncio.sleep(0.02)
            advance(self.count - told)
            told = self.count


def _machine() -> str:
    return (
        f"{os.cpu_count()} cores, {platform.system()} {platform.machine()}, "
        f"Python {platform.python_version()}, SQLite {sqlite3.sqlite_version}"
    )
