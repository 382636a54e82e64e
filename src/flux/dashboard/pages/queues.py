"""Queues: how deep, how old, how fast, who serves them; pause and resume."""

from __future__ import annotations

from dataclasses import dataclass

from flux.dashboard.http import Query, Request
from flux.dashboard.reads import queue_views, serves, worker_views
from flux.dashboard.site import Ask, Done, Site, View
from flux.dashboard.trends import rates_by_queue
from flux.engine.ports import QueueView

SHOWN = ("available", "running", "scheduled", "retrying")


@dataclass(frozen=True, slots=True)
class Row:
    """A queue in the table. ``per_minute`` ended in the last minute; ``drain`` is µs at that rate."""

    view: QueueView
    workers: int
    slots: int
    per_minute: float
    failed_per_minute: float
    drain: int | None

    @property
    def name(self) -> str:
        """The queue's name."""
        return self.view.settings.name

    @property
    def paused(self) -> bool:
        """Whether no job of it is claimed."""
        return self.view.settings.paused

    @property
    def unserved(self) -> bool:
        """Whether jobs wait that nobody will take."""
        return self.workers == 0 and self.view.depth.get("available", 0) > 0 and not self.paused


async def page(site: Site, ask: Ask) -> View:
    """All queues. ``from`` is the name to go on after."""
    return View("queues.html", "Queues", "queues", await queue_table(site, ask.query.get("from"), 100))


async def queue_table(site: Site, after: str, limit: int) -> dict[str, object]:
    """The rows of the table of queues, here and on the overview."""
    views = await queue_views(site)
    workers = await worker_views(site)
    rates = await rates_by_queue(site)
    rows = []
    for view in [view for view in views if view.settings.name > after][:limit]:
        name = view.settings.name
        serving = [worker for worker in workers if serves(worker, name)]
        finished, failed = rates.get(name, (0.0, 0.0))
        available = view.depth.get("available", 0)
        drain = int(available / finished * 60_000_000) if finished and available else None
        rows.append(
            Row(view, len(serving), sum(worker.info.slots for worker in serving), finished, failed, drain)
        )
    more = rows[-1].name if rows and views[-1].settings.name > rows[-1].name else None
    return {"rows": rows, "more": more, "shown": SHOWN, "total": len(views)}


async def pause(site: Site, form: Query, parts: dict[str, str], request: Request) -> Done:
    """No job of it is claimed any more; what runs goes on."""
    await site.engine.queues.pause(parts["name"], "the dashboard")
    return Done(f"Queue {parts['name']} is paused; what runs already goes on.")


async def resume(site: Site, form: Query, parts: dict[str, str], request: Request) -> Done:
    """Its jobs are claimed again."""
    await site.engine.queues.resume(parts["name"], "the dashboard")
    return Done(f"Queue {parts['name']} goes on.")
