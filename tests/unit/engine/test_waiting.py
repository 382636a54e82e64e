"""The sentence that says why a job waits."""

from __future__ import annotations

from typing import Any

import pytest

from flux.domain.duration import DAY, HOUR, MINUTE, SECOND
from flux.domain.job import Job, JobState, Options
from flux.engine.ports import QueueSettings, QueueView, WorkerInfo, WorkerView
from flux.engine.waiting import spoken, waiting_for

NOW = 1_790_000_000 * SECOND
S = JobState


def job(state: JobState, run_at: int = NOW, **more: Any) -> Job:
    fields = {"attempt": 0, "attempt_limit": 4, "max_retries": 3, "created_at": NOW} | more
    return Job(id="j", type="email", queue="mail", priority=5, state=state, run_at=run_at, **fields)


def worker(
    slots: int = 10,
    busy: int = 0,
    queues: str = "*",
    types: tuple[str, ...] = ("email",),
    alive: bool = True,
    draining: bool = False,
) -> WorkerView:
    info = WorkerInfo(id="w", host="h", pid=1, version="1", queues=queues, types=types, slots=slots)
    return WorkerView(
        info=info,
        started_at=NOW - HOUR,
        seen_at=NOW - MINUTE,
        lease_until=NOW,
        busy=busy,
        draining=draining,
        alive=alive,
    )


def queue(depth: int = 0, **settings: Any) -> QueueView:
    return QueueView(
        settings=QueueSettings(name="mail", **settings),
        depth={"available": depth},
        oldest=None,
        sampled_at=NOW,
    )


def said(found: dict[str, Any] | None) -> tuple[str, str]:
    assert found is not None
    return found["kind"], found["text"]


@pytest.mark.parametrize("state", [S.RUNNING, S.SUCCEEDED, S.DEAD, S.CANCELLED, S.SKIPPED])
def test_what_does_not_wait(state: JobState) -> None:
    assert waiting_for(job(state), queue(), [], NOW) is None


def test_time() -> None:
    later = NOW + 4 * MINUTE + 12 * SECOND
    assert said(waiting_for(job(S.SCHEDULED, later), None, [], NOW)) == (
        "time",
        "Waits for its start time, in 4 m 12 s (2026-09-21T14:17:32Z)",
    )
    kind, text = said(waiting_for(job(S.SCHEDULED, later, options=Options(fire_at=1)), None, [], NOW))
    assert (kind, text[:35]) == ("time", "Waits for the time of its schedule,")
    _, text = said(waiting_for(job(S.RETRYING, later, attempt=2), queue(paused=True), [], NOW))
    assert text.startswith("Attempt 2 of 4 failed; waits for the next one, in 4 m 12 s")
    assert text.endswith("; its queue mail is paused")
    _, text = said(waiting_for(job(S.SCHEDULED, NOW - SECOND), None, [], NOW))
    assert text.endswith("due since 1 s: the scheduler is about to release it")
    _, text = said(waiting_for(job(S.SCHEDULED, NOW - HOUR), None, [], NOW))
    assert text.endswith("due since 1 h: no scheduler seems to run")


def test_pause() -> None:
    view = queue(paused=True, paused_by="ana", paused_at=NOW - HOUR)
    assert said(waiting_for(job(S.AVAILABLE), view, [worker()], NOW)) == (
        "paused",
        "Queue mail is paused by ana since 2026-09-21T13:13:20Z, 1 h ago",
    )


@pytest.mark.parametrize(
    ("workers", "text"),
    [
        ([], "No worker is alive"),
        ([worker(alive=False)], "No worker is alive; the last one was seen 1 m ago"),
        ([worker(queues="default,other:3")], "No live worker serves the queue 'mail'"),
        ([worker(types=("x",))], "No live worker serves the type 'email' on queue 'mail'"),
        ([worker(draining=True)], "1 worker for the type 'email' is draining and takes no new jobs"),
    ],
)
def test_nobody_there(workers: list[WorkerView], text: str) -> None:
    assert said(waiting_for(job(S.AVAILABLE), queue(), workers, NOW)) == ("no_worker", text)


def test_slots() -> None:
    three = [worker(busy=10) for _ in range(3)]
    assert said(waiting_for(job(S.AVAILABLE), queue(121), three, NOW)) == (
        "slot",
        "Waits for a free slot: 3 workers serve queue mail, all 30 slots are busy; "
        "about 120 other jobs are waiting in the queue",
    )
    _, text = said(waiting_for(job(S.AVAILABLE), None, [worker(1, 1)], NOW))
    assert text == "Waits for a free slot: 1 worker serves queue mail, its only slot is busy"
    _, text = said(waiting_for(job(S.AVAILABLE), queue(), [worker(busy=1)], NOW))
    assert text == "Is about to start: 1 worker serves queue mail, 1 of 10 slots is busy"
    _, text = said(
        waiting_for(job(S.AVAILABLE, NOW - MINUTE, created_at=NOW - HOUR), queue(), [worker()], NOW)
    )
    assert text.startswith("Waits for its turn since 1 m: ")
    # Due before it was made: it cannot have waited longer than it is there.
    _, text = said(waiting_for(job(S.AVAILABLE, 0, created_at=NOW - MINUTE), queue(), [worker()], NOW))
    assert text.startswith("Waits for its turn since 1 m: ")


def test_needs() -> None:
    kind, _ = said(waiting_for(job(S.BLOCKED, workflow_id="w"), None, [], NOW))
    assert kind == "needs"


def test_spoken_durations() -> None:
    assert [spoken(us) for us in (0, SECOND, 61 * SECOND, 3 * HOUR, 3 * DAY + 2 * HOUR + MINUTE)] == [
        "less than a second",
        "1 s",
        "1 m 1 s",
        "3 h",
        "3 d 2 h",
    ]
