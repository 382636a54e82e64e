"""What is done to many jobs at once: to those that are ticked, or to all that a search finds."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from msgspec.structs import replace

from flux.dashboard.http import Query, Request
from flux.dashboard.search import read_search
from flux.dashboard.site import Done, Site
from flux.dashboard.words import plural
from flux.domain.errors import Conflict, NotFound
from flux.domain.job import Job, JobState
from flux.engine.ports import JobFilter

MOST_TICKED = 500


async def retry_many(site: Site, form: Query, parts: dict[str, str], request: Request) -> Done:
    """Make dead and cancelled jobs available again."""
    if form.get("all") == "1":
        wanted = _filter(form)
        if isinstance(wanted, Done):
            return wanted
        again: tuple[JobState, ...] = (JobState.DEAD, JobState.CANCELLED)
        states = [state for state in wanted.states if state in again]
        if wanted.states and not states:
            return Done("Only dead and cancelled jobs can be retried, and the filter shows none.", ok=False)
        n = await site.engine.jobs.retry_all(replace(wanted, states=tuple(states or [JobState.DEAD])))
        return Done(f"{plural(n, 'job')} will run again.", ok=n > 0)
    return await _each(form.all("id"), site.engine.jobs.retry, "will run again", "could not be retried")


async def cancel_many(site: Site, form: Query, parts: dict[str, str], request: Request) -> Done:
    """Cancel jobs that have not ended."""
    reason = form.get("reason").strip() or None
    if form.get("all") == "1":
        wanted = _filter(form)
        if isinstance(wanted, Done):
            return wanted
        n = await site.engine.jobs.cancel_all(wanted, reason)
        go = "/jobs" + str(Query(tuple(pair for pair in form.pairs if pair[0] in ("q", "state") and pair[1])))
        return Done(f"{plural(n, 'job')} cancelled, or asked to stop where running.", go, ok=n > 0)

    async def cancel(job_id: str) -> Job:
        return await site.engine.jobs.cancel(job_id, reason)

    return await _each(form.all("id"), cancel, "cancelled, or asked to stop", "could not be cancelled")


def _filter(form: Query) -> JobFilter | Done:
    search = read_search(form)
    if search.problems:
        # A search that is half understood finds more than was meant.
        return Done(f"Nothing was done, because the search is unclear: {search.problems[0]}.", ok=False)
    return search.filter


async def _each(ids: list[str], verb: Callable[[str], Awaitable[Job]], did: str, failed: str) -> Done:
    if not ids:
        return Done("No job is selected: tick some with x first.", ok=False)
    done = 0
    why = ""
    # One after the other: at most a page of them, and the store answers each in well under a millisecond.
    for job_id in ids[:MOST_TICKED]:
        try:
            await verb(job_id)
            done += 1
        except (Conflict, NotFound) as error:
            why = str(error)
    left = len(ids) - done
    text = f"{plural(done, 'job')} {did}." if done else ""
    if left:
        text += f" {plural(left, 'job')} {failed}: {why}."
    return Done(text.strip(), ok=done > 0)
