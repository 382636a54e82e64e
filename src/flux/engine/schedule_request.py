"""A schedule as somebody asks for it: the fields, their rules, and every refusal in words."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, TypeVar

import msgspec

from flux.domain.backoff import BackoffError
from flux.domain.duration import format_duration, format_instant, parse_duration, parse_instant
from flux.domain.errors import FieldError, Invalid
from flux.domain.request import (
    DEFAULT_BOUNDS,
    Bounds,
    JobRequest,
    Seconds,
    means_default,
    validate,
    wrong_kind,
)
from flux.domain.schedule import Cron, Every, Misfire, Once, Overlap, ScheduleError, ScheduleSpec, parse_rule

T = TypeVar("T")


class ScheduleRequest(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """The body of ``POST /schedules``: when (one of ``cron``, ``every``, ``at``), by which policies, and the job.

    The job's fields stand beside the others; ``parse_schedule`` also takes them as an object ``job``.
    """

    name: str
    type: str
    cron: str | None = None
    every: Seconds | None = None
    at: str | None = None
    timezone: str | None = None
    misfire: str = Misfire.RUN_ONCE.value
    misfire_grace: Seconds | None = None
    overlap: str = Overlap.ALLOW.value
    jitter: Seconds | None = None
    start_at: str | None = None
    end_at: str | None = None
    paused: bool = False
    note: str | None = None
    payload: msgspec.Raw = msgspec.Raw(b"{}")
    queue: str = "default"
    priority: int = 5
    timeout: Seconds | None = None
    max_retries: int = 3
    backoff: dict[str, Any] | list[Any] | None = None
    tags: tuple[str, ...] = ()
    headers: dict[str, str] | None = None
    expires_in: Seconds | None = None


JOB_FIELDS: Final = (
    "type", "payload", "queue", "priority", "timeout", "max_retries", "backoff", "tags", "headers", "expires_in",
)  # fmt: skip

_FIELDS: Final = {field.name: field for field in msgspec.structs.fields(ScheduleRequest)}
_RULES: Final = ("cron", "every", "at")
_LONGEST_NOTE: Final = 2_000


def parse_schedule(raw: bytes | msgspec.Raw) -> ScheduleRequest:
    """Read a request from JSON. Raises ``Invalid`` with every wrong field, ``msgspec.DecodeError`` for bad JSON."""
    return _from_fields(_flat(_object(raw)))


def parse_patch(raw: bytes | msgspec.Raw) -> dict[str, msgspec.Raw]:
    """Read the fields of a change from JSON; their values are checked when it is applied."""
    return _flat(_object(raw))


def patched(spec: ScheduleSpec, note: str | None, patch: dict[str, msgspec.Raw]) -> ScheduleRequest:
    """The request that makes what ``spec`` would be with these fields changed; null gives one its default."""
    fields = {name: msgspec.Raw(msgspec.json.encode(value)) for name, value in written(spec, note).items()}
    if "name" in patch and bytes(patch["name"]) != bytes(fields["name"]):
        raise Invalid.one("name", "cannot be changed: delete the schedule and create another")
    if any(rule in patch for rule in _RULES):
        for rule in _RULES:
            fields.pop(rule, None)
        if "cron" not in patch:
            fields.pop("timezone", None)
    for name, value in patch.items():
        if bytes(value) == b"null" and name != "payload":
            fields.pop(name, None)
        else:
            fields[name] = value
    return _from_fields(fields)


def written(spec: ScheduleSpec, note: str | None) -> dict[str, Any]:
    """The schedule as its request, without what is default: what people read and send back."""
    fields: dict[str, Any] = {"name": spec.name, **spec.job}
    match spec.rule:
        case Cron(expression, timezone):
            fields |= {"cron": expression, "timezone": timezone}
        case Every(interval):
            fields["every"] = format_duration(interval)
        case Once(at):
            fields["at"] = format_instant(at)
    fields |= {"misfire": spec.misfire.value, "overlap": spec.overlap.value}
    fields |= {"misfire_grace": format_duration(spec.misfire_grace), "jitter": format_duration(spec.jitter)}
    if spec.start_at is not None:
        fields["start_at"] = format_instant(spec.start_at)
    if spec.end_at is not None:
        fields["end_at"] = format_instant(spec.end_at)
    if note is not None:
        fields["note"] = note
    return fields | {"paused": spec.paused}


def note_problem(note: str | None) -> str | None:
    """Why this note cannot be kept, or None."""
    if note is not None and (len(note) > _LONGEST_NOTE or "\0" in note):
        return f"has at most {_LONGEST_NOTE} characters, none of them NUL"
    return None


def validate_schedule(request: ScheduleRequest, bounds: Bounds = DEFAULT_BOUNDS) -> ScheduleSpec:
    """The request as a schedule. Raises ``Invalid`` with every wrong field."""
    errors: list[FieldError] = []

    def read(field: str, parse: Callable[[Any], T], value: Any, default: T) -> T:
        try:
            return default if value is None else parse(value)
        except (ScheduleError, BackoffError) as error:
            errors.append(FieldError(error.field, error.message))
        except ValueError as error:
            errors.append(FieldError(field, str(error)))
        return default

    job = job_request(request)
    try:
        validate(job, "", bounds)
    except Invalid as refused:
        errors += refused.errors
    if problem := note_problem(request.note):
        errors.append(FieldError("note", problem))
    start_at = read("start_at", parse_instant, request.start_at, None)
    end_at = read("end_at", parse_instant, request.end_at, None)
    grace = read("misfire_grace", parse_duration, request.misfire_grace, 60_000_000)
    jitter = read("jitter", parse_duration, request.jitter, 0)
    misfire = read("misfire", _one_of(Misfire), request.misfire, Misfire.RUN_ONCE)
    overlap = read("overlap", _one_of(Overlap), request.overlap, Overlap.ALLOW)

    def rule(asked: ScheduleRequest) -> Cron | Every | Once:
        # An interval counts from its start when it has one, and from the epoch (so on full hours) otherwise.
        return parse_rule(
            cron=asked.cron,
            every=asked.every,
            at=asked.at,
            timezone=asked.timezone,
            anchor=start_at or 0,
        )

    never: Cron | Every | Once = Once(0)
    fires = read("cron", rule, request, never)

    def whole(asked: ScheduleRequest) -> ScheduleSpec | None:
        return ScheduleSpec(
            name=asked.name,
            rule=fires,
            job=_job_fields(job),
            misfire=misfire,
            misfire_grace=grace,
            overlap=overlap,
            jitter=jitter,
            start_at=start_at,
            end_at=end_at,
            paused=asked.paused,
        )

    spec = read("name", whole, request, None)
    if errors or spec is None:
        raise Invalid(errors)
    return spec


def job_request(request: ScheduleRequest) -> JobRequest:
    """The request of the jobs that the schedule makes."""
    return JobRequest(**{name: getattr(request, name) for name in JOB_FIELDS})


def _job_fields(job: JobRequest) -> dict[str, Any]:
    """What the schedule keeps of its job: JSON values, without what is default. Defaults apply when it is made."""
    fields: dict[str, Any] = {}
    for field in msgspec.structs.fields(job):
        value = getattr(job, field.name)
        if field.name == "payload":
            fields["payload"] = msgspec.json.decode(value)
        elif field.name in JOB_FIELDS and value != field.default:
            fields[field.name] = value
    # As JSON gives it back, so that what is stored equals what is asked for anew.
    decoded: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(fields))
    return decoded


def _one_of(kind: type[T]) -> Callable[[str], T]:
    def parse(text: str) -> T:
        try:
            return kind(text)  # type: ignore[call-arg]
        except ValueError:
            members = ", ".join(str(member.value) for member in kind)  # type: ignore[attr-defined]
            raise ValueError(f"must be one of {members}") from None

    return parse


# --- reading JSON -------------------------------------------------------------------------------------------------


def _object(raw: bytes | msgspec.Raw) -> dict[str, msgspec.Raw]:
    try:
        return msgspec.json.decode(raw, type=dict[str, msgspec.Raw])
    except msgspec.ValidationError:
        raise Invalid.one("body", "must be a JSON object") from None
    except RecursionError:
        raise Invalid.one("payload", "is nested too deep") from None


def _flat(fields: dict[str, msgspec.Raw]) -> dict[str, msgspec.Raw]:
    """The fields with those of an object ``job`` beside them."""
    if "job" not in fields:
        return fields
    rest = dict(fields)
    inner = _object(rest.pop("job"))
    errors = [
        FieldError(f"job.{name}", "is not a field of a schedule's job")
        for name in inner
        if name not in JOB_FIELDS
    ]
    errors += [FieldError(name, "is given twice: beside job and in it") for name in inner if name in rest]
    if errors:
        raise Invalid(errors)
    return rest | inner


def _from_fields(fields: dict[str, msgspec.Raw]) -> ScheduleRequest:
    errors: list[FieldError] = []
    values: dict[str, Any] = {}
    for name, raw in fields.items():
        field = _FIELDS.get(name)
        if field is None:
            errors.append(FieldError(name[:50], "is not a field of a schedule"))
            continue
        if means_default(field, raw):
            continue
        try:
            values[name] = (
                msgspec.Raw(raw) if name == "payload" else msgspec.json.decode(raw, type=field.type)
            )
        except msgspec.ValidationError as error:
            errors.append(wrong_kind(name, raw, error))
        except RecursionError:
            errors.append(FieldError(name, "is nested too deep"))
    for name, what in (("name", "what the schedule is called"), ("type", "the job type of its jobs")):
        if name not in fields:
            errors.append(FieldError(name, f"is required: {what}"))
    if errors:
        raise Invalid(errors)
    return ScheduleRequest(**values)
