"""Oban for Python, without Pro."""

from __future__ import annotations

import asyncio

import uvloop
from harness import CALLERS, POSTGRES, Peer, handle, main
from oban import Oban, worker
from oban.schema import install


@worker(queue="default")
class Noop:
    async def process(self, job: object) -> None:
        handle(job.args["job"])  # type: ignore[attr-defined]


class WithOban(Peer):
    """Jobs are kept after they are done, for a day, as by default."""

    async def open(self) -> None:
        self.pool = await Oban.create_pool(POSTGRES, min_size=1, max_size=CALLERS)
        self.oban = Oban(pool=self.pool)

    async def close(self) -> None:
        await self.pool.close()

    async def prepare(self) -> None:
        await self.open()
        await install(self.pool)
        await self.pool.close()

    async def insert(self, jobs: list[str]) -> None:
        await self.oban.enqueue_many(Noop.new({"job": job}) for job in jobs)

    async def insert_one(self, job: str) -> None:
        await self.oban.enqueue(Noop.new({"job": job}))

    async def left(self) -> int:
        async with self.pool.connection() as connection:
            rows = await connection.execute(
                "SELECT count(*) FROM oban_jobs WHERE state IN ('available', 'scheduled', 'executing')"
            )
            (left,) = await rows.fetchone()
            return int(left)

    async def work(self) -> None:
        pool = await Oban.create_pool(POSTGRES, min_size=1, max_size=10)
        async with Oban(pool=pool, queues={"default": {"limit": 100, "debounce_interval": 0.001}}):
            await asyncio.Event().wait()


if __name__ == "__main__":
    main(WithOban(), uvloop.run)
