"""Which jobs are meant: the same names in a query string and in the body of a bulk call."""

from __future__ import annotations

from typing import Any

import msgspec

from flux.api.http import Call
from flux.domain.duration import parse_instant
from flux.domain.errors import FieldError, Invalid
from flux.domain.job import JobState
from flux.engine.ports import JobFilter

TEXTS = ("queue", "type", "tag", "key", "error", "worker_id", "workflow_id", "schedule_id")
INSTANTS = ("created_after", "created_before")
_LONGEST = 1000


class BulkFilter(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """Which jobs a bulk call is for: the filters of ``GET /jobs``. ``all: true`` is how to say "every job"."""

    state: str | list[str] | None = None
    queue: str | None = None
    type: str | None = None
    tag: str | None = None
    key: str | None = None
    error: str | None = None
    worker_id: str | None = None
    workflow_id: str | None = None
    schedule_id: str | None = None
    created_after: str | None = None
    created_before: str | None = None
    payload: dict[str, Any] = {}
    all: bool = False
    reason: str | None = None


def from_query(call: Call) -> JobFilter:
    """The filter of a list. Raises ``Invalid`` with every wrong field."""
    given: dict[str, str] = {}
    errors: list[FieldError] = []
    for name in (*TEXTS, *INSTANTS):
        try:
            value = call.one(name)
        except Invalid as error:
            errors.extend(error.errors)
            continue
        if value is not None:
            given[name] = value
    payload = [
        (name.removeprefix("payload."), values)
        for name, values in call.query.items()
        if name.startswith("payload.")
    ]
    for path, values in payload:
        if len(values) > 1:
            errors.append(FieldError(f"payload.{path[:100]}", "may be given only once"))
    states = [part for value in call.query.get("state", ()) for part in value.split(",")]
    return _filter(states, given, tuple((path, values[0]) for path, values in payload), errors)


def from_body(bulk: BulkFilter) -> JobFilter:
    """The filter of a bulk call. Raises ``Invalid``, also when it does not say what it is for."""
    given = {name: value for name in (*TEXTS, *INSTANTS) if (value := getattr(bulk, name)) is not None}
    states = [bulk.state] if isinstance(bulk.state, str) else list(bulk.state or ())
    payload = tuple((path, _as_text(value)) for path, value in bulk.payload.items())
    if not (given or states or payload or bulk.all):
        raise Invalid.one(
            "body", 'names no job: give at least one filter, such as {"queue": "email"}, or {"all": true}'
        )
    return _filter(states, given, payload, [])


def _filter(
    states: list[str],
    given: dict[str, str],
    payload: tuple[tuple[str, str], ...],
    errors: list[FieldError],
) -> JobFilter:
    known: list[JobState] = []
    for state in states:
        if state in JobState._value2member_map_:
            known.append(JobState(state))
        else:
            names = ", ".join(JobState)
            errors.append(FieldError("state", f"{state[:50]!r} is not a state; the states are {names}"))
    instants: dict[str, int] = {}
    texts: dict[str, str] = {}
    for name, value in given.items():
        if name in INSTANTS:
            try:
                # A plus sign that was not escaped arrives as a space.
                instants[name] = parse_instant(value.replace(" ", "+") if "T" in value.upper() else value)
            except ValueError as error:
                errors.append(FieldError(name, str(error)))
        elif not value or len(value) > _LONGEST or "\0" in value:
            errors.append(FieldError(name, f"must have 1 to {_LONGEST} characters, none of them NUL"))
        else:
            texts[name] = value
    for path, value in payload:
        if not path or len(path) > 200 or len(value) > _LONGEST or "\0" in path or "\0" in value:
            errors.append(
                FieldError(
                    f"payload.{path[:100]}", "names a path, like payload.user.id=7, none of it too long"
                )
            )
    if errors:
        raise Invalid(errors)
    fields: dict[str, Any] = {**texts, **instants}
    return JobFilter(states=tuple(dict.fromkeys(known)), payload=payload, **fields)


def _as_text(value: object) -> str:
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()
