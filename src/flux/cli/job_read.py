"""`flux job list`, `show`, `logs` and `wait`: looking at jobs."""

from __future__ import annotations

import math
from typing import Annotated, Any

import msgspec
import typer

from flux.api.rest.logs import LogOut, LogPage, log_out
from flux.api.views import instant
from flux.cli import filters
from flux.cli.failures import ExitCode
from flux.cli.options import JobId, Json
from flux.cli.session import ask
from flux.cli.terminal import print_fields, print_json, print_table, say, shorten, show_age, show_time
from flux.cli.views import job_document
from flux.domain.duration import format_duration
from flux.domain.job import FINAL, WAITING, Attempt, Job, JobState, LogLine
from flux.engine.engine import Engine
from flux.engine.ports import JobPage
from flux.engine.waiting import waiting_for

LOOK_EVERY = 0.2
"""Seconds between looks for new log lines of a job that runs."""

MOST_AT_ONCE = 500


@filters.choosing
def list_jobs(
    chosen: filters.Options,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, max=100_000, help="The most jobs.")] = 50,
    cursor: Annotated[str | None, typer.Option(help="Go on where an earlier list ended.")] = None,
    full: Annotated[
        bool, typer.Option("--full", help="With payload, result and attempts (for --json).")
    ] = False,
    as_json: Json = False,
) -> None:
    """List jobs, newest first."""

    async def work(engine: Engine) -> tuple[JobPage, int, dict[str, dict[str, Any] | None]]:
        now = await engine.store.now()
        wanted = filters.job_filter(now, chosen)
        found: list[Job] = []
        at, until = cursor, None
        while True:
            page = await engine.jobs.list(wanted, min(limit - len(found), MOST_AT_ONCE), at, full)
            found += page.jobs
            at = page.next_cursor
            until = page.searched_until if page.searched_until is not None else until
            # A search stops at times with nothing found yet; then it is for the caller to go on.
            if at is None or len(found) >= limit or not page.jobs:
                return JobPage(found, at, until), now, await _whys(engine, found)

    page, now, whys = ask(work)
    if as_json:
        print_json(
            {
                "jobs": [job_document(job, whys.get(job.id), full=full) for job in page.jobs],
                "next_cursor": page.next_cursor,
                "searched_until": instant(page.searched_until),
            }
        )
        return
    print_table(
        ("id", "type", "queue", "state", "attempt", "when", "why"),
        [_row(job, now, whys.get(job.id)) for job in page.jobs],
        "no jobs",
    )
    if page.searched_until is not None:
        say(f"looked at jobs back to {show_time(page.searched_until)}")
    if page.next_cursor is not None:
        say(f"more: --cursor {page.next_cursor}")


def _row(job: Job, now: int, why: dict[str, Any] | None) -> tuple[str, ...]:
    at = job.finished_at or job.started_at or job.run_at
    text = str(why["text"]) if why else ""
    if job.error and job.state is not JobState.SUCCEEDED:
        # What went wrong first: the wait is one for its next attempt.
        text = "; ".join(filter(None, (shorten(f"{job.error.kind}: {job.error.message}"), text)))
    attempt = f"{job.attempt}/{job.attempt_limit}"
    return (job.id, job.type, job.queue, str(job.state), attempt, show_age(at, now), text)


async def _whys(engine: Engine, jobs: list[Job]) -> dict[str, dict[str, Any] | None]:
    """What each waiting job waits for, by its id, with one look round for all of them."""
    if not any(job.state in WAITING for job in jobs):
        return {}
    queues = {view.settings.name: view for view in await engine.queues.list()}
    workers = await engine.workers.list()
    now = await engine.store.now()
    return {
        job.id: waiting_for(job, queues.get(job.queue), workers, now) for job in jobs if job.state in WAITING
    }


def show(job_id: JobId, as_json: Json = False) -> None:
    """Show one job with everything that is known of it."""

    async def work(engine: Engine) -> tuple[Job, dict[str, Any] | None]:
        job = await engine.jobs.get(job_id)
        return job, await why_waiting(engine, job)

    job, why = ask(work)
    if as_json:
        print_json(job_document(job, why))
    else:
        print_job(job, why)


async def why_waiting(engine: Engine, job: Job) -> dict[str, Any] | None:
    """What a job that has not begun waits for; None for others."""
    return (await _whys(engine, [job])).get(job.id)


def wait(
    job_id: JobId,
    timeout: Annotated[
        str | None, typer.Option(help='The longest wait: "30s". Without: until its end.')
    ] = None,
    as_json: Json = False,
) -> None:
    """Wait for a job's end. Exit code 0 when it succeeded, 1 otherwise or at the timeout."""
    from flux.cli.job_enqueue import parse_wait

    seconds = None if timeout is None else parse_wait(timeout)

    async def work(engine: Engine) -> tuple[Job, dict[str, Any] | None]:
        job = await finished(engine, job_id, seconds)
        return job, await why_waiting(engine, job)

    job, why = ask(work)
    if as_json:
        print_json(job_document(job, why))
    else:
        print_job(job, why)
        if job.state not in FINAL:
            say(f"still {job.state} after {timeout}")
    if job.state != "succeeded":
        raise typer.Exit(ExitCode.FAILED)


async def finished(engine: Engine, job_id: str, seconds: float | None) -> Job:
    """The job at its end, or as it stands after so many seconds."""
    left = math.inf if seconds is None else seconds
    while True:
        step = min(left, 3600.0)
        job = await engine.jobs.wait(job_id, step)
        left -= step
        if job.state in FINAL or left <= 0:
            return job


def logs(
    job_id: JobId,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on until the job has ended.")] = False,
    as_json: Json = False,
) -> None:
    """Print the lines that a job's handler logged."""
    kept: list[LogOut] = []

    def tell(lines: list[tuple[int, int, LogLine]]) -> None:
        for sequence, attempt, line in lines:
            if not as_json:
                print(f"{instant(line.at)}  #{attempt}  {line.level.upper():<7}  {line.text}", flush=True)
            elif follow:
                # What never ends cannot be one document: a line each.
                print(msgspec.json.encode(log_out(sequence, attempt, line)).decode(), flush=True)
            else:
                kept.append(log_out(sequence, attempt, line))

    async def work(engine: Engine) -> None:
        await engine.jobs.get(job_id)
        after = 0
        while True:
            # Asked first: lines are written before the end is, so that none is missed.
            state = (await engine.store.queries.states([job_id])).get(job_id)
            while lines := await engine.jobs.logs(job_id, after):
                after = lines[-1][0]
                tell(lines)
            if not follow or state is None or state in FINAL:
                return
            await engine.store.changes.wait(engine.store.changes.version(), LOOK_EVERY)

    ask(work)
    if as_json and not follow:
        print_json(LogPage(kept, None))


def print_job(job: Job, why: dict[str, Any] | None = None) -> None:
    """One job for a person."""
    options = job.options
    error = None
    if job.error is not None:
        error = f"{job.error.kind}: {job.error.message}"
        if job.error.traceback:
            error += "\n" + job.error.traceback.rstrip()
    state = str(job.state) + (" (cancel requested)" if job.cancel_requested else "")
    print_fields(
        (
            ("id", job.id),
            ("type", job.type),
            ("state", state),
            ("waits", str(why["text"]) if why else None),
            ("queue", f"{job.queue}, priority {job.priority}"),
            ("attempt", f"{job.attempt} of {job.attempt_limit}"),
            ("created", show_time(job.created_at)),
            ("run at", show_time(job.run_at)),
            ("started", show_time(job.started_at)),
            ("finished", show_time(job.finished_at)),
            ("took", _took(job)),
            ("timeout", None if job.timeout is None else format_duration(job.timeout)),
            ("expires", show_time(job.expires_at)),
            ("worker", job.worker_id),
            ("tags", ", ".join(options.tags)),
            ("headers", "\n".join(f"{name}={value}" for name, value in options.headers.items())),
            ("key", options.idempotency_key),
            ("schedule", job.schedule_id),
            ("copied from", options.copied_from),
            ("payload", _json_text(job.payload)),
            ("heartbeat", show_time(job.heartbeat_at)),
            ("progress", _json_text(job.progress)),
            ("checkpoint", _json_text(job.checkpoint)),
            ("result", _json_text(job.result)),
            ("error", error),
            ("attempts", "\n".join(_attempt(attempt) for attempt in job.attempts or ())),
        )
    )


def _took(job: Job) -> str | None:
    if job.started_at is None or job.finished_at is None:
        return None
    return format_duration(job.finished_at - job.started_at)


def _attempt(attempt: Attempt) -> str:
    text = f"#{attempt.number} {attempt.outcome or 'running'} {show_time(attempt.started_at)}".rstrip()
    return f"{text}  {shorten(attempt.error.message)}" if attempt.error else text


def _json_text(raw: bytes | None) -> str | None:
    if raw is None:
        return None
    return raw.decode() if len(raw) < 80 else msgspec.json.format(raw, indent=2).decode()
