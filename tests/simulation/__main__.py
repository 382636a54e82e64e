"""``python -m tests.simulation``: one world with its whole history, or as many worlds as a number of lives needs.

--seed N            live through one world and print what happened
--lives 1000000     live through worlds, from ``--seed`` on, until so many jobs have lived
"""

from __future__ import annotations

import argparse
import os
import sys
import time
import traceback
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from itertools import count

from tests.simulation.world import STRICT, Outcome, World


def _live(seed: int, size: int, strict: bool) -> Outcome | str:
    """One world; what went wrong comes back as text, so that the other worlds go on."""
    try:
        return World(seed, size, climate=STRICT if strict else None).run()
    except BaseException:
        return f"seed {seed}\n{traceback.format_exc()}"


def _one(seed: int, size: int, strict: bool) -> int:
    outcome = World(seed, size, tell=print, digest=True, climate=STRICT if strict else None).run()
    print(
        f"seed {outcome.seed}: {outcome.lives} lives, {outcome.runs} runs of handlers, {outcome.kills} kills, "
        f"{outcome.virtual:.0f} virtual seconds, {outcome.steps} steps; digest {outcome.digest}"
    )
    return 0


def _many(first: int, lives: int, size: int, jobs: int, strict: bool) -> int:
    began = time.monotonic()
    lived: list[Outcome] = []
    failures: list[str] = []
    seeds = count(first)
    under_way: set[Future[Outcome | str]] = set()
    with ProcessPoolExecutor(jobs) as pool:
        while True:
            while (
                sum(each.lives for each in lived) < lives and len(failures) < 5 and len(under_way) < 2 * jobs
            ):
                under_way.add(pool.submit(_live, next(seeds), size, strict))
            if not under_way:
                break
            done, under_way = wait(under_way, return_when=FIRST_COMPLETED)
            for outcome in (each.result() for each in done):
                if isinstance(outcome, str):
                    failures.append(outcome)
                    print(f"\n{outcome}", flush=True)
                else:
                    lived.append(outcome)
            total = sum(each.lives for each in lived)
            rate = total / (time.monotonic() - began)
            if sys.stdout.isatty():
                print(f"{total} lives in {len(lived)} worlds, {rate:.0f}/s", end="\r", flush=True)
    print(
        f"{sum(each.lives for each in lived)} lives in {len(lived)} worlds from seed {first} on, "
        f"{sum(each.runs for each in lived)} runs of handlers, {sum(each.kills for each in lived)} kills, "
        f"{time.monotonic() - began:.0f} s; {len(failures)} worlds failed"
    )
    return 1 if failures else 0


def main() -> int:
    """See the module."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("--seed", type=int, default=0, help="the world to live through, or the first of them")
    parser.add_argument("--lives", type=int, help="live through worlds until so many jobs have lived")
    parser.add_argument("--size", type=int, default=300, help="jobs of one world (default 300)")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="processes with --lives")
    parser.add_argument(
        "--strict", action="store_true", help="no pauses, no clock steps, no job in two places"
    )
    asked = parser.parse_args()
    if asked.lives is None:
        return _one(asked.seed, asked.size, asked.strict)
    return _many(asked.seed, asked.lives, asked.size, asked.jobs, asked.strict)


if __name__ == "__main__":
    sys.exit(main())
