"""Schedules: the rule in words, what comes next, how the last ones went; trigger, pause, resume."""

from __future__ import annotations

import asyncio

from flux.dashboard.http import Query, Request
from flux.dashboard.site import Ask, Done, Site, View
from flux.domain.errors import NotFound
from flux.engine.schedules import ScheduleView

PAGE = 25


async def page(site: Site, ask: Ask) -> View:
    """A page of schedules in the order of names. ``from`` is the name to go on after."""
    listed = await site.engine.schedules.list(ask.query.get("from") or None, PAGE + 1)
    found = await asyncio.gather(
        *(site.engine.schedules.get(view.schedule.name) for view in listed[:PAGE]), return_exceptions=True
    )
    views = []
    for one in found:
        if isinstance(one, ScheduleView):
            views.append(one)
        elif not isinstance(one, NotFound):
            raise one  # one that was deleted meanwhile is simply not there any more
    last = listed[PAGE - 1].schedule.name if len(listed) > PAGE else None
    return View(
        "schedules.html",
        "Schedules",
        "schedules",
        {"views": views, "more": None if last is None else str(ask.query.with_(**{"from": last}))},
    )


async def trigger(site: Site, form: Query, parts: dict[str, str], request: Request) -> Done:
    """Its job runs once, now."""
    inserted = await site.engine.schedules.trigger(parts["name"])
    return Done(f"Schedule {parts['name']} was triggered: job …{inserted.id[-8:]} is {inserted.state}.")


async def pause(site: Site, form: Query, parts: dict[str, str], request: Request) -> Done:
    """No more occurrences until it is resumed."""
    await site.engine.schedules.pause(parts["name"], form.get("note").strip() or None)
    return Done(f"Schedule {parts['name']} is paused; its waiting occurrence was withdrawn.")


async def resume(site: Site, form: Query, parts: dict[str, str], request: Request) -> Done:
    """It goes on with the next fire time."""
    view = await site.engine.schedules.resume(parts["name"])
    return Done(f"Schedule {view.schedule.name} goes on.")
