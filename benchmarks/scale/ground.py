"""A PostgreSQL of their own, Flux's processes beside it, and what its tables tell of them."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import asyncpg

from benchmarks.peers.servers import POSTGRES_SETTINGS
from scripts.servers.postgres import PostgresServer

FLUX = str(Path(sys.executable).with_name("flux"))
HERE = Path(__file__).parent
FOLDER = HERE.parents[1] / ".bench" / "scale"
PATIENCE = 600.0
"""Seconds until a measurement has stopped for good."""


class Ground:
    """The server, with an empty schema."""

    def __init__(self, server: PostgresServer) -> None:
        self.url = server.url_of("bench")
        self._server = server

    def fresh(self) -> None:
        """An empty database, migrated."""
        self.sql("DROP DATABASE IF EXISTS bench WITH (FORCE)", database="flux")
        self.sql("CREATE DATABASE bench", database="flux")
        subprocess.run([FLUX, "migrate", "up"], env=self.environment(), check=True, capture_output=True)
        self.sql("CREATE EXTENSION pg_stat_statements")

    def settle(self) -> None:
        """Statistics and a checkpoint, so that no run pays for what was done before it."""
        self.sql("VACUUM (ANALYZE)")
        self.sql("CHECKPOINT")

    def environment(self, **more: str) -> dict[str, str]:
        """For Flux's processes."""
        kept = {name: value for name, value in os.environ.items() if name != "REDIS_URL"}
        return kept | {"DATABASE_URL": self.url, "PYTHONPATH": str(HERE)} | more

    @contextmanager
    def process(self, *arguments: str, **environment: str) -> Iterator[subprocess.Popen[bytes]]:
        """``flux …``, ended with a signal afterwards."""
        running = subprocess.Popen(
            [FLUX, *arguments], env=self.environment(**environment), stderr=subprocess.DEVNULL
        )
        try:
            yield running
        finally:
            running.terminate()
            running.wait()

    def worker(self, *flags: str) -> Any:
        """``flux worker`` with the handlers of these measurements."""
        return self.process("worker", "handlers:flux", *flags)

    def sql(self, query: str, database: str = "bench") -> list[Any]:
        """The rows of a query."""

        async def ask() -> list[Any]:
            connection = await asyncpg.connect(self._server.url_of(database))
            try:
                return list(await connection.fetch(query))
            finally:
                await connection.close()

        return asyncio.run(ask())

    def number(self, query: str) -> float:
        """The one figure that a query gives."""
        return float(self.sql(query)[0][0] or 0)

    def fill(self, count: int, type: str = "noop", payload: str = "{}", state: str = "available") -> None:
        """Live jobs, as their own inserts would have left them, or a lost worker. A queue that is new is paused."""
        claim = "'gone', 1, flux.clock(), 1" if state == "running" else "NULL, NULL, NULL, 0"
        self.sql(
            f"""INSERT INTO flux.live (run_at, created_at, attempt_limit, max_retries, priority, id, namespace, state,
                                       type, queue, payload, worker_id, claim_id, started_at, attempt)
                SELECT flux.clock(), flux.clock(), 4, 3, 5, {_UUID}, 'default', '{state}',
                       '{type}', 'default', '{payload}', {claim} FROM generate_series(1, {count}) AS n"""
        )
        self.sql(
            "INSERT INTO flux.queues (namespace, name, paused) VALUES ('default', 'default', true) "
            "ON CONFLICT DO NOTHING"
        )

    def fill_finished(self, count: int) -> None:
        """Jobs that succeeded a minute ago."""
        self.sql(
            f"""INSERT INTO flux.done (finished_at, run_at, created_at, started_at, attempt, attempt_limit,
                                       max_retries, priority, id, namespace, state, type, queue, payload, how,
                                       worker_id)
                SELECT flux.clock() - 60000000, flux.clock(), flux.clock(), flux.clock(), 1, 4, 3, 5, {_UUID},
                       'default', 'succeeded', 'noop', 'past', '{{}}', 'succeeded', 'w'
                  FROM generate_series(1, {count}) AS n"""
        )

    def lost_claims(self) -> float:
        """The share of claims that found nothing, since the last resume."""
        asked = self.number("SELECT sum(calls) FROM pg_stat_statements WHERE query LIKE '%claimed AS (%'")
        found = self.number(
            "SELECT count(*) FROM (SELECT claim_id FROM flux.done UNION SELECT claim_id FROM flux.live) AS claims"
        )
        return 1 - found / asked

    def sizes(self) -> str:
        """How large the tables and their indexes are, partitions with their table."""
        query = """SELECT split_part(c.relname, '_p', 1) AS name, sum(pg_table_size(c.oid)), sum(pg_indexes_size(c.oid))
                     FROM pg_class c
                    WHERE c.relnamespace = 'flux'::regnamespace AND c.relkind = 'r'
                      AND c.relname ~ '^(live|done|events)' GROUP BY 1 ORDER BY 1"""
        return ", ".join(
            f"{name} {table / 1e6:,.0f} + {indexes / 1e6:,.0f} MB" for name, table, indexes in self.sql(query)
        )

    def left(self) -> int:
        """Jobs that have not ended."""
        return int(self.number("SELECT count(*) FROM flux.live"))

    def resume(self) -> None:
        """Let everybody begin."""
        subprocess.run(
            [FLUX, "queue", "resume", "default"], env=self.environment(), check=True, capture_output=True
        )

    def drain(self, workers: int, jobs: int | None = None) -> float:
        """Jobs a second, once so many workers are there: of so many jobs, or of all that wait."""
        self.until(f"SELECT count(*) = {workers} FROM flux.workers")
        self.sql("SELECT pg_stat_statements_reset()")
        begun = int(self.number("SELECT flux.clock()"))
        self.resume()
        # By an index: counting a large table would cost more than the drain.
        ended = f"""FROM flux.done WHERE namespace = 'default' AND state = 'succeeded' AND finished_at > {begun}
                     AND queue = 'default'"""
        if jobs is None:
            self.until("SELECT NOT EXISTS (SELECT 1 FROM flux.live)")
        else:
            self.until(f"SELECT count(*) >= {jobs} {ended}")
        return self.number(f"SELECT count(*) * 1e6 / (max(finished_at) - min(started_at)) {ended}")

    def pace(self, state: str) -> float:
        """How many jobs a second leave a state, once a tenth of them has left it."""

        async def watch() -> float:
            connection = await asyncpg.connect(self.url)
            try:

                async def left() -> int:
                    query = "SELECT count(*) FROM flux.live WHERE state = $1"
                    return int(await connection.fetchval(query, state))

                whole = await left()
                while (first := await left()) > whole * 0.9:
                    await asyncio.sleep(0.02)
                begun = time.monotonic()
                while await left():
                    await asyncio.sleep(0.1)
                return first / (time.monotonic() - begun)
            finally:
                await connection.close()

        return asyncio.run(watch())

    def until(self, question: str) -> None:
        """Wait for a query to say yes."""
        end = time.monotonic() + PATIENCE
        while not self.sql(question)[0][0]:
            if time.monotonic() > end:
                raise RuntimeError(f"still not: {question}")
            time.sleep(0.3)


_UUID = """(lpad(to_hex(flux.clock() / 1000 - 3600000), 12, '0') || '7' || lpad(to_hex(n / 65536 % 4096), 3, '0')
           || '8' || lpad(to_hex(n / 256 % 4096), 3, '0') || lpad(to_hex(n), 12, '0'))::uuid"""


@contextmanager
def ground() -> Iterator[Ground]:
    """The server, made anew and removed afterwards."""
    shutil.rmtree(FOLDER, ignore_errors=True)
    settings = POSTGRES_SETTINGS | {"shared_preload_libraries": "pg_stat_statements"}
    try:
        with PostgresServer(FOLDER, settings=settings) as server:
            yield Ground(server)
    finally:
        shutil.rmtree(FOLDER, ignore_errors=True)
