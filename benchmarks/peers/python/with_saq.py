"""SAQ on Redis."""

from __future__ import annotations

import asyncio

import uvloop
from harness import REDIS, Peer, handle, main
from saq import Queue, Worker


async def noop(_: object, *, job: str) -> None:
    handle(job)


class WithSaq(Peer):
    """There is no bulk way: a batch is awaited together. `ttl=-1` keeps nothing of a finished job."""

    async def open(self) -> None:
        self.queue = Queue.from_url(REDIS)
        await self.queue.connect()

    async def insert(self, jobs: list[str]) -> None:
        await asyncio.gather(*(self.insert_one(job) for job in jobs))

    async def insert_one(self, job: str) -> None:
        await self.queue.enqueue("noop", job=job, ttl=-1)

    async def left(self) -> int:
        return await self.queue.count("incomplete")

    async def work(self) -> None:
        queue = Queue.from_url(REDIS)
        await queue.connect()
        await Worker(queue, [noop], concurrency=100).start()


if __name__ == "__main__":
    main(WithSaq(), uvloop.run)
