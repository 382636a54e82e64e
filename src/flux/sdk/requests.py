"""What a caller may ask for besides the arguments: the options of a declaration and of one enqueue."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Literal, TypeAlias, TypedDict

import msgspec

from flux.domain.duration import format_duration, format_instant, parse_duration, parse_instant
from flux.domain.errors import FieldError, Invalid
from flux.domain.request import JobRequest, validate

Duration: TypeAlias = str | int | float | timedelta
"""``"30s"``, ``"1h30m"``, a number of seconds, or a timedelta."""

Instant: TypeAlias = str | datetime
"""RFC 3339 with an offset, or an aware datetime."""


class SharedOptions(TypedDict, total=False):
    """What a declaration sets for all jobs of its type, and one enqueue for its own."""

    queue: str
    """The queue; "default" when nothing is said."""
    priority: int
    """1 to 10; 10 runs first, 5 is usual."""
    max_retries: int
    """Attempts after the first one, 0 to 1000; 3 is usual."""
    timeout: Duration | None
    """How long one attempt may take."""
    backoff: Mapping[str, Any] | Sequence[Duration] | None
    """Delays between attempts: ``{"kind": "exponential", "base": "1s", "max": "1h"}`` or a list of delays."""
    tags: Sequence[str]
    headers: Mapping[str, str]
    unique: bool | Mapping[str, Any] | None
    """At most one job alike: True (same type and payload), or ``{"by": ["type", "payload.user"], "period": "1h"}``."""
    expires_in: Duration | None
    """A job not started by then is cancelled as expired."""


class JobOptions(SharedOptions, total=False):
    """What ``@flux.job(...)`` takes."""

    name: str
    """The job type; the function's name when nothing is said."""
    isolation: Literal["process"] | None
    """"process": each attempt runs in a child process, which may be killed."""
    memory: str | int | None
    """With isolation: the most memory of the child, such as "512MB"."""
    heartbeat_timeout: Duration | None
    """How long an attempt may go without ``ctx.heartbeat()``, ``ctx.progress()`` or ``ctx.checkpoint()``; then it has
    failed as ``timeout``, at most a quarter of that time later."""
    no_retry: Sequence[type[BaseException]] | type[BaseException]
    """Exceptions after which no further attempt is made."""


class EnqueueOptions(SharedOptions, total=False):
    """What ``.options(...)`` takes."""

    delay: Duration | None
    """Start that much later; not together with ``run_at``."""
    run_at: Instant | None
    expires_at: Instant | None
    idempotency_key: str | None
    """The same key and the same request give the first job again; another request is a ``Conflict``."""
    idempotency_ttl: Duration | None
    """How long the key is held; as long as the job when nothing is said."""
    cron: str | None
    """Make a schedule by this expression; the handle is of its first occurrence."""
    timezone: str | None
    schedule: str | None
    """The name of the schedule that ``cron`` makes."""
    connection: Any
    """Your own connection to the store's database (asyncpg, psycopg, SQLAlchemy, Django, sqlite3): the job exists if
    and only if the transaction that is open on it commits."""


_EXCLUSIVE = (
    ("delay", "run_at"), ("run_at", "delay"), ("expires_in", "expires_at"), ("expires_at", "expires_in"),
)  # fmt: skip
_DURATIONS = ("delay", "timeout", "expires_in", "idempotency_ttl")
_INSTANTS = ("run_at", "expires_at")


def split_connection(options: Mapping[str, Any]) -> tuple[object, dict[str, Any]]:
    """The connection to join, and the options of the job itself."""
    others = dict(options)
    return others.pop("connection", None), others


def build_request(type: str, options: Mapping[str, Any], base: JobRequest | None = None) -> JobRequest:
    """A request without its payload, from ``options`` over ``base``.

    Raises ``Invalid`` with every wrong field (times and names are looked at by ``validate``).
    """
    fields: dict[str, Any] = {}
    errors: list[FieldError] = []
    for name, value in options.items():
        try:
            fields[name] = _field(name, value)
        except ValueError as error:
            errors.append(FieldError(name, str(error)))
    if errors:
        raise Invalid(errors)
    if base is not None:
        # What excludes each other does so within one call; a later call's word counts over an earlier one's.
        for one, other in _EXCLUSIVE:
            if fields.get(one) is not None and other not in fields:
                fields[other] = None
        return msgspec.structs.replace(base, **fields)
    return JobRequest(type=type, **fields)


def check_request(request: JobRequest) -> None:
    """Raises ``Invalid`` for what no enqueue of this request could mend."""
    validate(request, "")


def with_payload(request: JobRequest, payload: bytes) -> JobRequest:
    """A copy that carries this payload."""
    return msgspec.structs.replace(request, payload=msgspec.Raw(payload))


def _field(name: str, value: Any) -> Any:
    """An option as ``JobRequest`` has it. Raises ``ValueError`` with the reason."""
    if name == "connection":
        raise ValueError("belongs to an enqueue, not to a declaration")
    field = _FIELDS.get(name)
    if field is None:
        known = ", ".join(sorted(name for name in _FIELDS if name not in ("type", "payload")))
        raise ValueError(f"is not an option; the options are {known}")
    if name in _DURATIONS and isinstance(value, timedelta):
        return format_duration(parse_duration(value))
    if name in _INSTANTS and isinstance(value, datetime):
        return format_instant(parse_instant(value))
    if name == "tags":
        if isinstance(value, str):
            raise ValueError("must be a list of texts, not one text")
        value = tuple(value)
    elif name == "headers" and value is not None:
        value = dict(value)
    elif name == "unique":
        value = {} if value is True else None if value is False else value
    elif name == "backoff" and value is not None and not isinstance(value, Mapping):
        value = [format_duration(parse_duration(one)) for one in value]
    elif name == "backoff" and value is not None:
        value = {
            key: format_duration(parse_duration(one)) if isinstance(one, timedelta) else one
            for key, one in value.items()
        }
    try:
        return msgspec.convert(value, field.type)
    except msgspec.ValidationError as error:
        message = str(error)
        raise ValueError(message[:1].lower() + message[1:]) from None


_FIELDS = {field.name: field for field in msgspec.structs.fields(JobRequest)}


def schedule_field(name: str, value: Any) -> Any:
    """An option of a schedule as ``ScheduleRequest`` has it. Raises ``ValueError``."""
    if isinstance(value, timedelta):
        return format_duration(parse_duration(value))
    if isinstance(value, datetime):
        return format_instant(parse_instant(value))
    return value
