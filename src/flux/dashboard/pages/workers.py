"""Workers: who is alive, on what, with how much room; types that nobody serves."""

from __future__ import annotations

from collections import Counter

from flux.dashboard.http import Query, Request
from flux.dashboard.reads import unserved_types, working_views
from flux.dashboard.site import Ask, Done, Site, View

PAGE = 100
MOST_CELLS = 64
"""Slots drawn one by one; a worker with more shows a bar."""

MOST_JOBS = 3
"""Running jobs told of one worker: those that started first."""


async def page(site: Site, ask: Ask) -> View:
    """The workers, those alive first. ``from`` is how many to leave out: they come in one bounded answer."""
    workers = sorted(await working_views(site, MOST_JOBS), key=lambda one: (not one.alive, -one.started_at))
    raw = ask.query.get("from", "0")
    skip = min(int(raw), len(workers)) if raw.isdecimal() and len(raw) < 7 else 0
    alive = [worker for worker in workers if worker.alive]
    return View(
        "workers.html",
        "Workers",
        "workers",
        {
            "workers": workers[skip : skip + PAGE],
            "more": str(ask.query.with_(**{"from": str(skip + PAGE)}))
            if len(workers) > skip + PAGE
            else None,
            "alive": len(alive),
            "slots": sum(worker.info.slots for worker in alive),
            "busy": sum(worker.busy for worker in alive),
            "versions": sorted(Counter(worker.info.version for worker in alive).items()),
            "unserved": await unserved_types(site),
            "most_cells": MOST_CELLS,
        },
    )


async def drain(site: Site, form: Query, parts: dict[str, str], request: Request) -> Done:
    """It finishes what it runs, takes nothing new, and leaves."""
    worker = await site.engine.workers.drain(parts["id"])
    return Done(f"The worker on {worker.info.host} finishes what it runs and leaves.")
