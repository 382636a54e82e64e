"""``ctx.transaction()``: the handler's row and its job's success exist both or neither, and in the end once.

That both are of one transaction is seen in PostgreSQL itself: their rows carry the same transaction's number.
"""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import psycopg
import pytest

from flux import Context, Flux, FluxError
from flux.domain.job import FINAL, Job
from flux.testing import inline
from tests.integration.places import clean_environment
from tests.servers.private import Servers

PATIENCE = 60.0

Body = Callable[[Context], Awaitable[Any]]


@pytest.fixture(autouse=True)
def ledger(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What handlers write to; and leases short enough to see one end."""
    monkeypatch.setenv("FLUX_LEASE", "5s")
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute(
            "CREATE TABLE ledger (attempt int, UNIQUE (attempt) DEFERRABLE INITIALLY DEFERRED)"
        )


def rows(url: str) -> list[tuple[int, str]]:
    """(attempt, transaction) of what was written."""
    with psycopg.connect(url) as connection:
        return list(connection.execute("SELECT attempt, xmin::text FROM ledger"))


def committed_together(url: str) -> None:
    """One row, written by the transaction that also ended the job."""
    [(_, wrote)] = rows(url)
    with psycopg.connect(url) as connection:
        [(state, ended)] = connection.execute("SELECT state, xmin::text FROM flux.done")
    assert state == "succeeded"
    assert wrote == ended


async def run(url: str, body: Body, **options: Any) -> Job:
    """Run one job with this handler until it has ended."""
    flux = Flux(url)

    @flux.job(name="pay", backoff=["10ms"])
    async def pay(ctx: Context) -> Any:
        return await body(ctx)

    async with flux:
        async with flux.worker():
            handle = await pay.options(**options).enqueue()
            await ended(flux, handle.id)
        # The worker has let its handlers end, and with them what they do after their job's end.
        return await flux.get(handle.id)


async def ended(flux: Flux, job_id: str) -> Job:
    async with asyncio.timeout(PATIENCE):
        while (job := await flux.wait(job_id, 5.0)).state not in FINAL:
            pass
    return job


async def write(ctx: Context, conn: Any) -> None:
    await conn.execute("INSERT INTO ledger VALUES ($1)", ctx.attempt)


# --- ordinary ends ------------------------------------------------------------------------------------------------


async def test_both_are_committed(database_url: str) -> None:
    async def body(ctx: Context) -> None:
        async with ctx.transaction() as conn:
            await write(ctx, conn)
            ctx.logger.info("paid")
            ctx.result = {"paid": ctx.attempt}

    job = await run(database_url, body)
    assert (job.state, job.attempt, job.result) == ("succeeded", 1, b'{"paid":1}')
    committed_together(database_url)
    with psycopg.connect(database_url) as connection:
        assert connection.execute("SELECT text FROM flux.logs").fetchall() == [("paid",)]


async def test_an_exception_in_the_block_rolls_back_and_is_retried(database_url: str) -> None:
    async def body(ctx: Context) -> None:
        async with ctx.transaction() as conn:
            await write(ctx, conn)
            if ctx.attempt == 1:
                raise ValueError("no money")

    job = await run(database_url, body)
    assert job.attempts is not None
    assert [attempt.outcome for attempt in job.attempts] == ["failed", "succeeded"]
    committed_together(database_url)


async def test_what_comes_after_the_block_changes_nothing(
    database_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    async def body(ctx: Context) -> None:
        async with ctx.transaction() as conn:
            await write(ctx, conn)
        raise ValueError("too late")

    job = await run(database_url, body)
    assert (job.state, job.attempt, job.error) == ("succeeded", 1, None)
    committed_together(database_url)
    assert "raised ValueError: too late changes nothing" in caplog.text


async def test_a_value_after_the_block_is_not_the_result(
    database_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    async def body(ctx: Context) -> int:
        async with ctx.transaction() as conn:
            await write(ctx, conn)
        return 7

    job = await run(database_url, body)
    assert job.result == b"null"
    assert "it belongs into ctx.result" in caplog.text


async def test_savepoints_and_a_second_block(database_url: str) -> None:
    async def body(ctx: Context) -> None:
        async with ctx.transaction() as conn:
            try:
                async with conn.transaction():
                    await write(ctx, conn)
                    raise ValueError("not this way")
            except ValueError:
                await conn.execute("INSERT INTO ledger VALUES (10)")
        with pytest.raises(RuntimeError, match="has completed this job already"):
            async with ctx.transaction():
                pass

    job = await run(database_url, body)
    assert job.state == "succeeded"
    assert [attempt for attempt, _ in rows(database_url)] == [10]
    committed_together(database_url)


async def test_a_setting_of_one_handler_is_not_the_next_ones(database_url: str) -> None:
    seen = []

    async def body(ctx: Context) -> None:
        async with ctx.transaction() as conn:
            seen.append(
                (await conn.fetchval("SELECT pg_backend_pid()"), await conn.fetchval("SHOW work_mem"))
            )
            await conn.execute("SET work_mem = '77MB'")

    flux = Flux(database_url)

    @flux.job
    async def pay(ctx: Context) -> None:
        await body(ctx)

    async with flux, flux.worker():
        for _ in range(2):
            assert (await ended(flux, (await pay.enqueue()).id)).state == "succeeded"
    assert seen[0] == seen[1]


# --- ends that nobody wished for ----------------------------------------------------------------------------------


async def test_a_claim_that_is_lost_commits_nothing(database_url: str) -> None:
    raised: list[BaseException] = []

    async def body(ctx: Context) -> None:
        try:
            async with ctx.transaction() as conn:
                await write(ctx, conn)
                if ctx.attempt == 1:
                    # As the rescuer and then another worker would have done.
                    with psycopg.connect(database_url) as other:
                        other.execute(
                            "UPDATE flux.live SET state = 'retrying', claim_id = NULL, worker_id = NULL, run_at = 0"
                        )
        except FluxError as error:
            raised.append(error)
            raise

    job = await run(database_url, body)
    assert job.attempt == 2
    assert "belongs to another claim" in str(raised[0])
    committed_together(database_url)


async def test_a_cancel_rolls_back(database_url: str) -> None:
    flux = Flux(database_url)
    inside = asyncio.Event()

    @flux.job
    async def pay(ctx: Context) -> None:
        async with ctx.transaction() as conn:
            await write(ctx, conn)
            inside.set()
            await conn.execute("SELECT pg_sleep(3600)")

    async with flux, flux.worker():
        handle = await pay.enqueue()
        await inside.wait()
        await flux.cancel(handle.id)
        assert (await ended(flux, handle.id)).state == "cancelled"
    assert rows(database_url) == []


async def test_a_deadline_rolls_back(database_url: str) -> None:
    async def body(ctx: Context) -> None:
        async with ctx.transaction() as conn:
            await write(ctx, conn)
            await asyncio.sleep(3600)

    job = await run(database_url, body, timeout="300ms", max_retries=0)
    assert job.state == "dead"
    assert job.error is not None
    assert job.error.kind == "timeout"
    assert rows(database_url) == []


async def test_a_deadline_after_the_block_ends_the_handler_and_not_the_job(database_url: str) -> None:
    async def body(ctx: Context) -> None:
        async with ctx.transaction() as conn:
            await write(ctx, conn)
        await asyncio.sleep(3600)

    job = await run(database_url, body, timeout="2s", max_retries=0)
    assert job.state == "succeeded"
    committed_together(database_url)


async def test_a_serialization_failure_is_a_failed_attempt(database_url: str) -> None:
    async def body(ctx: Context) -> None:
        async with ctx.transaction("serializable") as conn:
            assert await conn.fetchval("SELECT count(*) FROM ledger") == 0
            if ctx.attempt == 1:
                with psycopg.connect(database_url) as other:
                    other.execute("SET TRANSACTION ISOLATION LEVEL SERIALIZABLE")
                    other.execute("SELECT count(*) FROM ledger")
                    other.execute("INSERT INTO ledger VALUES (100)")
                with psycopg.connect(database_url) as other:
                    other.execute("DELETE FROM ledger")
            await write(ctx, conn)

    job = await run(database_url, body)
    assert job.attempts is not None
    assert [attempt.outcome for attempt in job.attempts] == ["failed", "succeeded"]
    assert job.attempts[0].error is not None
    assert "SerializationError" in job.attempts[0].error.message
    committed_together(database_url)


async def test_a_constraint_that_is_checked_at_the_commit(database_url: str) -> None:
    async def body(ctx: Context) -> None:
        async with ctx.transaction() as conn:
            for _ in range(3 - ctx.attempt):
                await write(ctx, conn)

    job = await run(database_url, body)
    assert job.attempts is not None
    assert [attempt.outcome for attempt in job.attempts] == ["failed", "succeeded"]
    committed_together(database_url)


async def test_a_handler_that_ends_the_transaction_itself(database_url: str) -> None:
    async def body(ctx: Context) -> None:
        async with ctx.transaction() as conn:
            await write(ctx, conn)
            await conn.execute("ROLLBACK")

    job = await run(database_url, body, max_retries=0)
    assert job.error is not None
    assert "has ended the transaction itself" in job.error.message
    assert rows(database_url) == []


async def test_a_result_that_is_no_json(database_url: str) -> None:
    async def body(ctx: Context) -> None:
        async with ctx.transaction() as conn:
            await write(ctx, conn)
            ctx.result = float("nan")

    job = await run(database_url, body)
    assert (job.state, job.attempt) == ("dead", 1)
    assert job.error is not None
    assert job.error.kind == "bad_result"
    assert rows(database_url) == []


# --- where there is none ------------------------------------------------------------------------------------------


async def test_a_synchronous_handler_has_none(database_url: str) -> None:
    flux = Flux(database_url)

    @flux.job(max_retries=0)
    def pay(ctx: Context) -> None:
        ctx.transaction()

    async with flux, flux.worker():
        job = await ended(flux, (await pay.enqueue()).id)
    assert job.error is not None
    assert "is for `async def` handlers" in job.error.message


async def test_sqlite_has_none(tmp_path: Path) -> None:
    async def body(ctx: Context) -> None:
        async with ctx.transaction():
            pass

    job = await run(f"sqlite:///{tmp_path}/flux.db", body, max_retries=0)
    assert job.error is not None
    assert "ctx.transaction() needs PostgreSQL" in job.error.message


async def test_inline_has_none(database_url: str) -> None:
    flux = Flux(database_url)

    @flux.job
    async def pay(ctx: Context) -> None:
        async with ctx.transaction():
            pass

    with inline(flux, raise_errors=True), pytest.raises(RuntimeError, match="that a worker runs"):
        await pay.enqueue()


# --- a crash at every statement -----------------------------------------------------------------------------------

STATEMENTS = (
    "BEGIN ISOLATION",
    "INSERT INTO ledger",
    "SET LOCAL enable_seqscan",
    "DELETE FROM flux.live",
    "COMMIT;",
)


@pytest.mark.parametrize("delivered", [False, True], ids=["lost on the way there", "lost on the way back"])
@pytest.mark.parametrize("statement", STATEMENTS)
async def test_the_connection_is_cut(
    database_url: str, servers: Servers, statement: str, delivered: bool
) -> None:
    proxy = servers.proxy(database_url)

    async def body(ctx: Context) -> None:
        if ctx.attempt == 1:
            # The other connections of this process send nothing like it while this job runs.
            proxy.cut_at(statement.encode(), delivered=delivered)
        async with ctx.transaction() as conn:
            await write(ctx, conn)
            ctx.result = ctx.attempt

    job = await run(proxy.url, body)
    committed = statement == "COMMIT;" and delivered
    assert job.attempt == (1 if committed else 2)
    assert job.result == str(job.attempt).encode()
    committed_together(database_url)


WORKER = """
import asyncio, os, signal, sys
import asyncpg
from flux import Context, Flux

STATEMENT, WHEN = sys.argv[2:]

class Deadly(asyncpg.Connection):
    # Kills its process right before or after one statement of the handler's transaction.
    armed = False

    async def execute(self, query, *args, **options):
        return await self._around(query, super().execute(query, *args, **options))

    async def fetch(self, query, *args, **options):
        return await self._around(query, super().fetch(query, *args, **options))

    async def _around(self, query, work):
        hit = Deadly.armed and STATEMENT in query
        if hit and WHEN == "before":
            os.kill(os.getpid(), signal.SIGKILL)
        answer = await work
        if hit:
            os.kill(os.getpid(), signal.SIGKILL)
        return answer

connect = asyncpg.connect
asyncpg.connect = lambda *args, **options: connect(*args, connection_class=Deadly, **options)

flux = Flux(sys.argv[1])

@flux.job
async def pay(ctx: Context) -> None:
    Deadly.armed = True
    async with ctx.transaction() as conn:
        await conn.execute("INSERT INTO ledger VALUES ($1)", ctx.attempt)
        ctx.result = ctx.attempt

async def main():
    async with flux, flux.worker(scheduler=False):
        await pay.enqueue()
        await asyncio.sleep(3600)

asyncio.run(main())
"""


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("statement", STATEMENTS)
async def test_the_worker_is_killed(database_url: str, tmp_path: Path, statement: str, when: str) -> None:
    script = tmp_path / "worker.py"
    script.write_text(WORKER)
    process = subprocess.Popen(
        [sys.executable, str(script), database_url, statement, when],
        cwd=tmp_path,
        env=clean_environment(FLUX_LEASE="2s"),
    )
    try:
        assert await asyncio.to_thread(process.wait, PATIENCE) == -signal.SIGKILL
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
    committed = statement == "COMMIT;" and when == "after"
    assert len(rows(database_url)) == committed

    flux = Flux(database_url)

    @flux.job
    async def pay(ctx: Context) -> None:
        async with ctx.transaction() as conn:
            await write(ctx, conn)
            ctx.result = ctx.attempt

    async with flux, flux.worker():
        with psycopg.connect(database_url) as connection:
            [(job_id,)] = connection.execute(
                "SELECT id::text FROM flux.live UNION ALL SELECT id::text FROM flux.done"
            )
        job = await ended(flux, job_id)
    assert job.attempt == (1 if committed else 2)
    assert job.result == str(job.attempt).encode()
    committed_together(database_url)
