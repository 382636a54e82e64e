"""streaQ on Redis Streams."""

from __future__ import annotations

import uvloop
from harness import REDIS, Peer, handle, main
from streaq import Worker

worker = Worker(redis_url=REDIS, concurrency=100, prefetch=100, anyio_kwargs={"use_uvloop": True})


@worker.task(silent=True, ttl=0)
async def noop(job: str) -> None:
    handle(job)


class WithStreaq(Peer):
    """`ttl=0` keeps no result."""

    async def open(self) -> None:
        await worker.__aenter__()

    async def close(self) -> None:
        await worker.__aexit__(None, None, None)

    async def insert(self, jobs: list[str]) -> None:
        await worker.enqueue_many([noop.enqueue(job) for job in jobs])

    async def insert_one(self, job: str) -> None:
        await noop.enqueue(job)

    async def left(self) -> int:
        return await worker.queue_size()

    async def work(self) -> None:
        await worker.run_async()


if __name__ == "__main__":
    main(WithStreaq(), uvloop.run)
