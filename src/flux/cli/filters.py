"""The options that choose jobs: of `flux job list`, `cancel` and `retry`."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from typing import Annotated, Any, get_type_hints

import typer

from flux.domain.duration import parse_duration, parse_instant
from flux.domain.errors import FieldError, Invalid
from flux.domain.ids import is_id
from flux.domain.job import JobState
from flux.engine.ports import JobFilter


@dataclass(frozen=True, kw_only=True)
class Options:
    """What was given of the options that choose jobs."""

    state: Annotated[list[str] | None, typer.Option("--state", "-s", help="In this state (repeatable).")] = (
        None
    )
    queue: Annotated[str | None, typer.Option("--queue", "-q", help="In this queue.")] = None
    type: Annotated[str | None, typer.Option("--type", "-t", help="Of this job type.")] = None
    tag: Annotated[str | None, typer.Option("--tag", help="With this tag.")] = None
    key: Annotated[str | None, typer.Option("--key", help="With this idempotency key.")] = None
    error: Annotated[str | None, typer.Option("--error", help="Whose error has this text or cause.")] = None
    worker: Annotated[str | None, typer.Option("--worker", help="Run by this worker.")] = None
    workflow: Annotated[str | None, typer.Option("--workflow", help="Of this workflow run.")] = None
    schedule: Annotated[str | None, typer.Option("--schedule", help="Of the schedule with this id.")] = None
    created_after: Annotated[str | None, typer.Option("--created-after", help='A time, or an age: "2h".')] = (
        None
    )
    created_before: Annotated[
        str | None, typer.Option("--created-before", help='A time, or an age: "2h".')
    ] = None
    payload: Annotated[
        list[str] | None, typer.Option("--payload", help="path=value in the payload (repeatable).")
    ] = None

    def __bool__(self) -> bool:
        return any(vars(self).values())


def choosing(command: Callable[..., None]) -> Callable[..., None]:
    """Put the options themselves in the place of a command's parameter ``chosen``, which is made of them."""
    hints = get_type_hints(Options, include_extras=True)
    signature = inspect.signature(command, eval_str=True)
    shown: list[inspect.Parameter] = []
    for parameter in signature.parameters.values():
        if parameter.name == "chosen":
            shown += [
                inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=hint)
                for name, hint in hints.items()
            ]
        else:
            shown.append(parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY))

    @wraps(command)
    def run(**given: Any) -> None:
        chosen = Options(**{name: given.pop(name) for name in hints})
        command(chosen=chosen, **given)

    # typer reads a command's options from here.
    run.__dict__["__signature__"] = signature.replace(parameters=shown)
    return run


def job_filter(now: int, given: Options) -> JobFilter:
    """The filter that the options describe. Raises ``Invalid`` with every wrong one."""
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
    for text in given.state or ():
        for word in text.split(","):
            if word in JobState._value2member_map_:
                states.append(JobState(word))
            else:
                wrong.append(FieldError("--state", f"{word!r} is not one of {', '.join(JobState)}"))
    pairs = []
    for text in given.payload or ():
        path, equals, value = text.partition("=")
        if not (path and equals):
            wrong.append(FieldError("--payload", f"{text!r} is not path=value"))
        pairs.append((path, value))
    for name, id in (("workflow", given.workflow), ("schedule", given.schedule)):
        if id is not None and not is_id(id):
            wrong.append(FieldError(f"--{name}", f"{id!r} is not an id"))
    found = JobFilter(
        states=tuple(states),
        queue=given.queue,
        type=given.type,
        tag=given.tag,
        key=given.key,
        error=given.error,
        worker_id=given.worker,
        workflow_id=given.workflow,
        schedule_id=given.schedule,
        created_after=moment("created-after", given.created_after),
        created_before=moment("created-before", given.created_before),
        payload=tuple(pairs),
    )
    if wrong:
        raise Invalid(wrong)
    return found
