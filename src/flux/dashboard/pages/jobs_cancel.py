"""Asks before every job that a search finds is cancelled. A page of its own, so that it asks without script too."""

from __future__ import annotations

from msgspec.structs import replace

from flux.dashboard.search import read_search
from flux.dashboard.site import Ask, Site, View
from flux.dashboard.words import plural
from flux.domain.job import FINAL, LIVE

MOST_COUNTED = 1000


async def page(site: Site, ask: Ask) -> View:
    """How many it would be, and the button."""
    search = read_search(ask.query)
    # A search for ended jobs alone has nothing to cancel; one without states means all that have not ended.
    wanted = tuple(state for state in search.filter.states if state not in FINAL)
    n, many = 0, False
    if wanted or not search.filter.states:
        live = replace(search.filter, states=wanted or tuple(sorted(LIVE)))
        found = await site.engine.jobs.list(live, MOST_COUNTED, None)
        n, many = len(found.jobs), found.next_cursor is not None
    return View(
        "jobs_cancel.html",
        "Cancel jobs",
        "jobs",
        {
            "n": n,
            "jobs": f"{'at least ' if many else ''}{plural(n, 'job')}",
            "possible": bool(n or many) and not search.problems,
            "problems": search.problems,
            "q": ask.query.get("q"),
            "states": ask.query.all("state"),
            "list": str(ask.query.with_(cursor=None)),
        },
    )
