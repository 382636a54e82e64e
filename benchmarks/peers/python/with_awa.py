"""awa, a queue in Rust with bindings for Python."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from awa import AsyncClient, Job
from harness import CALLERS, POSTGRES, Peer, handle, main

SLOTS = 1024


@dataclass
class Noop:
    job: str


class WithAwa(Peer):
    """Its own storage, filled by COPY, as its documentation advises for many jobs."""

    async def open(self) -> None:
        self.client = AsyncClient(POSTGRES, max_connections=CALLERS)

    async def prepare(self) -> None:
        await self.open()
        await self.client.migrate()
        await self.client.install_queue_storage()

    async def insert(self, jobs: list[str]) -> None:
        await self.client.enqueue_many_copy([Noop(job) for job in jobs])

    async def insert_one(self, job: str) -> None:
        await self.client.insert(Noop(job))

    async def left(self) -> int:
        await self.client.flush_admin_metadata()
        return sum(stat.available + stat.scheduled + stat.running for stat in await self.client.queue_stats())

    async def work(self) -> None:
        await self.open()

        @self.client.task(Noop)
        async def noop(job: Job[Noop]) -> None:
            handle(job.args.job)

        await self.client.start([{"name": "default", "max_workers": SLOTS, "claim_batch_size": 512}])
        await asyncio.Event().wait()


if __name__ == "__main__":
    main(WithAwa())
