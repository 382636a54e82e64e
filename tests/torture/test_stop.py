"""Frozen past the lease, asked to leave once, asked twice: what runs goes on exactly where it should."""

from __future__ import annotations

import contextlib
import http.client
import re
import signal

import pytest

from tests.torture.house import House, Process, alive, pending, until

pytestmark = pytest.mark.torture

ROGUES = "tests.torture.rogues:flux"


def test_a_frozen_worker_loses_its_job_and_goes_on_under_a_new_id(house: House) -> None:
    house.leader()
    frozen = house.worker()
    # Long enough to be frozen while they run, and over when the lease is.
    job_id = house.submit("sleep", {"seconds": 3})
    thread_id = house.submit("block", {"seconds": 3})
    house.running(job_id)
    house.running(thread_id)
    frozen.send(signal.SIGSTOP)
    (old_id,) = frozen.worker_ids
    heir = house.worker()
    for job in (house.ended(job_id), house.ended(thread_id)):
        assert (job.state, job.attempt, job.worker_id) == ("succeeded", 2, heir.worker_ids[0])
        assert [(a.outcome, a.worker_id) for a in job.attempts] == [
            ("lost", old_id),
            ("succeeded", heir.worker_ids[0]),
        ]
    ended = {id: house.job(id) for id in (job_id, thread_id)}

    heir.send(signal.SIGTERM)
    assert heir.ended() == 0
    frozen.send(signal.SIGCONT)
    # Both handlers end now, as if nothing had been: what they say is refused.
    frozen.says(f"worker {old_id} lost its lease; it goes on under a new id")
    house.until(lambda: len(frozen.worker_ids) == 2, "the new id to take jobs")
    after = house.submit("echo", {"still": "here"})
    assert house.ended(after).worker_id == frozen.worker_ids[1] != old_id
    for id, job in ended.items():
        assert house.job(id) == job
    house.audit([job_id, thread_id, after])


def test_a_frozen_leader_finds_its_epoch_over(house: House) -> None:
    first = house.leader()
    second = house.scheduler()
    worker = house.worker()
    first.send(signal.SIGSTOP)
    second.says("this scheduler leads (epoch 2)")
    first.send(signal.SIGCONT)
    # By its own clock or by what the store says: whichever it looks at first.
    first.says("this scheduler leads no more (epoch 1): ")
    assert re.search(
        r"epoch 1\): (another scheduler leads|the leadership could not be renewed in time)", first.log
    )
    # One leads, and one only: what is due fires once.
    later = [house.submit("append", {"file": "witness", "line": str(n)}, delay="300ms") for n in range(20)]
    house.all_ended()
    house.audit(later, {id: str(n) for n, id in enumerate(later)})
    assert set(house.witnessed().values()) == {1}
    assert worker.code is None


def test_asked_once_a_worker_lets_its_jobs_finish(house: House) -> None:
    worker = house.worker()
    jobs = [
        house.submit("sleep", {"seconds": 4}),
        house.submit("block", {"seconds": 4}),
        house.submit("cpu", {"milliseconds": 4000}),
    ]
    for job_id in jobs:
        house.running(job_id)
    children = worker.children()
    worker.send(signal.SIGTERM)
    worker.says("leaves: waits for 3 running jobs")
    waiting = house.submit("echo")
    assert worker.ended() == 0
    for job_id in jobs:
        job = house.job(job_id)
        assert (job.state, job.attempt) == ("succeeded", 1)
    assert house.state(waiting) == "available"
    assert not any(map(alive, children))
    worker.says("has left")
    assert "Traceback" not in worker.log


def test_past_the_grace_jobs_are_handed_back_and_taken_at_once(house: House) -> None:
    """There is no scheduler: only the hand-back can give the jobs to the heir."""
    leaver = house.worker(FLUX_LEASE="60s", FLUX_SHUTDOWN_GRACE="6s")
    jobs = [
        house.submit("sleep", {"seconds": 600}),
        house.submit("block", {"seconds": 600}),
        house.submit("cpu", {"milliseconds": 600_000}),
    ]
    for job_id in jobs:
        house.running(job_id)
    heir = house.worker("--queues", "default", FLUX_LEASE="60s")
    quick = house.submit("sleep", {"seconds": 2}, queue="not-the-heirs")
    house.running(quick)
    leaver.send(signal.SIGTERM)
    leaver.says("leaves: waits for 4 running jobs", "hands back 3 jobs")
    for job_id in jobs:
        house.until(
            lambda job_id=job_id: house.job(job_id).worker_id == heir.worker_ids[0],  # type: ignore[misc]
            "the heir to have the job",
        )
        job = house.job(job_id)
        assert (job.state, job.attempt) == ("running", 1)
        assert [(a.number, a.outcome) for a in job.attempts] == [(1, "released"), (1, None)]
    assert house.ended(quick).attempts[-1].worker_id == leaver.worker_ids[0]
    # Its blocked thread holds nobody up.
    assert leaver.ended() == 0


PATIENT = "10m"
"""A grace so long that only the second signal can end the process while a test waits."""


def at_once(process: Process) -> None:
    """The second signal: it is gone long before its grace is over."""
    process.send(signal.SIGTERM)
    assert process.ended() == 128 + signal.SIGTERM, process.tail


def test_asked_twice_a_worker_leaves_at_once(house: House) -> None:
    """Also past a thread that blocks, an async handler that refuses to end, and one that waits for a thread."""
    worker = house.worker(ROGUES, FLUX_SHUTDOWN_GRACE=PATIENT)
    types = ["patient", "stubborn", "blocked", "in_a_thread", "isolated"]
    jobs = [house.submit(type) for type in types]
    for job_id in jobs:
        house.running(job_id)
    house.until(lambda: worker.children(), "the child process to run")
    children = worker.children()
    worker.send(signal.SIGTERM)
    worker.says("leaves: waits for 5 running jobs")
    at_once(worker)
    until(lambda: not any(map(alive, children)), "the child process to end")
    for job_id in jobs:
        job = house.job(job_id)
        assert (job.state, job.attempt, job.attempts[-1].outcome) == ("available", 0, "released")


def test_asked_twice_a_worker_leaves_even_while_its_loop_is_stuck(house: House) -> None:
    """The event loop never comes to hear the signals: the second one counts all the same."""
    worker = house.worker(ROGUES, FLUX_LEASE="30s", FLUX_SHUTDOWN_GRACE=PATIENT)
    house.submit("never_yields", {"seconds": 600})
    house.until(lambda: (house.demo / "never_yields.once").exists(), "the loop to be stuck")
    worker.send(signal.SIGTERM)
    # Two signals of one kind that wait at the same time are one: the first must have been taken.
    until(lambda: not pending(worker.pid, signal.SIGTERM), "the first signal to arrive")
    at_once(worker)
    worker.says("the end is held up by")


def test_asked_twice_up_leaves_at_once_past_a_stream_and_a_wait(house: House) -> None:
    process, rest = house.up(FLUX_SHUTDOWN_GRACE=PATIENT)
    job_id = rest.submit("block", {"seconds": 600})
    until(lambda: rest.job(job_id)["state"] == "running", "the job to run")
    with contextlib.ExitStack() as stack:
        for path in ("/api/v1/events", f"/api/v1/jobs/{job_id}/wait?timeout=5m"):
            connection = stack.enter_context(
                contextlib.closing(http.client.HTTPConnection("127.0.0.1", rest.port, timeout=60))
            )
            connection.request("GET", path)
        process.send(signal.SIGTERM)
        process.says("leaves: waits for 1 running job")
        at_once(process)
    assert house.state(job_id) == "available"


def test_what_handlers_leave_running_does_not_hold_up_the_end(house: House) -> None:
    """A thread that is no daemon, and one of the default executor: Python itself would wait for both for ever."""
    worker = house.worker(ROGUES, FLUX_SHUTDOWN_GRACE="300ms")
    left = house.ended(house.submit("leaves_a_thread"))
    assert left.state == "succeeded"
    job_id = house.submit("in_a_thread")
    house.running(job_id)
    worker.send(signal.SIGTERM)
    assert worker.ended() == 0
    worker.says("has left", "threads that handlers left running (", "left-behind", ": it is cut off")
    assert house.state(job_id) == "available"


def test_a_drained_worker_leaves_and_its_supervisor_lets_it(house: House) -> None:
    supervisor = house.start("worker", "--processes", 2)
    until(lambda: supervisor.log.count(" takes jobs: ") == 2, "two workers")
    for worker_id in supervisor.worker_ids:
        house.run(lambda engine, id=worker_id: engine.workers.drain(id))
    assert supervisor.ended() == 0
    supervisor.says("was asked to drain")
