"""taskiq on Redis Streams."""

from __future__ import annotations

import asyncio

import uvloop
from harness import CALLERS, REDIS, Peer, handle, main
from redis.asyncio import Redis
from taskiq.api import run_receiver_task
from taskiq_redis import RedisStreamBroker

# consumer_id "0": a group sees what was enqueued before its first worker came.
broker = RedisStreamBroker(REDIS, consumer_id="0", xread_count=100, max_connection_pool_size=CALLERS)


@broker.task(task_name="noop")
async def noop(job: str) -> None:
    handle(job)


class WithTaskiq(Peer):
    """There is no bulk way: a batch is awaited together."""

    async def open(self) -> None:
        await broker.startup()

    async def insert(self, jobs: list[str]) -> None:
        await asyncio.gather(*(noop.kiq(job) for job in jobs))

    async def insert_one(self, job: str) -> None:
        await noop.kiq(job)

    async def left(self) -> int:
        async with Redis.from_url(REDIS) as redis:
            (group,) = await redis.xinfo_groups("taskiq")
            return int(group["pending"]) + int(group["lag"])

    async def work(self) -> None:
        await run_receiver_task(
            broker, max_async_tasks=100, max_prefetch=100, validate_params=False, run_startup=True
        )


if __name__ == "__main__":
    main(WithTaskiq(), uvloop.run)
