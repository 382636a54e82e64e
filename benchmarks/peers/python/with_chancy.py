"""Chancy on psycopg 3."""

from __future__ import annotations

import logging

import uvloop
from chancy import Chancy, Job, Queue, Worker
from harness import CALLERS, POSTGRES, Peer, handle, main

logging.getLogger("chancy").setLevel(logging.WARNING)
NOOP = Job(func="with_chancy.noop")


async def noop(*, job: str) -> None:
    handle(job)


def _chancy() -> Chancy:
    return Chancy(
        POSTGRES,
        min_connection_pool_size=1,
        max_connection_pool_size=CALLERS,
        log=logging.getLogger("chancy"),
    )


class WithChancy(Peer):
    """`eager_polling` looks for more as soon as a job is done."""

    async def open(self) -> None:
        self.chancy = _chancy()
        await self.chancy.__aenter__()

    async def close(self) -> None:
        await self.chancy.__aexit__(None, None, None)

    async def prepare(self) -> None:
        async with _chancy() as chancy:
            await chancy.migrate()
            await chancy.declare(
                Queue("default", concurrency=500, executor=Chancy.Executor.Async, eager_polling=True)
            )

    async def insert(self, jobs: list[str]) -> None:
        async for _ in self.chancy.push_many([NOOP.with_kwargs(job=job) for job in jobs], batch_size=1_000):
            pass

    async def insert_one(self, job: str) -> None:
        await self.chancy.push(NOOP.with_kwargs(job=job))

    async def left(self) -> int:
        async with self.chancy.pool.connection() as connection:
            rows = await connection.execute(
                "SELECT count(*) FROM chancy_jobs WHERE state IN ('pending', 'running')"
            )
            (left,) = await rows.fetchone()
            return int(left)

    async def work(self) -> None:
        async with _chancy() as chancy, Worker(chancy) as worker:
            await worker.wait_for_shutdown()


if __name__ == "__main__":
    main(WithChancy(), uvloop.run)
