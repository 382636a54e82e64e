"""arq on Redis."""

from __future__ import annotations

import asyncio

import uvloop
from arq import Worker, create_pool
from arq.connections import RedisSettings
from harness import CALLERS, REDIS, Peer, handle, main


async def noop(_: object, job: str) -> None:
    handle(job)


class WithArq(Peer):
    """There is no bulk way: a batch is awaited together. It polls, every 0.5 s unless told otherwise."""

    async def open(self) -> None:
        settings = RedisSettings.from_dsn(REDIS)
        settings.max_connections = CALLERS
        self.pool = await create_pool(settings)

    async def close(self) -> None:
        await self.pool.aclose()

    async def insert(self, jobs: list[str]) -> None:
        await asyncio.gather(*(asyncio.create_task(self._limited(job)) for job in jobs))

    async def insert_one(self, job: str) -> None:
        await self.pool.enqueue_job("noop", job)

    async def left(self) -> int:
        return await self.pool.zcard("arq:queue")

    async def work(self) -> None:
        worker = Worker(
            [noop],
            redis_settings=RedisSettings.from_dsn(REDIS),
            keep_result=0,
            max_jobs=100,
            poll_delay=0.01,
        )
        await worker.async_run()

    _slots = asyncio.Semaphore(CALLERS)

    async def _limited(self, job: str) -> None:
        async with self._slots:
            await self.insert_one(job)


if __name__ == "__main__":
    main(WithArq(), uvloop.run)
