"""``python -m tests.simulation``: one world with its whole history, or as many worlds as a number of lives needs.

--seed N            live through one world and print what happened
--lives 1000000     live through worlds, from ``--seed`` on, until so many jobs have lived
--postgres          the worlds stand on a real PostgreSQL, which is started for them
"""

from __future__ import annotations

import argparse
import os
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from contextlib import closing, contextmanager
from itertools import count
from pathlib import Path

import msgspec

from tests.servers.run import Run
from tests.servers.schema import migrate
from tests.servers.shared import SharedPostgres
from tests.simulation.ground import Ground, SqliteGround
from tests.simulation.on_postgres import PostgresGround
from tests.simulation.world import STRICT, Outcome, World


class Asked(msgspec.Struct, frozen=True):
    """What kind of worlds. ``servers`` is the folder of the run whose PostgreSQL they share."""

    size: int
    strict: bool
    servers: Path | None = None


@contextmanager
def _ground(asked: Asked) -> Iterator[Ground]:
    if asked.servers is None:
        yield SqliteGround()
        return
    with closing(Run(asked.servers)) as run:
        postgres = SharedPostgres(run)
        url = postgres.create_database(postgres.template("newest_schema", migrate))
        try:
            yield PostgresGround(url)
        finally:
            postgres.drop_database(url)


def _world(seed: int, asked: Asked, tell: Callable[[str], None] | None = None) -> Outcome:
    with _ground(asked) as ground:
        climate = STRICT if asked.strict else None
        return World(
            seed, asked.size, tell=tell, digest=tell is not None, climate=climate, ground=ground
        ).run()


def _live(seed: int, asked: Asked) -> Outcome | str:
    """One world; what went wrong comes back as text, so that the other worlds go on."""
    try:
        return _world(seed, asked)
    except BaseException:
        return f"seed {seed}\n{traceback.format_exc()}"


def _one(seed: int, asked: Asked) -> int:
    outcome = _world(seed, asked, print)
    print(
        f"seed {outcome.seed}: {outcome.lives} lives, {outcome.runs} runs of handlers, {outcome.kills} kills, "
        f"{outcome.virtual:.0f} virtual seconds, {outcome.steps} steps; digest {outcome.digest}"
    )
    return 0


def _many(first: int, lives: int, asked: Asked, jobs: int) -> int:
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
                under_way.add(pool.submit(_live, next(seeds), asked))
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
    parser.add_argument("--size", type=int, help="jobs of one world (default 300, on a server 60)")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="processes with --lives")
    parser.add_argument(
        "--strict", action="store_true", help="no pauses, no clock steps, no job in two places"
    )
    parser.add_argument("--postgres", action="store_true", help="stand on a real PostgreSQL")
    wish = parser.parse_args()
    size = wish.size or (60 if wish.postgres else 300)
    with closing(Run()) as run:
        asked = Asked(size, wish.strict, run.folder if wish.postgres else None)
        if wish.lives is None:
            return _one(wish.seed, asked)
        return _many(wish.seed, wish.lives, asked, wish.jobs)


if __name__ == "__main__":
    sys.exit(main())
