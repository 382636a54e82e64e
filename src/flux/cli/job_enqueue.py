"""`flux job enqueue`: one job from the command line."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer

from flux.cli.failures import CommandError, ExitCode
from flux.cli.job_read import finished, print_job, why_waiting
from flux.cli.options import Json
from flux.cli.session import read_settings, submit
from flux.cli.terminal import print_json, say
from flux.cli.views import job_document
from flux.domain.duration import SECOND, parse_duration
from flux.domain.errors import FieldError, Invalid
from flux.domain.job import FINAL, Job
from flux.domain.request import parse_job
from flux.engine.engine import Engine


def enqueue(
    type: Annotated[str, typer.Argument(metavar="TYPE", help="The job type that a handler serves.")],
    pairs: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[KEY=VALUE]...", help="The payload's fields; a VALUE that is JSON is taken as such."
        ),
    ] = None,
    payload: Annotated[str | None, typer.Option(help="The payload as JSON; - reads it from stdin.")] = None,
    payload_file: Annotated[Path | None, typer.Option(help="A file with the payload as JSON.")] = None,
    queue: Annotated[str | None, typer.Option("--queue", "-q", help="Default: default.")] = None,
    priority: Annotated[int | None, typer.Option("--priority", "-p", help="1 to 10; 10 runs first.")] = None,
    delay: Annotated[str | None, typer.Option(help='Start so much later: "30s", "1h30m".')] = None,
    run_at: Annotated[str | None, typer.Option(help="Start then: 2026-11-24T19:33:54Z.")] = None,
    timeout: Annotated[str | None, typer.Option(help="How long an attempt may take.")] = None,
    max_retries: Annotated[int | None, typer.Option(help="Default: 3, so four attempts.")] = None,
    backoff: Annotated[str | None, typer.Option(help='As JSON: {"kind": "constant", "base": "5s"}.')] = None,
    idempotency_key: Annotated[
        str | None, typer.Option("--idempotency-key", help="The same key: the same job.")
    ] = None,
    idempotency_ttl: Annotated[str | None, typer.Option(help="How long the key is held.")] = None,
    tag: Annotated[list[str] | None, typer.Option(help="A tag (repeatable).")] = None,
    header: Annotated[
        list[str] | None, typer.Option(help="name=value, carried to the handler (repeatable).")
    ] = None,
    expires_in: Annotated[str | None, typer.Option(help="Not started within this: cancelled.")] = None,
    expires_at: Annotated[str | None, typer.Option(help="Not started by then: cancelled.")] = None,
    unique_by: Annotated[
        list[str] | None,
        typer.Option(help="type, queue, payload or payload.<path>: one such job (repeatable)."),
    ] = None,
    unique_period: Annotated[str | None, typer.Option(help="Unique for this long from its creation.")] = None,
    unique_state: Annotated[
        list[str] | None, typer.Option(help="Unique while in this state (repeatable).")
    ] = None,
    cron: Annotated[str | None, typer.Option(help='Make a schedule of it: "0 */6 * * *".')] = None,
    timezone: Annotated[str | None, typer.Option(help="The zone that cron is read in.")] = None,
    schedule: Annotated[str | None, typer.Option(help="The schedule's name, with --cron.")] = None,
    wait: Annotated[
        bool, typer.Option("--wait", "-w", help="Wait for its end; exit 0 when it succeeded.")
    ] = False,
    wait_timeout: Annotated[str | None, typer.Option(help="The longest wait.")] = None,
    quiet: Annotated[bool, typer.Option("--quiet", help="Print the id alone.")] = False,
    as_json: Json = False,
) -> None:
    """Submit a job. It is stored for good when its id is printed."""
    body: dict[str, Any] = {
        "type": type,
        "payload": payload_argument(pairs, payload, payload_file),
        "queue": queue,
        "priority": priority,
        "delay": delay,
        "run_at": run_at,
        "timeout": timeout,
        "max_retries": max_retries,
        "backoff": None if backoff is None else json_argument(backoff, "--backoff"),
        "idempotency_key": idempotency_key,
        "idempotency_ttl": idempotency_ttl,
        "tags": tag,
        "headers": headers_argument(header),
        "expires_in": expires_in,
        "expires_at": expires_at,
        "unique": _unique(unique_by, unique_period, unique_state),
        "cron": cron,
        "timezone": timezone,
        "schedule": schedule,
    }
    request = parse_job(
        msgspec.json.encode({name: value for name, value in body.items() if value is not None})
    )
    seconds = None if wait_timeout is None else parse_wait(wait_timeout)

    async def work(engine: Engine) -> tuple[Job, str, dict[str, Any] | None]:
        submitted = await engine.jobs.submit(request)
        job = submitted.job
        if wait:
            if not (quiet or as_json):
                say(f"{job.id} accepted, waiting for its end")
            job = await finished(engine, job.id, seconds)
        return job, submitted.how, await why_waiting(engine, job)

    settings = read_settings()
    made = not settings.on_postgres and not Path(settings.database_file).exists()
    job, how, why = submit(work, settings)
    if made:
        say(f"made the database {settings.database_shown}")
    _print(job, how, why, waited=wait, quiet=quiet, as_json=as_json)
    if wait and job.state not in FINAL:
        say(f"still {job.state} after {wait_timeout}")
    if wait and job.state != "succeeded":
        raise typer.Exit(ExitCode.FAILED)


def _print(
    job: Job, how: str, why: dict[str, Any] | None, *, waited: bool, quiet: bool, as_json: bool
) -> None:
    if as_json:
        print_json({**job_document(job, why), "how": how})
    elif quiet:
        print(job.id)
    elif waited:
        print_job(job, why)
    else:
        note = {
            "replayed": "  (the key had this job already)",
            "duplicate": "  (a job like it is there already)",
        }
        print(f"{job.id}  {job.type}  {job.state}  queue {job.queue}{note.get(how, '')}")
        if why is not None and why["kind"] not in ("time", "slot"):
            say(why["text"])


def parse_wait(text: str) -> float:
    """Seconds of a ``--timeout``; a plain number is seconds."""
    try:
        us = parse_duration(float(text) if text.replace(".", "", 1).isdecimal() else text)
    except ValueError as error:
        raise Invalid.one("--timeout", str(error)) from None
    return max(us, 0) / SECOND


def payload_argument(
    pairs: list[str] | None, text: str | None, file: Path | None
) -> msgspec.Raw | dict[str, Any] | None:
    """The payload, however it was given."""
    if sum(given is not None for given in (pairs or None, text, file)) > 1:
        raise CommandError("give the payload once: KEY=VALUE, --payload or --payload-file", ExitCode.USAGE)
    if pairs:
        return dict(_pair(pair) for pair in pairs)
    if text == "-" or file == Path("-"):
        return json_argument(sys.stdin.buffer.read(), "the payload on stdin")
    if text is not None:
        return json_argument(text, "--payload")
    if file is not None:
        try:
            return json_argument(file.read_bytes(), f"--payload-file {file}")
        except OSError as error:
            raise CommandError(f"--payload-file {file}: {error.strerror}", ExitCode.USAGE) from None
    return None


def json_argument(text: str | bytes, where: str) -> msgspec.Raw:
    """JSON as it was typed, checked to be some."""
    raw = text.encode("utf-8", "surrogateescape") if isinstance(text, str) else text
    try:
        # Only whether it is JSON; what it may hold is for the engine to say, as it says it to everybody.
        msgspec.json.decode(raw)
    except RecursionError:
        pass
    except ValueError as error:
        raise CommandError(
            f"{where} is not JSON: {error}; text needs quotes: '\"text\"'", ExitCode.USAGE
        ) from None
    return msgspec.Raw(raw)


def _pair(text: str) -> tuple[str, Any]:
    key, equals, value = text.partition("=")
    if not (key and equals):
        raise CommandError(f"{text!r} is not KEY=VALUE", ExitCode.USAGE)
    try:
        return key, msgspec.json.decode(value.encode())
    except (ValueError, RecursionError):
        return key, value


def headers_argument(given: list[str] | None) -> dict[str, str] | None:
    """``name=value`` pairs."""
    if not given:
        return None
    headers = {}
    for text in given:
        name, equals, value = text.partition("=")
        if not equals:
            raise Invalid([FieldError("--header", f"{text!r} is not name=value")])
        headers[name] = value
    return headers


def _unique(by: list[str] | None, period: str | None, states: list[str] | None) -> dict[str, Any] | None:
    given = {"by": by, "period": period, "states": states}
    return {name: value for name, value in given.items() if value} or None
