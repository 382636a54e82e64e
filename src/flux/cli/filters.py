"""The options that choose jobs: of `flux job list`, `cancel` and `retry`."""

from __future__ import annotations

from typing import Annotated

import typer

from flux.domain.duration import parse_duration, parse_instant
from flux.domain.errors import FieldError, Invalid
from flux.domain.ids import is_id
from flux.domain.job import JobState
from flux.engine.ports import JobFilter

State = Annotated[list[str] | None, typer.Option("--state", "-s", help="In this state (repeatable).")]
Queue = Annotated[str | None, typer.Option("--queue", "-q", help="In this queue.")]
Type = Annotated[str | None, typer.Option("--type", "-t", help="Of this job type.")]
Tag = Annotated[str | None, typer.Option("--tag", help="With this tag.")]
Key = Annotated[str | None, typer.Option("--key", help="With this idempotency key.")]
Error = Annotated[str | None, typer.Option("--error", help="Whose error has this text or cause.")]
WorkerId = Annotated[str | None, typer.Option("--worker", help="Run by this worker.")]
WorkflowId = Annotated[str | None, typer.Option("--workflow", help="Of this workflow run.")]
ScheduleId = Annotated[str | None, typer.Option("--schedule", help="Of the schedule with this id.")]
After = Annotated[str | None, typer.Option("--created-after", help='A time, or an age: "2h".')]
Before = Annotated[str | None, typer.Option("--created-before", help='A time, or an age: "2h".')]
Payload = Annotated[
    list[str] | None, typer.Option("--payload", help="path=value in the payload (repeatable).")
]


def job_filter(
    now: int,
    *,
    state: list[str] | None,
    queue: str | None,
    type: str | None,
    tag: str | None,
    key: str | None,
    error: str | None,
    worker: str | None,
    workflow: str | None,
    schedule: str | None,
    created_after: str | None,
    created_before: str | None,
    payload: list[str] | None,
) -> JobFilter:
    """The filter that these options describe. Raises ``Invalid`` with every wrong one."""
    wrong: list[FieldError] = []

    def moment(name: str, text: str | None) -> int | None:
        if text is None:
            return None
        try:
            return parse_instant(text) if "T" in text or "-" in text[1:] else now - parse_duration(text)
        except ValueError as refused:
            wrong.append(FieldError(f"--{name}", f"{refused}; an age such as 2h does as well"))
            return None

    states = []
    for text in state or ():
        for word in text.split(","):
            if word in JobState._value2member_map_:
                states.append(JobState(word))
            else:
                wrong.append(FieldError("--state", f"{word!r} is not one of {', '.join(JobState)}"))
    pairs = []
    for text in payload or ():
        path, equals, value = text.partition("=")
        if not (path and equals):
            wrong.append(FieldError("--payload", f"{text!r} is not path=value"))
        pairs.append((path, value))
    for name, id in (("workflow", workflow), ("schedule", schedule)):
        if id is not None and not is_id(id):
            wrong.append(FieldError(f"--{name}", f"{id!r} is not an id"))
    found = JobFilter(
        states=tuple(states),
        queue=queue,
        type=type,
        tag=tag,
        key=key,
        error=error,
        worker_id=worker,
        workflow_id=workflow,
        schedule_id=schedule,
        created_after=moment("created-after", created_after),
        created_before=moment("created-before", created_before),
        payload=tuple(pairs),
    )
    if wrong:
        raise Invalid(wrong)
    return found
