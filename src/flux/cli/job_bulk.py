"""`flux job cancel`, `retry` and `rerun`: changing what becomes of jobs, one by one or by a filter."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

import msgspec
import typer

from flux.cli import filters
from flux.cli.failures import CommandError, ExitCode
from flux.cli.job_read import MOST_AT_ONCE
from flux.cli.options import JobId, Json, Yes
from flux.cli.session import ask
from flux.cli.terminal import confirm, print_json, progress, say
from flux.cli.views import job_document
from flux.domain.job import LIVE, Job, JobState
from flux.engine.engine import Engine
from flux.engine.jobs import parse_change
from flux.engine.ports import Changed, JobFilter

Ids = Annotated[
    list[str] | None, typer.Argument(metavar="[ID]...", help="Jobs by id; or choose them by a filter.")
]

MOST_COUNTED = 1_000_000


def cancel(
    ids: Ids = None,
    reason: Annotated[str | None, typer.Option(help="Kept with the job.")] = None,
    state: filters.State = None,
    queue: filters.Queue = None,
    type: filters.Type = None,
    tag: filters.Tag = None,
    key: filters.Key = None,
    error: filters.Error = None,
    worker: filters.WorkerId = None,
    workflow: filters.WorkflowId = None,
    schedule: filters.ScheduleId = None,
    created_after: filters.After = None,
    created_before: filters.Before = None,
    payload: filters.Payload = None,
    yes: Yes = False,
    as_json: Json = False,
) -> None:
    """Cancel jobs: waiting ones at once, running ones are asked to stop."""
    options = _chosen(locals())

    async def work(engine: Engine) -> list[tuple[str, Changed]]:
        chosen = await _choose(engine, ids, options, tuple(sorted(LIVE)))
        if not ids:
            confirm(f"cancel {_jobs(len(chosen))}?", yes=yes or not chosen)
        found: list[tuple[str, Changed]] = []
        with progress("cancelling", len(chosen)) as bar:
            for part in _parts(chosen):
                found += zip(part, await engine.store.jobs.cancel(part, reason), strict=True)
                bar.advance(len(part))
        return found

    _report(ask(work), "cancelled", by_id=bool(ids), as_json=as_json)


def retry(
    ids: Ids = None,
    state: filters.State = None,
    queue: filters.Queue = None,
    type: filters.Type = None,
    tag: filters.Tag = None,
    key: filters.Key = None,
    error: filters.Error = None,
    worker: filters.WorkerId = None,
    workflow: filters.WorkflowId = None,
    schedule: filters.ScheduleId = None,
    created_after: filters.After = None,
    created_before: filters.Before = None,
    payload: filters.Payload = None,
    yes: Yes = False,
    as_json: Json = False,
) -> None:
    """Make dead (or, with --state, cancelled) jobs available again, with as many attempts as at first."""
    options = _chosen(locals())

    async def work(engine: Engine) -> list[tuple[str, Changed]]:
        chosen = await _choose(engine, ids, options, (JobState.DEAD,))
        if not ids:
            confirm(f"retry {_jobs(len(chosen))}?", yes=yes or not chosen)
        found: list[tuple[str, Changed]] = []
        with progress("retrying", len(chosen)) as bar:
            for part in _parts(chosen):
                found += zip(part, await engine.store.jobs.retry(part), strict=True)
                bar.advance(len(part))
        return found

    _report(ask(work), "retried", by_id=bool(ids), as_json=as_json)


def rerun(
    job_id: JobId,
    payload: Annotated[str | None, typer.Option(help="Another payload, as JSON.")] = None,
    queue: Annotated[str | None, typer.Option("--queue", "-q", help="Another queue.")] = None,
    priority: Annotated[int | None, typer.Option("--priority", "-p", help="Another priority.")] = None,
    run_at: Annotated[str | None, typer.Option(help="Start then.")] = None,
    timeout: Annotated[str | None, typer.Option(help="Another timeout.")] = None,
    max_retries: Annotated[int | None, typer.Option(help="Another number of retries.")] = None,
    tag: Annotated[list[str] | None, typer.Option(help="Other tags (repeatable).")] = None,
    as_json: Json = False,
) -> None:
    """Submit a copy of a finished job, with the edits that are given."""
    from flux.cli.job_enqueue import json_argument

    edits = {
        "payload": None if payload is None else json_argument(payload, "--payload"),
        "queue": queue,
        "priority": priority,
        "run_at": run_at,
        "timeout": timeout,
        "max_retries": max_retries,
        "tags": tag or None,
    }
    change = parse_change(
        msgspec.json.encode({name: value for name, value in edits.items() if value is not None})
    )

    async def work(engine: Engine) -> Job:
        return await engine.jobs.rerun(job_id, change)

    job = ask(work)
    if as_json:
        print_json(job_document(job))
    else:
        print(f"{job.id}  {job.type}  {job.state}  queue {job.queue}  (a copy of {job_id})")


def _chosen(options: dict[str, Any]) -> dict[str, Any]:
    """The filter's options among a command's own."""
    return {name: value for name, value in options.items() if name not in ("ids", "reason", "yes", "as_json")}


async def _choose(
    engine: Engine, ids: list[str] | None, options: dict[str, Any], states: tuple[JobState, ...]
) -> list[str]:
    """The ids of the jobs that are meant. Chosen before anything is done, so that the count can be asked about."""
    given = [name for name, value in options.items() if value]
    if ids:
        if given:
            raise CommandError("give ids or a filter, not both", ExitCode.USAGE)
        return list(dict.fromkeys(ids))
    if not given:
        raise CommandError("which jobs? give ids, or a filter such as --queue or --state", ExitCode.USAGE)
    chosen = filters.job_filter(await engine.store.now(), **options)
    if not chosen.states:
        chosen = msgspec.structs.replace(chosen, states=states)
    return await _found(engine, chosen)


async def _found(engine: Engine, chosen: JobFilter) -> list[str]:
    found: list[str] = []
    cursor = None
    with progress("looking for jobs", None) as bar:
        while len(found) < MOST_COUNTED:
            page = await engine.jobs.list(chosen, MOST_AT_ONCE, cursor)
            found += [job.id for job in page.jobs]
            bar.advance(len(page.jobs))
            cursor = page.next_cursor
            if cursor is None:
                break
    return found


def _parts(ids: Sequence[str]) -> list[Sequence[str]]:
    return [ids[start : start + MOST_AT_ONCE] for start in range(0, len(ids), MOST_AT_ONCE)]


def _report(found: list[tuple[str, Changed]], verb: str, *, by_id: bool, as_json: bool) -> None:
    """By a filter a job that meanwhile went on is no failure; one that was named is."""
    count = sum(changed.done for _, changed in found)
    if as_json:
        jobs = [
            {"id": id, "state": changed.state, "done": changed.done, "why": _why(id, changed, verb)}
            for id, changed in found
        ]
        print_json({"count": count, "jobs": jobs} if by_id else {"count": count})
    elif by_id:
        for id, changed in found:
            if changed.done:
                asked = "asked to stop" if changed.state == "running" else changed.state
                print(f"{id}  {asked}")
            else:
                say(f"{id}: {_why(id, changed, verb)}")
    else:
        print(f"{_jobs(count)} {verb}")
    if by_id and count < len(found):
        raise typer.Exit(ExitCode.FAILED)


def _why(id: str, changed: Changed, verb: str) -> str | None:
    if changed.done:
        return None
    if changed.state is None:
        return f"there is no job {id}"
    return changed.why or f"is {changed.state} and cannot be {verb}"


def _jobs(count: int) -> str:
    return "1 job" if count == 1 else f"{count:,} jobs"
