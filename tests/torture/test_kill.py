"""kill -9 of any process at any time: nothing is lost, nothing is finished twice."""

from __future__ import annotations

import os
import signal
import threading
import time
from random import Random
from typing import Any

import pytest

from tests.torture.house import AGAIN, LEASE, House, Process, alive, request, until

pytestmark = pytest.mark.torture

RESCUED = 2 * LEASE + 5.0
"""Seconds until that is so where leaders are killed too, one after the other."""


def test_a_killed_worker_takes_its_children_along_and_its_jobs_run_again(house: House) -> None:
    house.leader()
    victim = house.worker("--concurrency", 4)
    # Longer than the test may take: only another worker, and shorter payloads, could end them by luck.
    jobs = {
        "async": house.submit("sleep", {"seconds": 600}),
        "thread": house.submit("block", {"seconds": 600}),
        "process": house.submit("cpu", {"milliseconds": 600_000}),
    }
    for job_id in jobs.values():
        house.running(job_id)
    house.until(lambda: victim.children(), "the child process to run")
    children = victim.children()

    heir = house.worker("--concurrency", 4)
    killed_at = time.monotonic()
    victim.kill()

    until(lambda: not any(map(alive, children)), "the child processes to die with their worker")
    for job_id in jobs.values():
        house.until(
            lambda job_id=job_id: house.job(job_id).attempt == 2 and house.state(job_id) == "running",  # type: ignore[misc]
            f"job {job_id} to run again",
            AGAIN - (time.monotonic() - killed_at),
        )
        job = house.job(job_id)
        assert job.worker_id == heir.worker_ids[-1]
        assert [(a.number, a.outcome) for a in job.attempts][:1] == [(1, "lost")]
        assert job.attempts[0].worker_id == victim.worker_ids[-1]
        assert "did not renew its lease" in job.attempts[0].error.message
    house.processes[0].says("3 running jobs of worker")


def test_a_job_that_kills_its_workers_ends_dead_and_says_so(house: House) -> None:
    """A poison job: each rescue counts an attempt."""
    leader = house.leader()
    job_id = house.submit("sleep", {"seconds": 600}, max_retries=1)
    for _ in range(2):
        worker = house.worker()
        house.running(job_id)
        worker.kill()
        house.until(lambda: house.state(job_id) != "running", "the rescue", AGAIN)
    job = house.job(job_id)
    assert (job.state, job.attempt, job.error.kind) == ("dead", 2, "lost")
    assert "did not renew its lease" in job.error.message
    leader.says("1 running job of worker")


def test_another_scheduler_leads_when_the_leader_is_killed(house: House) -> None:
    first = house.leader()
    second = house.scheduler()
    worker = house.worker()
    retried = house.submit("flaky", {"fail_times": 1}, backoff={"kind": "constant", "base": "1s"})
    first.kill()
    second.says("this scheduler leads (epoch 2)", within=AGAIN)
    assert house.ended(retried).result == b'{"attempt":2}'
    # The new leader rescues too.
    lost = house.submit("sleep", {"seconds": 3})
    house.running(lost)
    worker.kill()
    heir = house.worker()
    assert house.ended(lost, AGAIN).worker_id == heir.worker_ids[-1]


@pytest.mark.parametrize("moment", range(3))
def test_a_batch_is_there_whole_or_not_at_all(house: House, moment: int) -> None:
    """The API is killed at a moment within the batches that clients send."""
    random = Random(moment)
    process, rest = house.api()
    size, accepted, failed = 2_000, [], []

    def client(name: int) -> None:
        for number in range(100):
            tag = f"batch-{name}-{number}"
            jobs = [{"type": "echo", "payload": {"n": n}, "tags": [tag]} for n in range(size)]
            try:
                status, _, answer = rest.call("POST", "/api/v1/jobs/batch", {"jobs": jobs})
            except (OSError, ValueError):
                failed.append(tag)
                return
            assert status == 201, answer
            accepted.append((tag, [job["id"] for job in answer["jobs"]]))

    clients = [threading.Thread(target=client, args=(n,)) for n in range(3)]
    for thread in clients:
        thread.start()
    until(lambda: accepted, "a first batch")
    time.sleep(random.uniform(0.0, 0.25))  # the moment of the kill, not a wait for anything
    process.kill()
    for thread in clients:
        thread.join()

    # The next process finds the file in order and goes on.
    _, rest = house.api()
    assert rest.submit("echo")
    counts = dict(
        house.rows(
            "SELECT json_extract(options, '$.tags[0]') AS tag, count(*) FROM live WHERE tag IS NOT NULL GROUP BY tag"
        )
    )
    stored = {id for (id,) in house.rows("SELECT id FROM live")}
    assert accepted
    assert len(failed) == 3
    for tag, ids in accepted:
        assert counts.pop(tag) == size
        assert set(ids) <= stored
    # Those whose answer did not come: all or nothing.
    assert set(counts) <= set(failed)
    assert set(counts.values()) <= {size}
    assert house.rows("PRAGMA integrity_check") == [("ok",)]


def test_up_is_killed_and_its_successor_goes_on(house: House) -> None:
    first, rest = house.up()
    jobs = [rest.submit("append", {"file": "witness", "line": f"a{n}"}) for n in range(20)]
    long = rest.submit("sleep", {"seconds": 3})
    later = rest.submit("append", {"file": "witness", "line": "later"}, delay="1s")
    until(lambda: rest.job(long)["state"] == "running", "the long job to run")
    children = first.children()
    killed_at = time.monotonic()
    first.kill()
    until(lambda: not any(map(alive, children)), "its children to die")

    _, rest = house.up()
    until(
        lambda: rest.job(long)["attempt"] == 2,
        "the long job to run again",
        AGAIN - (time.monotonic() - killed_at),
    )
    house.all_ended()
    house.audit([*jobs, long, later], {id: f"a{n}" for n, id in enumerate(jobs)} | {later: "later"})


def test_a_supervisor_that_is_killed_leaves_no_workers_behind(house: House) -> None:
    supervisor = house.start("worker", "--processes", 2)
    until(lambda: supervisor.log.count(" takes jobs: ") == 2, "two workers")
    children = supervisor.children()
    victim = children[0]
    # One worker is killed: another one starts.
    os.kill(victim, signal.SIGKILL)
    supervisor.says(f"worker process {victim} ended with signal 9 (Killed); another one starts in 0.5 s")
    until(lambda: supervisor.log.count(" takes jobs: ") == 3, "a third worker")
    children = supervisor.children()
    assert len(children) == 2
    supervisor.kill()
    until(lambda: not any(map(alive, children)), "the workers to leave")
    assert supervisor.log.count(" has left") == 2


def kinds(random: Random, number: int) -> Any:
    """A job of the stream, and whether `append` is its witness."""
    kind = random.choices(
        ["append", "echo", "sleep", "block", "cpu", "flaky", "later"], [60, 8, 8, 6, 4, 7, 7]
    )[0]
    # Every kill may cost an attempt, and none may run out of them.
    fields: dict[str, Any] = {"max_retries": 50, "backoff": {"kind": "constant", "base": "100ms"}}
    line = {"file": "witness", "line": str(number)}
    match kind:
        case "append":
            return request("append", line, **fields)
        case "later":
            return request("append", line, delay=f"{random.randrange(3000)}ms", **fields)
        case "sleep" | "block":
            return request(kind, {"seconds": random.uniform(0.0, 0.5)}, **fields)
        case "cpu":
            return request("cpu", {"milliseconds": random.uniform(0.0, 100.0)}, **fields)
        case "flaky":
            return request("flaky", {"fail_times": random.randrange(4)}, **fields)
        case _:
            return request("echo", {"n": number}, **fields)


@pytest.mark.parametrize("seed", [1, 2])
def test_kills_at_random_moments_lose_and_repeat_nothing(house: House, seed: int) -> None:
    """A stream of some hundred jobs; workers and schedulers are killed and replaced all the while."""
    random = Random(seed)
    staff: list[tuple[Process, str]] = [
        *((house.start("worker", "--concurrency", 5), "worker") for _ in range(3)),
        *((house.start("scheduler"), "scheduler") for _ in range(2)),
    ]
    accepted: dict[str, str] = {}
    killed_at: dict[str, float] = {}
    ids: list[str] = []
    for number in range(8):
        batch = [kinds(random, number * 50 + n) for n in range(50)]
        got = house.submit_many(batch)
        ids += got
        accepted |= {
            id: str(number * 50 + n)
            for n, (id, one) in enumerate(zip(got, batch, strict=True))
            if one.type == "append"
        }
        until_then = time.monotonic() + random.uniform(0.2, 1.0)
        until(lambda: time.monotonic() >= until_then, "the next moment", 2.0)  # noqa: B023
        index = random.randrange(len(staff))
        victim, role = staff[index]
        killed = time.time()
        victim.kill()
        killed_at |= dict.fromkeys(victim.worker_ids, killed)
        staff[index] = (
            house.start(*(("worker", "--concurrency", 5) if role == "worker" else ("scheduler",))),
            role,
        )
    house.all_ended(120.0)
    house.audit(ids, accepted)
    assert len(ids) == 400
    # Whatever was killed, and the leader with it: what ran was taken back in time, and from the dead only, or from
    # those who knew it themselves: a machine this busy may keep a heartbeat from the file for a whole lease.
    logs = "".join(process.log for process in house.processes)
    lost = house.rows("SELECT worker_id, finished_at FROM attempts WHERE outcome = 'lost'")
    starved = {worker_id for worker_id, _ in lost if f"worker {worker_id} lost its lease" in logs}
    late = {worker_id: at / 1e6 - killed_at[worker_id] for worker_id, at in lost if worker_id not in starved}
    assert all(seconds <= RESCUED for seconds in late.values()), late
    # No restarted process wrote a traceback, whatever it found.
    for process, _ in staff:
        assert "Traceback" not in process.log, process.tail
