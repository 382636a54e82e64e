"""``/workers``: who is there, and asking one to leave."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from flux.api import bodies, examples
from flux.api.http import Answer, Call
from flux.api.operations import BASE, Operation, Reply
from flux.api.views import instant
from flux.engine.ports import WorkerView
from flux.engine.workers import MOST_RUNNING

if TYPE_CHECKING:
    from flux.api.app import Api


class RunningJobOut(msgspec.Struct):
    """A job that runs now, since ``started_at``."""

    id: str
    type: str
    queue: str
    attempt: int
    started_at: str | None


class WorkerOut(msgspec.Struct):
    """A worker. ``state``: active, draining, or gone (its lease has ended). ``busy`` is how many jobs it runs, and
    ``running`` are those that started first, up to 100; ``GET /jobs`` with ``worker_id`` and ``state=running`` has all.
    """

    id: str
    host: str
    pid: int
    version: str
    queues: str
    types: tuple[str, ...]
    slots: int
    busy: int
    state: str
    started_at: str | None
    seen_at: str | None
    lease_until: str | None
    running: list[RunningJobOut]


class WorkerList(msgspec.Struct):
    """Workers that live or were seen within the last hour, newest first."""

    workers: list[WorkerOut]


class WorkersResource:
    """The calls on workers."""

    def __init__(self, api: Api) -> None:
        self._workers = api.engine.workers

    async def list(self, call: Call) -> Answer:
        """``GET /workers``."""
        workers = await self._workers.list(MOST_RUNNING)
        return Answer.json(WorkerList([worker_out(worker) for worker in workers]))

    async def drain(self, call: Call) -> Answer:
        """``POST /workers/{id}/drain``."""
        await bodies.read_action(call, bodies.NoFields)
        return Answer.json(worker_out(await self._workers.drain(call.path["id"])))


def worker_out(worker: WorkerView) -> WorkerOut:
    """A worker as clients see it."""
    info = worker.info
    return WorkerOut(
        id=info.id,
        host=info.host,
        pid=info.pid,
        version=info.version,
        queues=info.queues,
        types=info.types,
        slots=info.slots,
        busy=worker.busy,
        state="gone" if not worker.alive else "draining" if worker.draining else "active",
        started_at=instant(worker.started_at),
        seen_at=instant(worker.seen_at),
        lease_until=instant(worker.lease_until),
        running=[
            RunningJobOut(job.id, job.type, job.queue, job.attempt, instant(job.started_at))
            for job in worker.running
        ],
    )


def operations(api: Api) -> list[Operation]:
    """The operations on workers."""
    workers = WorkersResource(api)
    return [
        Operation(
            method="GET",
            path=f"{BASE}/workers",
            name="listWorkers",
            group="Workers",
            summary="List workers",
            handler=workers.list,
            replies={200: Reply("The workers.", WorkerList, {"workers": [examples.WORKER_VIEW]})},
        ),
        Operation(
            method="POST",
            path=f"{BASE}/workers/{{id}}/drain",
            name="drainWorker",
            group="Workers",
            summary="Ask a worker to finish what it runs and leave",
            handler=workers.drain,
            replies={200: Reply("The worker.", WorkerOut, {**examples.WORKER_VIEW, "state": "draining"})},
            problems=(404, 409, *bodies.ACTION_PROBLEMS),
        ),
    ]
