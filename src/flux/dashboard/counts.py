"""How many jobs are in each state, without counting rows."""

from __future__ import annotations

from flux.dashboard.reads import live_counts, queue_views
from flux.dashboard.site import Site
from flux.domain.job import FINAL

REACH = "7d"


async def state_counts(site: Site, queue: str | None) -> dict[str, int]:
    """Live states from the sampled depth, final ones from the rollups of the last seven days."""
    counts = live_counts(await queue_views(site), queue)
    week = await site.engine.statistics.get(REACH)
    numbers = week.whole
    if queue is not None:
        group = week.queues.get(queue)
        if group is None:
            return counts | dict.fromkeys(sorted(FINAL), 0)
        numbers = group.window
    return counts | {state: numbers.outcomes.get(state, 0) for state in sorted(FINAL)}
