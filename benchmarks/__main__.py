"""``make bench``: every figure, in alternation with the peer, medians of several rounds, as a table."""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
from collections.abc import Callable

from benchmarks import machine


def fresh(module: str, call: str = "main()") -> object:
    """One round in a process of its own, so that no round inherits another one's heap."""
    code = f"import json; from benchmarks import {module} as m; print(json.dumps(m.{call}))"
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return json.loads(answer.stdout.splitlines()[-1])


def number(module: str, call: str = "main()") -> float:
    """A round that answers with one figure."""
    value = fresh(module, call)
    assert isinstance(value, (int, float))
    return float(value)


def figures(module: str, call: str = "main()") -> dict[str, float]:
    """A round that answers with several."""
    value = fresh(module, call)
    assert isinstance(value, dict)
    return value


def row(name: str, value: str, target: str, reached: bool) -> None:
    """One line of the table."""
    print(f"| {name} | {value} | {target} | {'yes' if reached else '**no**'} |", flush=True)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5, help="rounds of each figure (default 5)")
    parser.add_argument("--only", default="", help="drain, enqueue, rest, latency or footprint")
    options = parser.parse_args()
    parts: dict[str, Callable[[int], None]] = {
        "drain": drain,
        "enqueue": enqueue,
        "rest": rest,
        "latency": latency,
        "footprint": footprint,
    }
    print(f"{machine.describe()}; medians of {options.rounds} rounds\n")
    print("| measured | figure | target | reached |\n|---|---|---|---|")
    for name, part in parts.items():
        if options.only in ("", name):
            part(options.rounds)


def drain(rounds: int) -> None:
    """Flux and huey in alternation."""
    ours, theirs = [], []
    for _ in range(rounds):
        ours.append(number("drain"))
        theirs.append(number("huey_drain"))
    speed = statistics.median(ours)
    ratio = statistics.median(a / b for a, b in zip(ours, theirs, strict=True))
    row(
        "drain of no-op jobs, one worker process (jobs/s)", machine.spread(ours), ">= 20,000", speed >= 20_000
    )
    row("the same with huey's SQLite store, fsync on (jobs/s)", machine.spread(theirs), "", True)
    row("drain, ratio to huey", f"{ratio:.1f}", ">= 5", ratio >= 5)


def enqueue(rounds: int) -> None:
    """Bulk."""
    ours = [number("enqueue") for _ in range(rounds)]
    row(
        "bulk enqueue, batches of 1,000 (jobs/s)",
        machine.spread(ours),
        ">= 50,000",
        statistics.median(ours) >= 50_000,
    )


def rest(rounds: int) -> None:
    """Single, over REST."""
    ours = [number("rest") for _ in range(rounds)]
    row(
        "single enqueue over REST, 32 connections (requests/s)",
        machine.spread(ours),
        ">= 4,000",
        statistics.median(ours) >= 4_000,
    )


def latency(rounds: int) -> None:
    """Start and lateness."""
    found = [figures("latency") for _ in range(rounds)]
    middle = {name: statistics.median(one[name] for one in found) for name in found[0]}
    row("enqueue to start, idle, p50 (ms)", f"{middle['start_p50']:.2f}", "<= 3", middle["start_p50"] <= 3)
    row("enqueue to start, idle, p99 (ms)", f"{middle['start_p99']:.2f}", "<= 10", middle["start_p99"] <= 10)
    row("a delayed job's lateness, p50 (ms)", f"{middle['late_p50']:.2f}", "", True)
    row(
        "a delayed job's lateness, worst (ms)", f"{middle['late_max']:.2f}", "<= 30", middle["late_max"] <= 30
    )


def footprint(_: int) -> None:
    """At rest."""
    found = figures("footprint")
    row("a worker at rest, memory (MB)", f"{found['memory']:.0f}", "< 60", found["memory"] < 60)
    row("a worker at rest, processor (% of a core)", f"{found['cpu']:.2f}", "< 1", found["cpu"] < 1)
    row("flux --help (ms)", f"{found['help']:.0f}", "< 200", found["help"] < 200)


main()
