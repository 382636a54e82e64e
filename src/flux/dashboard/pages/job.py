"""One job: what it is doing or why it waits, where its time went, and everything that is known of it."""

from __future__ import annotations

from dataclasses import dataclass
from shlex import quote as shell

import msgspec

from flux.dashboard.reads import worker_views
from flux.dashboard.site import Ask, Site, View
from flux.dashboard.story import story_of
from flux.dashboard.timebar import time_bar
from flux.domain.job import FINAL, Job, JobState, LogLine

MOST_LINES = 1000
MOST_PAGES = 20
"""An attempt keeps a thousand lines, so these are the attempts whose lines are looked through."""


@dataclass(frozen=True, slots=True)
class Progress:
    """How far the handler says it is; ``part`` of 100, None when it does not say of how much."""

    part: float | None
    text: str


async def page(site: Site, ask: Ask) -> View:
    """The page of one job. Raises ``NotFound``."""
    job = await site.engine.jobs.get(ask.parts["id"])
    logs, cut = await _newest_logs(site, job.id)
    workers = {worker.info.id: worker for worker in await worker_views(site)}
    attempts = list(reversed(job.attempts or []))
    return View(
        "job.html",
        f"{job.type} {job.id[-8:]}",
        "jobs",
        {
            "job": job,
            "story": await story_of(site, job),
            "bar": time_bar(job, ask.now),
            "attempts": attempts,
            "logs": logs,
            "logs_cut": cut,
            "progress": _progress(job),
            "worker": workers.get(job.worker_id or ""),
            "final": job.state in FINAL,
            "may_retry": job.state in (JobState.DEAD, JobState.CANCELLED),
            "may_cancel": job.state not in FINAL and not job.cancel_requested,
            "commands": _commands(site, job),
            "schedule": await _schedule_name(site, job),
            "backoff": None if job.options.backoff is None else bytes(job.options.backoff).decode(),
        },
    )


async def _newest_logs(site: Site, job_id: str) -> tuple[list[tuple[int, int, LogLine]], bool]:
    """The last lines of all its attempts, and whether there are more than these."""
    lines: list[tuple[int, int, LogLine]] = []
    cut, after = False, 0
    for _ in range(MOST_PAGES):
        page = await site.engine.jobs.logs(job_id, after, MOST_LINES)
        lines += page
        cut = cut or len(lines) > MOST_LINES
        lines = lines[-MOST_LINES:]
        if len(page) < MOST_LINES:
            return lines, cut
        after = page[-1][0]
    return lines, True


def _progress(job: Job) -> Progress | None:
    if job.progress is None:
        return None
    try:
        said = msgspec.json.decode(job.progress)
    except msgspec.DecodeError:
        return None
    if not isinstance(said, dict):
        return None
    current, total = said.get("current"), said.get("total")
    message = said.get("message")
    part: float | None = None
    text = ""
    if isinstance(current, int | float) and isinstance(total, int | float) and total > 0:
        part, text = min(max(current / total, 0), 1) * 100, f"{current:g} of {total:g}"
    elif isinstance(current, int | float):
        part = current * 100 if 0 <= current <= 1 else None
        text = f"{part:.0f} %" if part is not None else f"{current:g}"
    return Progress(part, f"{text} · {message}" if message else text)


async def _schedule_name(site: Site, job: Job) -> str | None:
    """The name of the schedule that made it: a job knows only its id, and the store finds schedules by name."""
    if job.schedule_id is None:
        return None
    shot = await site.shared.get("schedules", lambda: site.engine.schedules.list(None, 500))
    return next((view.schedule.name for view in shot.value if view.schedule.id == job.schedule_id), None)


def _commands(site: Site, job: Job) -> list[tuple[str, str, str]]:
    """(what it does, its curl line, its CLI line) for what can be done to this job now."""
    jobs = shell(f"{site.api_url}/api/v1/jobs/{job.id}")
    lines = [("Show", f"curl {jobs}", f"flux job show {job.id}")]
    if job.state in (JobState.DEAD, JobState.CANCELLED):
        lines.append(("Retry", f"curl -X POST {jobs}/retry", f"flux job retry {job.id}"))
    if job.state not in FINAL:
        lines.append(("Cancel", f"curl -X DELETE {jobs}", f"flux job cancel {job.id}"))
    return lines
