"""PgQueuer on asyncpg."""

from __future__ import annotations

import asyncpg
import uvloop
from harness import CALLERS, POSTGRES, Peer, handle, main
from pgqueuer import PgQueuer, Queries
from pgqueuer.db import AsyncpgDriver
from pgqueuer.models import Job

BATCH = 1_000


class WithPgQueuer(Peer):
    """`batch_size` is how many jobs a claim takes and a commit of outcomes holds."""

    async def open(self) -> None:
        self.pool = await asyncpg.create_pool(POSTGRES, min_size=1, max_size=CALLERS)
        self.queries = Queries.from_asyncpg_pool(self.pool)

    async def prepare(self) -> None:
        connection = await asyncpg.connect(POSTGRES)
        await Queries.from_asyncpg_connection(connection).install()
        await connection.close()

    async def insert(self, jobs: list[str]) -> None:
        await self.queries.enqueue(["noop"] * len(jobs), [job.encode() for job in jobs], [0] * len(jobs))

    async def insert_one(self, job: str) -> None:
        await self.queries.enqueue("noop", job.encode())

    async def left(self) -> int:
        return sum(row.count for row in await self.queries.queue_size())

    async def work(self) -> None:
        app = PgQueuer(AsyncpgDriver(await asyncpg.connect(POSTGRES)))

        @app.entrypoint("noop")
        async def noop(job: Job) -> None:
            handle(job.payload.decode())

        await app.run(batch_size=BATCH)


if __name__ == "__main__":
    main(WithPgQueuer(), uvloop.run)
