"""PostgreSQL restarts, crashes, is gone, full, cut off: said in words, nothing lost, nothing twice."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from scripts.servers import account
from scripts.servers.postgres import PostgresServer
from tests.servers.private import Servers
from tests.servers.run import Run
from tests.servers.schema import migrate
from tests.torture.hosted import SCALE, Client, Hosted, each, says_in_health
from tests.torture.house import AGAIN, Process, Rest, until

pytestmark = pytest.mark.torture


def staff_of(hosted: Hosted, **settings: object) -> tuple[list[Process], Rest]:
    """An API, a scheduler that leads, and a worker; in this order."""
    api, rest = hosted.api(**settings)
    return [api, hosted.leader(**settings), hosted.worker(**settings)], rest


@pytest.mark.parametrize("mode", ["fast", "immediate"])
def test_a_restart_in_the_middle_of_everything(
    hosted: Hosted, private_postgres: PostgresServer, mode: str
) -> None:
    # A lease that no restart outlasts, so that the worker keeps what it runs.
    staff, rest = staff_of(hosted, FLUX_LEASE="60s")
    client = Client(rest)
    client.start()
    for _ in range(SCALE):
        client.sends(30)
        slow = rest.submit("sleep", {"seconds": 4})
        hosted.running(slow)
        private_postgres.restart(mode)
        client.sends(30)
        assert hosted.ended(slow).attempt == 1
    client.stop()
    says_in_health(rest, "/health", "ok")
    hosted.audit_all(client)
    hosted.no_traceback()
    assert [len(process.worker_ids) for process in staff] == [0, 0, 1]


def test_gone_for_less_than_a_lease(hosted: Hosted, private_postgres: PostgresServer) -> None:
    """Outcomes wait in memory; what ended meanwhile ran once."""
    staff, rest = staff_of(hosted, FLUX_LEASE="60s")
    api, scheduler, worker = staff
    client = Client(rest)
    client.start()
    client.sends(20)
    slow = rest.submit("sleep", {"seconds": 4})
    hosted.running(slow)
    private_postgres.stop("immediate")
    client.refused("refuses connections: is PostgreSQL running there?")
    for path in ("/health", "/health/db", "/health/ready"):
        says_in_health(rest, path, "down", "refuses connections: is PostgreSQL running there?")
    assert rest.status("/health/live") == 200
    worker.says("cannot write ", "refuses connections")
    scheduler.says(" failed: ", "refuses connections")
    api.says("Nothing can be accepted or written until that is over.")
    private_postgres.start()
    for path in ("/health", "/health/db", "/health/ready"):
        says_in_health(rest, path, "ok")
    each(staff, "takes writes again")
    client.sends(10)
    client.stop()
    assert hosted.ended(slow).attempt == 1
    hosted.audit_all(client)
    assert len(worker.worker_ids) == 1
    hosted.no_traceback()


def test_gone_for_longer_than_the_lease(hosted: Hosted, private_postgres: PostgresServer) -> None:
    """The worker stops what it runs before others may own it, and begins anew when the server is back."""
    (_, scheduler, worker), rest = staff_of(hosted, FLUX_LEASE="3s")
    client = Client(rest)
    client.start()
    client.sends(20)
    slow = rest.submit("sleep", {"seconds": 8})
    hosted.running(slow)
    private_postgres.kill()
    worker.says(
        "heartbeat failed (",
        "has lost its lease (no heartbeat has reached the store for ",
        " stopped here, to be rescued and run again",
        "cannot register with the store (",
    )
    scheduler.says("the leadership could not be renewed")
    private_postgres.start()
    client.sends(10)
    client.stop()
    assert [a.outcome for a in hosted.ended(slow, AGAIN + 8).attempts] == ["lost", "succeeded"]
    says_in_health(rest, "/health", "ok")
    hosted.audit_all(client)
    assert len(worker.worker_ids) >= 2
    hosted.no_traceback()


# --- the network ----------------------------------------------------------------------------------------------------


def test_a_worker_without_its_network_loses_its_jobs_to_others_and_comes_back(
    hosted: Hosted, servers: Servers, private_postgres: PostgresServer
) -> None:
    """Both servers are there for everybody else."""
    to_postgres = servers.proxy(private_postgres.url)
    to_redis = servers.proxy(hosted.settings["REDIS_URL"])
    hosted.leader()
    far = hosted.worker("--concurrency", 4, DATABASE_URL=to_postgres.url, REDIS_URL=to_redis.url)
    # The second one ends after the lease, in a thread that nobody can stop.
    jobs = [hosted.submit("sleep", {"seconds": 600}), hosted.submit("block", {"seconds": 12})]
    for job_id in jobs:
        hosted.running(job_id)
    # Silent, not refused: nobody tells the worker that it is alone.
    to_postgres.pause()
    to_redis.pause()
    near = hosted.worker("--concurrency", 4)
    for job_id in jobs:
        hosted.until(
            lambda job_id=job_id: hosted.job(job_id).worker_id == near.worker_ids[0],  # type: ignore[misc]
            "the near worker to have the job",
            AGAIN,
        )
        assert hosted.job(job_id).attempts[0].outcome == "lost"
    far.says(
        "has lost its lease (no heartbeat has reached the store for ",
        " stopped here, to be rescued and run again",
    )
    assert hosted.ended(jobs[1]).attempt == 2
    to_postgres.resume()
    to_redis.resume()
    hosted.until(lambda: len(far.worker_ids) >= 2, "the far worker to take jobs again")
    near.kill()
    hosted.until(
        lambda: hosted.job(jobs[0]).worker_id == far.worker_ids[-1], "the far worker to have it again", AGAIN
    )
    assert [a.outcome for a in hosted.job(jobs[0]).attempts[:2]] == ["lost", "lost"]
    assert hosted.counted("succeeded") == {jobs[1]: 1}
    hosted.no_traceback()


def test_cut_and_cut_again(hosted: Hosted, servers: Servers, private_postgres: PostgresServer) -> None:
    """Every connection of every process breaks at once, at moments of no one's choice."""
    proxy = servers.proxy(private_postgres.url)
    staff, rest = staff_of(hosted, DATABASE_URL=proxy.url, FLUX_LEASE="60s")
    client = Client(rest)
    client.start()
    for _ in range(5 * SCALE):
        client.sends(10)
        proxy.cut()
    proxy.refuse()
    says_in_health(rest, "/health/db", "down", "refuses connections")
    proxy.resume()
    says_in_health(rest, "/health/db", "ok")
    client.sends(10)
    client.stop()
    hosted.audit_all(client)
    hosted.no_traceback()
    assert len(staff[2].worker_ids) == 1


def test_connections_that_fall_silent_are_given_up(
    hosted: Hosted, servers: Servers, private_postgres: PostgresServer
) -> None:
    """As when a host is replaced by another one: what is open leads nowhere and nobody says so, new ones are fine."""
    proxy = servers.proxy(private_postgres.url)
    (_, scheduler, worker), rest = staff_of(hosted, DATABASE_URL=proxy.url, FLUX_LEASE="15s")
    client = Client(rest)
    client.start()
    client.sends(20)
    slow = rest.submit("sleep", {"seconds": 20})
    hosted.running(slow)
    # The heartbeat has a connection from the first one on.
    [(registered,)] = hosted.rows("SELECT lease_until FROM workers")
    hosted.until(lambda: hosted.rows("SELECT lease_until FROM workers") != [(registered,)], "a heartbeat")
    proxy.forget()
    worker.says("heartbeat failed (no answer for ")
    scheduler.says("the leadership could not be renewed (no answer for ")
    client.sends(10)
    client.stop()
    assert hosted.ended(slow).attempt == 1
    hosted.audit_all(client)
    hosted.no_traceback()
    assert len(worker.worker_ids) == 1


def test_a_path_that_is_silent_for_longer_than_a_lease(
    hosted: Hosted, servers: Servers, private_postgres: PostgresServer
) -> None:
    """Nothing is refused, nothing is answered: everybody says so in time, and goes on by himself afterwards."""
    proxy = servers.proxy(private_postgres.url)
    (_, scheduler, worker), rest = staff_of(hosted, DATABASE_URL=proxy.url)
    client = Client(rest)
    client.start()
    client.sends(20)
    slow = rest.submit("sleep", {"seconds": 8})
    hosted.running(slow)
    proxy.pause()
    worker.says("has lost its lease (no heartbeat has reached the store for ")
    scheduler.says("this scheduler leads no more (epoch 1): the leadership could not be renewed in time")
    client.refused("did not answer in time")
    says_in_health(rest, "/health/db", "down", "has not answered for ")
    assert rest.status("/health/live") == 200
    proxy.resume()
    hosted.until(lambda: hosted.leaders() >= 2, "a leader", AGAIN)
    assert [a.outcome for a in hosted.ended(slow, AGAIN + 8).attempts] == ["lost", "succeeded"]
    client.sends(10)
    client.stop()
    says_in_health(rest, "/health", "ok")
    hosted.audit_all(client)
    hosted.no_traceback()
    assert len(worker.worker_ids) >= 2


# --- the disk -------------------------------------------------------------------------------------------------------


@pytest.fixture
def small_disk(servers_run: Run) -> Iterator[Path]:
    """A disk of its own with 160 MB, where servers may go."""
    if os.geteuid() != 0:
        pytest.skip("a small disk is a mount, which takes root")
    place = account.make_folder(servers_run.new_folder())
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=160m", "tmpfs", place],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        pytest.skip(f"a small disk cannot be mounted here: {done.stderr.strip()}")
    try:
        yield place
    finally:
        subprocess.run(["umount", "--lazy", place], check=True)


def fill(disk: Path) -> Path:
    """Leave no room on a disk; the file to delete for it to be there again."""
    ballast = disk / "ballast"
    with ballast.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(b"\0" * 65_536)
        except OSError:
            return ballast


@pytest.mark.parametrize("where", ["tables", "log"])
def test_a_full_disk(
    tmp_path: Path, servers: Servers, servers_run: Run, small_disk: Path, where: str
) -> None:
    """Full where the tables are, the server refuses; full where its write-ahead log is, it stops altogether."""
    small = account.make_folder(small_disk / "server")
    large = account.make_folder(servers_run.new_folder())
    server = servers.postgres(folder=small if where == "tables" else large)
    migrate(server.url)
    # The log apart from the tables, one of the two on the small disk.
    server.stop()
    log = server.data / "pg_wal"
    elsewhere = (large if where == "tables" else small) / "pg_wal"
    subprocess.run(["cp", "-Rp", log, elsewhere], check=True)
    shutil.rmtree(log)
    log.symlink_to(elsewhere)
    server.start()
    hosted = Hosted(tmp_path, server.url)
    try:
        (_, _, worker), rest = staff_of(hosted, FLUX_LEASE="60s")
        client = Client(rest)
        client.start()
        client.sends(20)
        ballast = fill(small_disk)
        # Until the pages that it has already are used up.
        until(lambda: _grows_no_more(rest), "the disk to be full")
        client.refused("the disk is full" if where == "tables" else "PostgreSQL")
        ballast.unlink()
        if not server.is_running:
            assert where == "log"
            server.start()
        says_in_health(rest, "/health", "ok")
        client.sends(10)
        client.stop()
        hosted.audit_all(client)
        hosted.no_traceback()
        assert len(worker.worker_ids) == 1
    finally:
        hosted.close()
        server.kill()


def _grows_no_more(rest: Rest) -> bool:
    noise = os.urandom(200_000).hex()
    jobs: list[dict[str, Any]] = [{"type": "echo", "payload": {"noise": noise}}] * 2
    return rest.call("POST", "/api/v1/jobs/batch", {"jobs": jobs})[0] == 503


# --- another server -------------------------------------------------------------------------------------------------


def test_a_standby_takes_over_and_has_all_that_was_accepted(
    tmp_path: Path, servers: Servers, private_postgres: PostgresServer
) -> None:
    """With a synchronous standby; both servers are in the URL, and whichever takes writes is used."""
    migrate(private_postgres.url)
    standby = servers.standby(private_postgres)
    with psycopg.connect(private_postgres.url, autocommit=True) as connection:
        # Of this server alone: the other one, once promoted, must not wait for a standby of its own.
        connection.execute("ALTER SYSTEM SET synchronous_standby_names = '*'")
        connection.execute("SELECT pg_reload_conf()")
        until(
            lambda: connection.execute(
                "SELECT 1 FROM pg_stat_replication WHERE sync_state = 'sync'"
            ).fetchall(),
            "the standby to be synchronous",
        )
    here, _, name = private_postgres.url.rpartition("/")
    hosted = Hosted(tmp_path, private_postgres.url)
    hosted.settings["DATABASE_URL"] = (
        f"{here},127.0.0.1:{standby.port}/{name}?target_session_attrs=read-write"
    )
    try:
        staff, rest = staff_of(hosted, FLUX_LEASE="60s")
        client = Client(rest)
        client.start()
        client.sends(40)
        says_in_health(rest, "/health/db", "ok", "a synchronous standby")
        slow = rest.submit("sleep", {"seconds": 4})
        until(lambda: rest.job(slow)["state"] == "running", "the job to run")
        private_postgres.kill()
        says_in_health(rest, "/health/db", "down")
        standby.promote()
        hosted.witness_url = standby.url
        says_in_health(rest, "/health/db", "ok", "no synchronous standby")
        client.sends(40)
        client.stop()
        until(lambda: rest.job(slow)["state"] == "succeeded", "the outcome to be stored")
        assert rest.job(slow)["attempt"] == 1
        hosted.audit_all(client)
        hosted.no_traceback()
        assert len(staff[2].worker_ids) == 1
    finally:
        hosted.close()
