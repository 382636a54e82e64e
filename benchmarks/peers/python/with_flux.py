"""Flux itself, through its public doors: the SDK enqueues, `flux worker` and `flux scheduler` run."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import uvloop
from harness import Peer, handle, main

from flux import Flux

DATABASE = os.environ["DATABASE_URL"]
COMMAND = str(Path(sys.executable).with_name("flux"))

flux = Flux()


@flux.job
async def noop(job: str) -> None:
    handle(job)


class WithFlux(Peer):
    """Which store and which broker is in the environment, as for everybody who uses it."""

    async def open(self) -> None:
        await flux.__aenter__()

    async def close(self) -> None:
        await flux.close()

    async def prepare(self) -> None:
        # Opening it makes the schema.
        async with flux:
            pass

    async def insert(self, jobs: list[str]) -> None:
        await flux.enqueue_many([noop.request(job) for job in jobs])

    async def insert_one(self, job: str) -> None:
        await noop.enqueue(job)

    async def left(self) -> int:
        # What is final has moved to another table.
        query = "SELECT count(*) FROM live"
        if DATABASE.startswith("sqlite"):
            import sqlite3

            connection = sqlite3.connect(DATABASE.removeprefix("sqlite:///"))
            try:
                return int(connection.execute(query).fetchone()[0])
            finally:
                connection.close()
        import asyncpg

        pool = await asyncpg.connect(DATABASE)
        try:
            return int(await pool.fetchval(query))
        finally:
            await pool.close()

    async def work(self) -> None:
        # In this process group, which the runner kills as a whole.
        subprocess.Popen([COMMAND, "scheduler"])
        os.environ["PYTHONPATH"] = str(Path(__file__).parent)
        os.execv(COMMAND, [COMMAND, "worker", "with_flux:flux", "--concurrency", "1000"])


if __name__ == "__main__":
    main(WithFlux(), uvloop.run)
