"""Is it fine? The verdict, three lights, how it went, the queues, and what failed last."""

from __future__ import annotations

from flux.dashboard.pages.queues import queue_table
from flux.dashboard.reads import live_counts, queue_views, unserved_types, worker_views
from flux.dashboard.site import Ask, Site, View
from flux.dashboard.trends import WINDOWS, charts_of
from flux.dashboard.verdict import judge
from flux.domain.job import JobState
from flux.engine.ports import JobFilter, JobPage

FAILURES = 8
QUEUES = 10


async def page(site: Site, ask: Ask) -> View:
    """The front page."""
    window = ask.query.get("window", "1h")
    window = window if window in WINDOWS else "1h"
    statistics = await site.engine.statistics.get(window)
    hour = await site.engine.statistics.get("1h")
    views = await queue_views(site)

    async def load_failures() -> JobPage:
        return await site.engine.jobs.list(JobFilter(states=(JobState.DEAD,)), FAILURES, None)

    failures = (await site.shared.get("failures", load_failures)).value
    ever = bool(views) or bool(failures.jobs) or statistics.whole.finished > 0
    return View(
        "overview.html",
        "Overview",
        "overview",
        {
            "verdict": judge(views, await worker_views(site), await unserved_types(site), hour, ask.now),
            "charts": charts_of(statistics),
            "whole": statistics.whole,
            "live": live_counts(views),
            "window": window,
            "windows": [(name, str(ask.query.with_(window=name)), name == window) for name in WINDOWS],
            "failures": failures.jobs,
            "empty": not ever,
            **await queue_table(site, "", QUEUES),
        },
    )
