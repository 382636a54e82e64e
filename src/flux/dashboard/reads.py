"""Reads that several pages share, each at most four times a second for all viewers together."""

from __future__ import annotations

from flux.dashboard.site import Site
from flux.domain.job import LIVE
from flux.domain.shares import shares_of
from flux.engine.ports import QueueView, WorkerView


async def queue_views(site: Site) -> list[QueueView]:
    """All queues with their sampled depth."""
    return (await site.shared.get("queues", site.engine.queues.list)).value


async def worker_views(site: Site) -> list[WorkerView]:
    """Workers that live or were seen within the last hour."""
    return (await site.shared.get("workers", site.engine.workers.list)).value


async def working_views(site: Site, jobs: int) -> list[WorkerView]:
    """The same with up to so many of the jobs that each of them runs."""
    return (await site.shared.get("working", lambda: site.engine.workers.list(jobs))).value


async def unserved_types(site: Site) -> list[tuple[str, str, int]]:
    """(type, queue, available since) of waiting jobs whose type no live worker knows."""
    return (await site.shared.get("unserved", site.engine.store.duties.waiting_types)).value


def live_counts(views: list[QueueView], queue: str | None = None) -> dict[str, int]:
    """How many jobs are in each live state, in all queues or one."""
    counts = {str(state): 0 for state in sorted(LIVE)}
    for view in views:
        if queue is None or view.settings.name == queue:
            for state, n in view.depth.items():
                if state in counts:
                    counts[state] += n
    return counts


def waiting_now(view: QueueView) -> int:
    """Jobs that a worker could take now."""
    return view.depth.get("available", 0)


def serves(worker: WorkerView, queue: str) -> bool:
    """Whether a worker takes new jobs of a queue."""
    return worker.alive and not worker.draining and shares_of(worker.info.queues).serves(queue)
