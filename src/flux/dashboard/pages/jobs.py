"""The list of jobs: found by a search that is the URL, page by page, newest first."""

from __future__ import annotations

from flux.dashboard.counts import state_counts
from flux.dashboard.reads import queue_views
from flux.dashboard.search import FIELDS, read_search
from flux.dashboard.site import Ask, Site, View
from flux.dashboard.words import STATES

PAGE = 50


async def page(site: Site, ask: Ask) -> View:
    """A page of jobs. Raises ``Invalid`` for a cursor that is not ours."""
    search = read_search(ask.query)
    if search.jump is not None:
        return View("jobs.html", "Jobs", "jobs", forward=f"/jobs/{search.jump}")
    cursor = ask.query.get("cursor") or None
    found = await site.engine.jobs.list(search.filter, PAGE, cursor)
    chosen = {str(state) for state in search.filter.states}
    counts = await state_counts(site, search.filter.queue)
    chips = []
    for state in STATES:
        others = [value for value in ask.query.all("state") if value != state]
        if state in ("blocked", "skipped") and state not in chosen and not counts.get(state):
            continue  # only workflows make these
        href = ask.query.with_(state=others if state in chosen else [*others, state], cursor=None)
        chips.append((state, state in chosen, counts.get(state), str(href)))
    narrowed = bool(search.terms or chosen or cursor)
    return View(
        "jobs.html",
        "Jobs",
        "jobs",
        {
            "jobs": found.jobs,
            "next": str(ask.query.with_(cursor=found.next_cursor)) if found.next_cursor else None,
            "first": str(ask.query.with_(cursor=None)) if cursor else None,
            "everything": str(ask.query.with_(cursor=None)),
            "searched_until": found.searched_until,
            "chips": chips,
            "all_states": None
            if not ask.query.all("state")
            else str(ask.query.with_(state=None, cursor=None)),
            "terms": [
                (text, str(ask.query.with_(q=rest or None, cursor=None))) for text, rest in search.terms
            ],
            "problems": search.problems,
            "q": ask.query.get("q"),
            "states": ask.query.all("state"),
            "fields": FIELDS,
            "narrowed": narrowed,
            "queues": [view.settings.name for view in await queue_views(site)][:200],
        },
    )
