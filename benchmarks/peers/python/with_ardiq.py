"""ArdiQ, a queue on Redis Streams whose loop is in Rust."""

from __future__ import annotations

from ardiq import Ardiq
from harness import REDIS, Peer, handle, main

app = Ardiq(redis_url=REDIS, queue_name="bench", concurrency=1000, prefetch=1000, result_ttl_ms=0)


@app.task()
async def noop(job: str) -> None:
    handle(job)


class WithArdiq(Peer):
    """`result_ttl_ms=0` keeps no result."""

    async def insert(self, jobs: list[str]) -> None:
        await app.enqueue_many(noop.prepare(job) for job in jobs)

    async def insert_one(self, job: str) -> None:
        await noop.enqueue(job)

    async def left(self) -> int:
        return await app.queue_size()

    async def work(self) -> None:
        await app.run()


if __name__ == "__main__":
    main(WithArdiq())
