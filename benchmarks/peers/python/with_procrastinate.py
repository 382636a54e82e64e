"""Procrastinate on psycopg 3."""

from __future__ import annotations

import uvloop
from harness import CALLERS, POSTGRES, Peer, handle, main
from procrastinate import App, PsycopgConnector

app = App(connector=PsycopgConnector(conninfo=POSTGRES, min_size=1, max_size=CALLERS))


@app.task(name="noop")
async def noop(job: str) -> None:
    handle(job)


class WithProcrastinate(Peer):
    """Jobs are kept after they are done, as by default."""

    async def open(self) -> None:
        await app.open_async()

    async def close(self) -> None:
        await app.close_async()

    async def prepare(self) -> None:
        async with app.open_async():
            await app.schema_manager.apply_schema_async()

    async def insert(self, jobs: list[str]) -> None:
        await noop.batch_defer_async(*({"job": job} for job in jobs))

    async def insert_one(self, job: str) -> None:
        await noop.defer_async(job=job)

    async def left(self) -> int:
        row = await app.connector.execute_query_one_async(
            "SELECT count(*) AS left FROM procrastinate_jobs WHERE status IN ('todo', 'doing')"
        )
        return int(row["left"])

    async def work(self) -> None:
        async with app.open_async():
            await app.run_worker_async(concurrency=100, install_signal_handlers=False)


if __name__ == "__main__":
    main(WithProcrastinate(), uvloop.run)
