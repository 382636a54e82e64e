"""kill -9 and SIGSTOP of any process on PostgreSQL and Redis, in the middle of everything."""

from __future__ import annotations

import signal
import threading
import time
from random import Random

import pytest
from msgspec import Raw

from flux.engine.schedule_request import ScheduleRequest
from tests.torture.hosted import SCALE, Client, Hosted
from tests.torture.house import AGAIN, Process, alive, until

pytestmark = pytest.mark.torture

FORMER = (
    "SELECT 1 FROM pg_stat_activity "
    "WHERE backend_type = 'client backend' AND application_name = 'flux' AND backend_start < %s"
)
"""Sessions of processes of before a time."""


def test_what_a_killed_worker_ran_runs_again_within_a_lease(hosted: Hosted) -> None:
    leader = hosted.leader()
    victim = hosted.worker("--concurrency", 4)
    # Longer than the test may take: only another worker can have them a second time.
    jobs = {
        "async": hosted.submit("sleep", {"seconds": 600}),
        "thread": hosted.submit("block", {"seconds": 600}),
        "process": hosted.submit("cpu", {"milliseconds": 600_000}),
    }
    for job_id in jobs.values():
        hosted.running(job_id)
    hosted.until(lambda: victim.children(), "the child process to run")
    children = victim.children()
    heir = hosted.worker("--concurrency", 4)
    killed_at = time.monotonic()
    victim.kill()
    until(lambda: not any(map(alive, children)), "the child processes to die with their worker")
    for job_id in jobs.values():
        hosted.until(
            lambda job_id=job_id: hosted.job(job_id).attempt == 2 and hosted.state(job_id) == "running",  # type: ignore[misc]
            f"job {job_id} to run again",
            AGAIN - (time.monotonic() - killed_at),
        )
        job = hosted.job(job_id)
        assert job.worker_id == heir.worker_ids[-1]
        assert [(a.number, a.outcome) for a in job.attempts][:1] == [(1, "lost")]
        assert "did not renew its lease" in job.attempts[0].error.message
    leader.says(
        f"3 running jobs of worker {victim.worker_ids[-1]} had lost their worker: its lease is over; taken back: "
    )
    hosted.no_traceback()


def test_the_next_scheduler_leads_and_fires_what_was_due_once(hosted: Hosted) -> None:
    first = hosted.leader()
    second = hosted.scheduler()
    worker = hosted.worker()
    hosted.run(
        lambda engine: engine.schedules.create(
            ScheduleRequest(name="each", every="1s", type="append", payload=Raw(b'{"file":"ticks"}'))
        )
    )
    later = [hosted.submit("append", {"file": "witness", "line": str(n)}, delay="2s") for n in range(20)]
    first.kill()
    second.says("this scheduler leads (epoch 2)", within=AGAIN)
    hosted.until(lambda: hosted.witnessed().total() == 20, "what was due to run")
    # It rescues too.
    lost = hosted.submit("sleep", {"seconds": 3})
    hosted.running(lost)
    worker.kill()
    hosted.worker()
    assert [a.outcome for a in hosted.ended(lost, AGAIN).attempts] == ["lost", "succeeded"]
    hosted.audit([*later, lost], {id: str(n) for n, id in enumerate(later)})
    assert set(hosted.witnessed().values()) == {1}
    fired = hosted.rows("SELECT fire_at, count(*) FROM done WHERE fire_at IS NOT NULL GROUP BY 1")
    assert {count for _, count in fired} <= {1}
    assert fired


@pytest.mark.parametrize("moment", range(SCALE))
def test_a_batch_is_there_whole_or_not_at_all(hosted: Hosted, moment: int) -> None:
    """The API is killed at a moment within the batches that clients send."""
    random = Random(moment)
    process, rest = hosted.api()
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
    [(before,)] = hosted.rows("SELECT clock_timestamp()")
    _, rest = hosted.api()
    assert rest.submit("echo")
    # The server may still be at what the dead process had sent.
    hosted.until(lambda: not hosted.rows(FORMER, before), "the dead process's sessions to end")
    counts = dict(
        hosted.rows(
            "SELECT convert_from(options, 'UTF8')::json #>> '{tags,0}' AS tag, count(*) FROM live "
            "WHERE options IS NOT NULL GROUP BY tag"
        )
    )
    stored = set(hosted.ids("SELECT id FROM live"))
    assert accepted
    assert len(failed) == 3
    for tag, ids in accepted:
        assert counts.pop(tag) == size
        assert set(ids) <= stored
    # Those whose answer did not come: all or nothing.
    assert set(counts) <= set(failed)
    assert set(counts.values()) <= {size}


def test_a_frozen_worker_finds_its_jobs_elsewhere(hosted: Hosted) -> None:
    leader = hosted.leader()
    frozen = hosted.worker()
    job_id = hosted.submit("sleep", {"seconds": 3})
    thread_id = hosted.submit("block", {"seconds": 3})
    for id in (job_id, thread_id):
        hosted.running(id)
    frozen.send(signal.SIGSTOP)
    (old_id,) = frozen.worker_ids
    heir = hosted.worker()
    ended = {id: hosted.ended(id, AGAIN + 3.0) for id in (job_id, thread_id)}
    for job in ended.values():
        assert [(a.outcome, a.worker_id) for a in job.attempts] == [
            ("lost", old_id),
            ("succeeded", heir.worker_ids[0]),
        ]
    leader.says(f"2 running jobs of worker {old_id} had lost their worker")
    heir.send(signal.SIGTERM)
    assert heir.ended() == 0
    # Both handlers end now, as if nothing had been: what they say is refused.
    frozen.send(signal.SIGCONT)
    frozen.says(f"worker {old_id} lost its lease; it goes on under a new id")
    hosted.until(lambda: len(frozen.worker_ids) == 2, "the new id to take jobs")
    after = hosted.submit("echo", {"still": "here"})
    assert hosted.ended(after).worker_id == frozen.worker_ids[1] != old_id
    for id, before in ended.items():
        assert hosted.job(id) == before
    hosted.audit([job_id, thread_id, after])
    hosted.no_traceback()


def test_kills_at_random_moments_lose_and_repeat_nothing(hosted: Hosted) -> None:
    """A client sends all the while; workers, schedulers and the API are killed and replaced."""
    random = Random(1)
    api, rest = hosted.api()
    staff: list[tuple[Process, str]] = [
        *((hosted.start("worker", "--concurrency", 5), "worker") for _ in range(2)),
        *((hosted.start("scheduler"), "scheduler") for _ in range(2)),
        (api, "api"),
    ]
    client = Client(rest)
    client.start()
    # Each of them once, and more of them in the long form.
    blows = [index % len(staff) for index in range(len(staff) * SCALE)]
    random.shuffle(blows)
    for index in blows:
        client.sends(random.randrange(5, 30))
        victim, role = staff[index]
        victim.kill()
        if role == "api":
            staff[index] = (hosted.api(port=rest.port)[0], role)
        else:
            flags = ("--concurrency", 5) if role == "worker" else ()
            staff[index] = (hosted.start(role, *flags), role)
    client.sends(10)
    client.stop()
    hosted.audit_all(client)
    hosted.no_traceback()
