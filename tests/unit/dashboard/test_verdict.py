"""The one sentence: what is wrong comes first, with its cause and the next thing to do."""

from typing import Any

import pytest

from flux.dashboard.verdict import judge
from flux.domain.duration import MINUTE, SECOND
from flux.engine.ports import QueueSettings, QueueView, WorkerInfo, WorkerView
from flux.engine.statistics import Statistics
from flux.engine.tallies import Numbers, Times

NOW = 10_000 * SECOND


def queue(name: str, available: int = 0, waits: int = 0, paused: bool = False) -> QueueView:
    return QueueView(
        settings=QueueSettings(name=name, paused=paused),
        depth={"available": available},
        oldest=NOW - waits if available else None,
        sampled_at=NOW,
    )


def worker(queues: str = "*", busy: int = 0, **more: Any) -> WorkerView:
    info = WorkerInfo(id="w", host="h", pid=1, version="1", queues=queues, types=("t",), slots=10)
    fields = {"alive": True, "draining": False} | more
    return WorkerView(info=info, started_at=0, seen_at=NOW, lease_until=NOW, busy=busy, **fields)


def hour(sampled_at: int | None = NOW, **outcomes: int) -> Statistics:
    numbers = Numbers(
        finished=sum(outcomes.values()), outcomes=outcomes, errors={"exception": outcomes.get("dead", 0)},
        per_second=0, wait=Times(), run=Times(),
    )  # fmt: skip
    return Statistics(
        at=NOW, window="1h", step=1, now=numbers, whole=numbers, depth={}, oldest=None, sampled_at=sampled_at,
        queues={}, types={}, points=[],
    )  # fmt: skip


@pytest.mark.parametrize(
    ("given", "colour", "sentence"),
    [
        (
            ([queue("a")], [worker()], [], hour()), "good",
            "Everything flows: nothing has run in the last hour, 1 worker ready.",
        ),
        (
            ([queue("a", 3)], [worker(busy=2)], [], hour(succeeded=9)), "good",
            "Everything flows: 2 jobs running, 9 jobs ended in the last minute, on 1 worker.",
        ),
        (
            ([queue("email", 3)], [worker("other")], [], hour()), "bad",
            "Jobs wait on queue email: no worker serves it.",
        ),
        (
            ([queue("email", 3)], [worker(draining=True)], [], hour()), "bad",
            "Jobs wait on queue email: no worker serves it.",
        ),
        (
            ([queue("email", 3)], [worker(alive=False)], [], hour()), "bad",
            "Jobs wait on queue email: no worker is alive.",
        ),
        (
            ([queue("a", 1)], [worker()], [("t9", "a", 0)], hour()), "bad",
            "Jobs of type t9 wait on queue a: no live worker knows that type.",
        ),
        (
            ([queue("a", 5, paused=True)], [worker()], [], hour()), "warn",
            "5 jobs wait because queue a is paused.",
        ),
        (
            ([queue("a", 5, 3 * MINUTE)], [worker()], [], hour()), "warn",
            "Queue a falls behind: its oldest job waits 3 min.",
        ),
        (
            ([queue("a")], [worker()], [], hour(dead=1, succeeded=99)), "warn",
            "1 job died in the last hour (1%, most by exception).",
        ),
        (
            ([queue("a")], [worker()], [], hour(dead=50, succeeded=50)), "bad",
            "50 jobs died in the last hour (50%, most by exception).",
        ),
        (
            ([queue("a")], [worker()], [], hour(sampled_at=NOW - 5 * MINUTE)), "bad",
            "No scheduler has run for 5 min: delayed jobs and schedules do not start.",
        ),
        (
            ([queue("a")], [worker()], [], hour(sampled_at=None)), "warn",
            "No scheduler has run yet: delayed jobs and schedules would not start.",
        ),
        (
            ([], [], [], hour(sampled_at=None)), "good",
            "Everything flows: nothing has run in the last hour, 0 workers ready.",
        ),
    ],
)  # fmt: skip
def test_the_sentence(given: tuple[Any, ...], colour: str, sentence: str) -> None:
    verdict = judge(*given, NOW)
    assert (verdict.colour, verdict.sentence) == (colour, sentence)
    assert [light.name for light in verdict.lights] == ["flow", "execution", "freshness"]
    for light in verdict.lights:
        assert light.colour == "good" or (light.action and (light.link or light.command))
