"""`flux schedule`: rules that make jobs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer

from flux.api.rest.schedules import ScheduleList, schedule_out
from flux.cli.job_enqueue import headers_argument, json_argument, payload_argument
from flux.cli.job_read import why_waiting
from flux.cli.options import Json, Yes
from flux.cli.session import ask, submit
from flux.cli.terminal import confirm, print_fields, print_json, print_table, show_age, show_time
from flux.cli.views import job_document
from flux.domain.job import Job
from flux.engine.engine import Engine
from flux.engine.schedule_request import parse_schedule
from flux.engine.schedules import ScheduleView

app = typer.Typer(
    help="Jobs by the clock: cron, intervals, once.", no_args_is_help=True, rich_markup_mode=None
)

Name = Annotated[str, typer.Argument(metavar="NAME", help="The schedule's name.")]
_PAGE = 500


@app.command("list")
def list_schedules(as_json: Json = False) -> None:
    """List all schedules by name."""

    async def work(engine: Engine) -> tuple[list[ScheduleView], int]:
        found: list[ScheduleView] = []
        while True:
            page = await engine.schedules.list(found[-1].schedule.name if found else None, _PAGE)
            found += page
            if len(page) < _PAGE:
                return found, await engine.store.now()

    views, now = ask(work)
    if as_json:
        print_json(ScheduleList([schedule_out(view) for view in views], None))
        return
    rows = [
        (
            view.schedule.name,
            "paused" if view.schedule.paused else "active",
            view.rule,
            str(view.spec.job.get("type", "")),
            show_age(view.schedule.next_fire_at, now),
            show_age(view.schedule.last_fire_at, now),
        )
        for view in views
    ]
    print_table(("name", "state", "rule", "type", "next", "last"), rows, "no schedules")


@app.command()
def show(name: Name, as_json: Json = False) -> None:
    """Show one schedule: its rule, the next fire times and the latest occurrences."""
    _print(ask(lambda engine: engine.schedules.get(name)), as_json)


@app.command()
def create(
    name: Name,
    type: Annotated[str, typer.Argument(metavar="TYPE", help="The job type.")],
    pairs: Annotated[
        list[str] | None,
        typer.Argument(metavar="[KEY=VALUE]...", help="The payload's fields, as in job enqueue."),
    ] = None,
    cron: Annotated[
        str | None, typer.Option(help='"0 */6 * * *", "@daily", seconds first when six fields.')
    ] = None,
    every: Annotated[str | None, typer.Option(help='An interval: "5m".')] = None,
    at: Annotated[str | None, typer.Option(help="Once, then: 2026-11-24T19:33:54Z.")] = None,
    timezone: Annotated[
        str | None, typer.Option(help='The zone that cron is read in: "Europe/Berlin".')
    ] = None,
    payload: Annotated[str | None, typer.Option(help="The payload as JSON.")] = None,
    payload_file: Annotated[Path | None, typer.Option(help="A file with the payload as JSON.")] = None,
    queue: Annotated[str | None, typer.Option("--queue", "-q", help="The queue of its jobs.")] = None,
    priority: Annotated[int | None, typer.Option("--priority", "-p", help="1 to 10; 10 runs first.")] = None,
    timeout: Annotated[str | None, typer.Option(help="How long an attempt may take.")] = None,
    max_retries: Annotated[int | None, typer.Option(help="Default: 3.")] = None,
    backoff: Annotated[str | None, typer.Option(help="As JSON.")] = None,
    expires_in: Annotated[
        str | None, typer.Option(help="An occurrence not started within this is cancelled.")
    ] = None,
    tag: Annotated[list[str] | None, typer.Option(help="A tag of its jobs (repeatable).")] = None,
    header: Annotated[list[str] | None, typer.Option(help="name=value (repeatable).")] = None,
    misfire: Annotated[
        str | None, typer.Option(help="When nobody was there: run_once, skip, run_all.")
    ] = None,
    misfire_grace: Annotated[str | None, typer.Option(help="How late is still on time.")] = None,
    overlap: Annotated[
        str | None, typer.Option(help="While the last one runs: allow, skip, cancel_previous.")
    ] = None,
    jitter: Annotated[str | None, typer.Option(help="Late by a random time up to this.")] = None,
    start_at: Annotated[str | None, typer.Option(help="Not before.")] = None,
    end_at: Annotated[str | None, typer.Option(help="Not after.")] = None,
    paused: Annotated[bool, typer.Option("--paused", help="Make it paused.")] = False,
    note: Annotated[str | None, typer.Option(help="A remark for people.")] = None,
    as_json: Json = False,
) -> None:
    """Make a schedule."""
    fields: dict[str, Any] = {
        "name": name,
        "type": type,
        "cron": cron,
        "every": every,
        "at": at,
        "timezone": timezone,
        "payload": payload_argument(pairs, payload, payload_file),
        "queue": queue,
        "priority": priority,
        "timeout": timeout,
        "max_retries": max_retries,
        "backoff": None if backoff is None else json_argument(backoff, "--backoff"),
        "expires_in": expires_in,
        "tags": tag or None,
        "headers": headers_argument(header),
        "misfire": misfire,
        "misfire_grace": misfire_grace,
        "overlap": overlap,
        "jitter": jitter,
        "start_at": start_at,
        "end_at": end_at,
        "paused": paused or None,
        "note": note,
    }
    given = {field: value for field, value in fields.items() if value is not None}
    request = parse_schedule(msgspec.json.encode(given))
    _print(submit(lambda engine: engine.schedules.create(request)), as_json)


@app.command()
def delete(name: Name, yes: Yes = False, as_json: Json = False) -> None:
    """Delete a schedule and withdraw its waiting occurrence; occurrences that ran stay."""

    async def work(engine: Engine) -> None:
        await engine.schedules.get(name)
        confirm(f"delete the schedule {name}?", yes=yes)
        await engine.schedules.delete(name)

    ask(work)
    if as_json:
        print_json({"deleted": name})
    else:
        print(f"{name}  deleted")


@app.command()
def pause(
    name: Name,
    note: Annotated[str | None, typer.Option(help="Why, for people.")] = None,
    as_json: Json = False,
) -> None:
    """No more occurrences until it is resumed."""
    _print(ask(lambda engine: engine.schedules.pause(name, note)), as_json)


@app.command()
def resume(name: Name, as_json: Json = False) -> None:
    """Go on with the next fire time; what was missed stays missed."""
    _print(ask(lambda engine: engine.schedules.resume(name)), as_json)


@app.command()
def trigger(name: Name, as_json: Json = False) -> None:
    """Run its job once, now."""

    async def work(engine: Engine) -> tuple[Job, dict[str, Any] | None]:
        job = await engine.jobs.get((await engine.schedules.trigger(name)).id)
        return job, await why_waiting(engine, job)

    job, why = ask(work)
    if as_json:
        print_json(job_document(job, why))
    else:
        print(f"{job.id}  {job.state}")


def _print(view: ScheduleView, as_json: bool) -> None:
    if as_json:
        print_json(schedule_out(view))
        return
    schedule = view.schedule
    latest = [f"{show_time(at)}  {state}  {job_id}" for at, job_id, state in view.latest or ()]
    print_fields(
        (
            ("schedule", schedule.name),
            ("state", "paused" if schedule.paused else "active"),
            ("rule", view.rule),
            ("job", msgspec.json.encode(view.spec.job).decode()),
            ("misfire", str(view.spec.misfire)),
            ("overlap", str(view.spec.overlap)),
            ("next", "\n".join(show_time(at) for at in view.upcoming)),
            ("latest", "\n".join(latest)),
            ("declared", "in code" if schedule.declared else None),
            ("note", schedule.note),
        )
    )
