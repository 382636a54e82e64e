"""The first line of a job's page: what it is doing, why it waits, or how it ended."""

from __future__ import annotations

from dataclasses import dataclass

from flux.dashboard.reads import queue_views, worker_views
from flux.dashboard.site import Site
from flux.dashboard.words import plural, span
from flux.domain.job import Job, JobState
from flux.engine.waiting import waiting_for


@dataclass(frozen=True, slots=True)
class Story:
    """A sentence; then an instant that is counted from or to (``form``: ago, in, for); where to look next."""

    text: str
    at: int | None = None
    form: str = "ago"
    link: str | None = None
    link_text: str = ""


async def story_of(site: Site, job: Job) -> Story:
    """What to say first of a job."""
    match job.state:
        case JobState.RUNNING:
            how = f"Runs attempt {job.attempt} of {job.attempt_limit}"
            if job.cancel_requested:
                how = "Was asked to stop and still runs"
            return Story(f"{how}, for", job.started_at, "for")
        case JobState.SUCCEEDED:
            first = "on its first attempt" if job.attempt == 1 else f"after {plural(job.attempt, 'attempt')}"
            ran = "" if job.started_at is None or job.finished_at is None else (
                f", having run {span(job.finished_at - job.started_at)}"
            )  # fmt: skip
            return Story(f"Succeeded {first}{ran},", job.finished_at)
        case JobState.DEAD:
            return Story(f"Died after {plural(job.attempt, 'attempt')}: {_cause(job)},", job.finished_at)
        case JobState.CANCELLED:
            return Story(f"Was cancelled{_reason(job)},", job.finished_at)
        case JobState.SKIPPED:
            return Story("Was skipped: its workflow did not need it,", job.finished_at)
        case _:
            return await _waits(site, job)


async def _waits(site: Site, job: Job) -> Story:
    views = {view.settings.name: view for view in await queue_views(site)}
    workers = await worker_views(site)
    waiting = waiting_for(job, views.get(job.queue), workers, site.engine.clock.now())
    if waiting is None:
        return Story(f"Is {job.state}.")
    text = str(waiting["text"])
    link, link_text = None, ""
    match waiting["kind"]:
        case "paused" | "slot" | "limit":
            link, link_text = "/queues", f"Look at queue {job.queue}"
        case "no_worker":
            link, link_text = "/workers", "Look at the workers"
        case "time" if job.schedule_id is not None:
            link, link_text = "/schedules", "Look at the schedules"
    return Story(text if text.endswith(".") else text + ".", link=link, link_text=link_text)


def _cause(job: Job) -> str:
    if job.error is None:
        return "nobody noted why"
    first = job.error.message.strip().splitlines()
    return (first[0] if first else job.error.kind)[:300].rstrip(".")


def _reason(job: Job) -> str:
    if job.error is None or not job.error.message:
        return ""
    return f": {_cause(job)}"
