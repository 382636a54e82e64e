"""How many jobs are in each state: exact where they are few, without counting many rows."""

from __future__ import annotations

from flux.dashboard.reads import live_counts, queue_views
from flux.dashboard.site import Site
from flux.dashboard.words import EXACT_BELOW
from flux.domain.job import FINAL, JobState

REACH = "7d"

MOST = EXACT_BELOW
MOST_OF_QUEUE = 2_000
"""The index by state does not know the queue, so each of these is a look at a row."""


async def state_counts(site: Site, queue: str | None) -> dict[str, int]:
    """Live states from the sampled depth, final ones counted; of many, what ended so in the last seven days."""
    counts = live_counts(await queue_views(site), queue)
    most = MOST if queue is None else MOST_OF_QUEUE

    async def count() -> dict[JobState, int]:
        return await site.engine.store.queries.count(sorted(FINAL), queue, most)

    exact = (await site.shared.get(f"ended {queue or ''}", count)).value
    counts |= {str(state): n for state, n in exact.items()}
    if len(exact) == len(FINAL):
        return counts
    week = await site.engine.statistics.get(REACH)
    if queue is None:
        # Rollups count a job that was retried once more, and forget what is older: there are more than MOST of these.
        numbers, least = week.whole.outcomes, MOST
    else:
        group = week.queues.get(queue)
        numbers, least = {} if group is None else group.window.outcomes, 0
    return counts | {
        state: max(numbers.get(state, 0), least) for state in sorted(FINAL) if state not in exact
    }
