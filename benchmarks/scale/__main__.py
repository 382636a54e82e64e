"""``make bench-scale``: what a drain on an empty table does not show, on PostgreSQL alone, as a table."""

from __future__ import annotations

import argparse
import asyncio
import signal
import statistics
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from benchmarks import harness, machine, rest
from benchmarks.peers import cpu
from benchmarks.scale.ground import Ground, ground

SLOTS = "1000"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scale", description=__doc__)
    parser.add_argument("--only", default="", help=f"some of {', '.join(PARTS)}, with commas (default: all)")
    parser.add_argument("--jobs", type=int, default=60_000, help="jobs of a drain (default 60,000)")
    parser.add_argument(
        "--rows", type=int, default=1_000_000, help="rows of a large table (default 1,000,000)"
    )
    parser.add_argument(
        "--minutes", type=float, default=10, help="how long the sustained load is (default 10)"
    )
    parser.add_argument("--rounds", type=int, default=3, help="rounds of a comparison (default 3)")
    options = parser.parse_args()
    # Also when told to end: what was started is stopped, and the server's folder goes.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("stopped"))
    wanted = [name for name in options.only.split(",") if name] or list(PARTS)
    print(f"{machine.describe()}\n\n| measured | figure | target | reached |\n|---|---|---|---|")
    with ground() as place:
        for name in wanted:
            PARTS[name](place, options)


def row(name: str, value: str, target: str, reached: bool) -> None:
    """One line of the table."""
    print(f"| {name} | {value} | {target} | {'yes' if reached else '**no**'} |", flush=True)


def drain(place: Ground, jobs: int) -> float:
    """Jobs a second of one worker on an empty table."""
    place.fresh()
    place.fill(jobs)
    place.settle()
    with place.worker("--concurrency", SLOTS):
        return place.drain(1)


def steady(place: Ground, options: argparse.Namespace) -> None:
    """Twenty drains."""
    speeds = [drain(place, options.jobs) for _ in range(20)]
    middle = statistics.median(speeds)
    row("20 drains (jobs/s)", machine.spread(speeds), "", True)
    row(
        "the slowest of them, of their median",
        f"{min(speeds) / middle:.2f}",
        ">= 0.5",
        min(speeds) >= middle / 2,
    )


def rows(place: Ground, options: argparse.Namespace) -> None:
    """A large table, finished and waiting, beside an empty one in alternation."""
    ratios, held = [], []
    for _ in range(options.rounds):
        empty = drain(place, options.jobs)
        place.fresh()
        place.fill_finished(options.rows)
        place.fill(options.rows)
        place.settle()
        ratios.append(part_of(place, options) / empty)
        place.sql("TRUNCATE flux.done")
        held.append(part_of(place, options, held=True) / empty)
    shown = f"{options.rows:,} finished and as many waiting"
    row(f"{shown}: speed, of an empty table's", spread(ratios), ">= 0.9", statistics.median(ratios) >= 0.9)
    row("... with a transaction held open", spread(held), ">= 0.6", statistics.median(held) >= 0.6)


def part_of(place: Ground, options: argparse.Namespace, held: bool = False) -> float:
    """The speed of as many jobs as a drain has, out of very many."""

    async def hold(connection_url: str) -> float:
        import asyncpg

        connection = await asyncpg.connect(connection_url)
        async with connection.transaction(isolation="repeatable_read"):
            await connection.fetchval("SELECT count(*) FROM flux.workers")
            return await asyncio.to_thread(run)

    def run() -> float:
        with place.worker("--concurrency", SLOTS):
            return place.drain(1, options.jobs)

    return asyncio.run(hold(place.url)) if held else run()


def sustained(place: Ground, options: argparse.Namespace) -> None:
    """A worker that always finds more, for minutes: its speed and the sizes of the tables, minute by minute."""
    place.fresh()
    place.fill(100_000)
    place.resume()
    speeds, end = [], time.monotonic() + options.minutes * 60
    with place.worker("--concurrency", SLOTS), place.process("scheduler"):
        while time.monotonic() < end:
            before, begun = place.number("SELECT count(*) FROM flux.done"), time.monotonic()
            while time.monotonic() < begun + min(60.0, options.minutes * 6):
                if place.left() < 100_000:
                    place.fill(100_000)
                time.sleep(0.5)
            done = place.number("SELECT count(*) FROM flux.done") - before
            speeds.append(done / (time.monotonic() - begun))
            print(f"| minute {len(speeds)}: {place.sizes()} | {speeds[-1]:,.0f} | | |", flush=True)
    row(
        "sustained: the last minute's speed, of the first's",
        f"{speeds[-1] / speeds[0]:.2f}",
        ">= 0.9",
        speeds[-1] >= 0.9 * speeds[0],
    )


def crowd(place: Ground, options: argparse.Namespace) -> None:
    """Eight workers beside one on the same cores."""
    ratios, lost = [], []
    for _ in range(options.rounds):
        one = drain(place, options.jobs)
        place.fresh()
        place.fill(options.jobs)
        place.settle()
        with ExitStack() as stack:
            for _ in range(8):
                stack.enter_context(place.worker("--concurrency", SLOTS))
            # Near the end there is nothing left to find.
            place.drain(8, options.jobs * 9 // 10)
            lost.append(place.lost_claims())
            eight = place.drain(8)
        ratios.append(eight / one)
    row("8 workers: speed, of one's", spread(ratios), ">= 0.9", statistics.median(ratios) >= 0.9)
    row(
        "... claims that found nothing while there was something",
        f"{max(lost):.1%} of all",
        "few",
        max(lost) < 0.1,
    )


def idle(place: Ground, options: argparse.Namespace) -> None:
    """Eight workers with nothing to do."""
    place.fresh()

    with ExitStack() as stack:
        pids = [stack.enter_context(place.worker("--concurrency", SLOTS)).pid for _ in range(8)]
        time.sleep(20)
        before = cpu.seconds(pids)
        time.sleep(30)
        used = (cpu.seconds(pids) - before) / 30
    row("8 workers at rest, together (% of a core)", f"{used:.1%}", "< 2 %", used < 0.02)


def burning(place: Ground, options: argparse.Namespace) -> None:
    """Jobs of 5 ms of processor: one worker, two of them, and one with two processes."""
    gains: dict[str, list[float]] = {"two workers": [], "one with --processes 2": []}
    for _ in range(options.rounds):
        speeds = []
        for workers in ([()], [(), ()], [("--processes", "2")]):
            place.fresh()
            place.fill(4_000, "burn", '{"milliseconds": 5}')
            with ExitStack() as stack:
                for flags in workers:
                    # Few slots: nobody may hold what the other could run.
                    stack.enter_context(place.worker("--concurrency", "40", *flags))
                speeds.append(place.drain(2 if len(workers) > 1 or workers[0] else 1))
        gains["two workers"].append(speeds[1] / speeds[0])
        gains["one with --processes 2"].append(speeds[2] / speeds[0])
    for name, found in gains.items():
        row(
            f"jobs of 5 ms of processor: {name}, of one",
            spread(found),
            ">= 1.8",
            statistics.median(found) >= 1.8,
        )


def sleeping(place: Ground, options: argparse.Namespace) -> None:
    """A worker full of jobs that wait."""
    place.fresh()
    place.fill(1_000, "nap", '{"seconds": 600}')
    with place.worker("--concurrency", SLOTS) as process:
        place.resume()
        place.until("SELECT count(*) = 1000 FROM flux.live WHERE state = 'running'")
        time.sleep(10)
        status = Path(f"/proc/{process.pid}/status").read_text()
        used = int(status.split("VmRSS:")[1].split()[0]) / 1024
        process.kill()
    row("a worker with 1,000 sleeping jobs (MB)", f"{used:.0f}", "< 150", used < 150)


def doors(place: Ground, options: argparse.Namespace) -> None:
    """REST, the commit before each answer."""
    place.fresh()
    port = rest.free_port()
    with place.process("api", API_PORT=str(port)):
        rest.wait_for(port)
        harness.run(rest.load(port, 2_000, 32))
        singles = [harness.run(rest.load(port, 20_000, 32))[0] for _ in range(options.rounds)]
        batches = [
            1000 * harness.run(rest.load(port, 200, 4, rest.batch(1000)))[0] for _ in range(options.rounds)
        ]
    row(
        "POST /jobs, 32 connections (requests/s)",
        machine.spread(singles),
        ">= 4,000",
        statistics.median(singles) >= 4_000,
    )
    row(
        "POST /jobs/batch of 1,000, 4 connections (jobs/s)",
        machine.spread(batches),
        ">= 40,000",
        statistics.median(batches) >= 40_000,
    )


def duties(place: Ground, options: argparse.Namespace) -> None:
    """The leader's own work: promotion of what is due, and the rescue of what lost workers left."""
    for state, name in (("scheduled", "promotion"), ("running", "rescue of a lost worker's jobs")):
        speeds = []
        for _ in range(options.rounds):
            place.fresh()
            place.fill(300_000, state=state)
            place.settle()
            with place.process("scheduler"):
                speeds.append(place.pace(state))
        row(f"{name} (jobs/s)", machine.spread(speeds), ">= 30,000", statistics.median(speeds) >= 30_000)


def spread(ratios: list[float]) -> str:
    """Median and range of ratios."""
    return f"{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"


PARTS: dict[str, Callable[[Ground, argparse.Namespace], None]] = {
    "steady": steady,
    "rows": rows,
    "sustained": sustained,
    "crowd": crowd,
    "idle": idle,
    "burning": burning,
    "sleeping": sleeping,
    "doors": doors,
    "duties": duties,
}

main()
