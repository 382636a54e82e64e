"""`flux job cancel`, `retry` and `rerun`: changing what becomes of jobs, one by one or by a filter."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Annotated

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
from flux.domain.words import plural
from flux.engine.engine import Engine
from flux.engine.jobs import parse_change
from flux.engine.ports import Changed, JobFilter

Ids = Annotated[
    list[str] | None, typer.Argument(metavar="[ID]...", help="Jobs by id; or choose them by a filter.")
]

MOST_COUNTED = 1_000_000


class Verb(msgspec.Struct, frozen=True):
    """What is done to many jobs, in the words of its messages. ``states``: whom it is for when no state is named."""

    name: str
    doing: str
    done: str
    states: tuple[JobState, ...]


CANCEL = Verb("cancel", "cancelling", "cancelled", tuple(sorted(LIVE)))
RETRY = Verb("retry", "retrying", "retried", (JobState.DEAD,))


@filters.choosing
def cancel(
    chosen: filters.Options,
    ids: Ids = None,
    reason: Annotated[str | None, typer.Option(help="Kept with the job.")] = None,
    yes: Yes = False,
    as_json: Json = False,
) -> None:
    """Cancel jobs: waiting ones at once, running ones are asked to stop."""
    found = ask(
        lambda engine: _do(
            CANCEL, engine, lambda part: engine.store.jobs.cancel(part, reason), ids, chosen, yes
        )
    )
    _report(CANCEL, found, by_id=bool(ids), as_json=as_json)


@filters.choosing
def retry(
    chosen: filters.Options,
    ids: Ids = None,
    yes: Yes = False,
    as_json: Json = False,
) -> None:
    """Make dead (or, with --state, cancelled) jobs available again, with as many attempts as at first."""
    found = ask(lambda engine: _do(RETRY, engine, engine.store.jobs.retry, ids, chosen, yes))
    _report(RETRY, found, by_id=bool(ids), as_json=as_json)


async def _do(
    verb: Verb,
    engine: Engine,
    change: Callable[[Sequence[str]], Awaitable[list[Changed]]],
    ids: list[str] | None,
    chosen: filters.Options,
    yes: bool,
) -> list[tuple[str, Changed]]:
    """Change what is meant, in parts, and give each job's answer."""
    meant = await _meant(engine, ids, chosen, verb.states)
    if not ids:
        confirm(f"{verb.name} {plural(len(meant), 'job')}?", yes=yes or not meant)
    found: list[tuple[str, Changed]] = []
    with progress(verb.doing, len(meant)) as bar:
        for start in range(0, len(meant), MOST_AT_ONCE):
            part = meant[start : start + MOST_AT_ONCE]
            found += zip(part, await change(part), strict=True)
            bar.advance(len(part))
    return found


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


async def _meant(
    engine: Engine, ids: list[str] | None, chosen: filters.Options, states: tuple[JobState, ...]
) -> list[str]:
    """The ids of the jobs that are meant. Found before anything is done, so that the count can be asked about."""
    if ids:
        if chosen:
            raise CommandError("give ids or a filter, not both", ExitCode.USAGE)
        return list(dict.fromkeys(ids))
    if not chosen:
        raise CommandError("which jobs? give ids, or a filter such as --queue or --state", ExitCode.USAGE)
    wanted = filters.job_filter(await engine.store.now(), chosen)
    return await _found(engine, wanted if wanted.states else msgspec.structs.replace(wanted, states=states))


async def _found(engine: Engine, wanted: JobFilter) -> list[str]:
    found: list[str] = []
    cursor = None
    with progress("looking for jobs", None) as bar:
        while len(found) < MOST_COUNTED:
            page = await engine.jobs.list(wanted, MOST_AT_ONCE, cursor)
            found += [job.id for job in page.jobs]
            bar.advance(len(page.jobs))
            cursor = page.next_cursor
            if cursor is None:
                break
    return found


def _report(verb: Verb, found: list[tuple[str, Changed]], *, by_id: bool, as_json: bool) -> None:
    """By a filter a job that meanwhile went on is no failure; one that was named is."""
    count = sum(changed.done for _, changed in found)
    if as_json:
        jobs = [
            {"id": id, "state": changed.state, "done": changed.done, "why": _why(verb, id, changed)}
            for id, changed in found
        ]
        print_json({"count": count, "jobs": jobs} if by_id else {"count": count})
    elif by_id:
        for id, changed in found:
            if changed.done:
                asked = "asked to stop" if changed.state == "running" else changed.state
                print(f"{id}  {asked}")
            else:
                say(f"{id}: {_why(verb, id, changed)}")
    else:
        print(f"{plural(count, 'job')} {verb.done}")
    if by_id and count < len(found):
        raise typer.Exit(ExitCode.FAILED)


def _why(verb: Verb, id: str, changed: Changed) -> str | None:
    if changed.done:
        return None
    if changed.state is None:
        return f"there is no job {id}"
    return changed.why or f"is {changed.state} and cannot be {verb.done}"
