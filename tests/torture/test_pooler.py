"""Behind PgBouncer in transaction mode, and with a worker whose clock is wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

from scripts.servers.postgres import PostgresServer
from tests.servers.private import Servers
from tests.torture.hosted import SCALE, Client, Hosted, says_in_health
from tests.torture.house import AGAIN, request

pytestmark = pytest.mark.torture


@pytest.mark.parametrize("direct", [True, False], ids=["with-direct-url", "pooler-alone"])
def test_behind_a_pooler_one_leads_and_all_is_drained(
    hosted: Hosted, servers: Servers, private_postgres: PostgresServer, direct: bool
) -> None:
    pooler = servers.pgbouncer(private_postgres)
    hosted.settings |= {"DATABASE_URL": pooler.url, "DATABASE_POOLER": "transaction"}
    if direct:
        hosted.settings["DATABASE_DIRECT_URL"] = private_postgres.url
    hosted.own_settings["DATABASE_POOLER"] = "none"
    _, rest = hosted.api()
    schedulers = [hosted.scheduler(), hosted.scheduler()]
    for _ in range(2):
        hosted.worker()
    constant = {"kind": "constant", "base": "200ms"}
    ids, lines = [], {}
    for number in range(300 * SCALE):
        line = {"file": "witness", "line": str(number)}
        match number % 6:
            case 0:
                one = request("flaky", {"fail_times": 1}, backoff=constant)
            case 1:
                one = request("append", line, delay=f"{number % 7 * 200}ms")
            case _:
                one = request("append", line, idempotency_key=str(number))
        ids.append(hosted.submit_many([one])[0])
        if one.type == "append":
            lines[ids[-1]] = str(number)
    client = Client(rest)
    client.start()
    client.sends(30)
    client.stop()
    hosted.audit_all(client)
    hosted.audit(ids, lines)
    assert {count for line, count in hosted.witnessed().items()} == {1}
    assert hosted.leaders() == 1
    assert sum("this scheduler leads" in one.log for one in schedulers) == 1
    says_in_health(rest, "/health", "ok")
    # The pooler is restarted like any server.
    client = Client(rest, seed=2)
    client.start()
    client.sends(10)
    pooler.restart()
    client.sends(10)
    client.stop()
    hosted.audit_all(client)
    hosted.no_traceback()


WRONG_CLOCK = """
import time

off = {off}
wall, wall_ns = time.time, time.time_ns
time.time = lambda: wall() + off
time.time_ns = lambda: wall_ns() + off * 1_000_000_000
"""


@pytest.mark.parametrize("hours", [1, -1])
def test_a_worker_whose_clock_is_an_hour_off_does_as_the_others_do(
    hosted: Hosted, tmp_path: Path, hours: int
) -> None:
    """Leases, due times and deadlines are the server's; a leader's clock may be wrong as well."""
    folder = tmp_path / "clock"
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(WRONG_CLOCK.format(off=hours * 3600))
    wrong = {"PYTHONPATH": f"{folder}:{hosted.environment()['PYTHONPATH']}"}
    _, rest = hosted.api()
    leader = hosted.leader(**wrong)
    off = hosted.worker("--concurrency", 2, **wrong)
    long = hosted.submit("sleep", {"seconds": 600})
    hosted.running(long)
    timed = hosted.submit("sleep", {"seconds": 600}, timeout="1s", max_retries=0)
    later = hosted.submit("append", {"file": "witness", "line": "an hour"}, delay="50m")
    client = Client(rest)
    client.start()
    client.sends(30)
    client.stop()
    hosted.until(lambda: hosted.state(timed) == "dead", "the deadline")
    assert hosted.job(timed).error.kind == "timeout"
    assert hosted.state(later) == "scheduled"
    hosted.until(
        lambda: set(client.accepted) <= set(hosted.ids("SELECT id FROM done WHERE state = 'succeeded'")),
        "what the client sent to succeed",
    )
    # It has kept its lease, and loses it like any other when it is killed.
    assert hosted.job(long).attempt == 1
    assert len(off.worker_ids) == 1
    right = hosted.worker()
    off.kill()
    hosted.until(lambda: hosted.job(long).worker_id == right.worker_ids[0], "the job to run again", AGAIN)
    leader.says(f"1 running job of worker {off.worker_ids[0]} had lost its worker: its lease is over")
    hosted.no_traceback()
