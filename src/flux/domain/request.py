"""A job as somebody asks for it: the fields, their rules, and every refusal in words."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache
from hashlib import blake2b
from math import isfinite
from typing import Any, TypeAlias

import msgspec

from flux.domain.backoff import Backoff, BackoffError
from flux.domain.duration import parse_duration, parse_instant
from flux.domain.errors import FieldError, Invalid
from flux.domain.job import LIVE, NO_OPTIONS, Idempotency, JobState, NewJob, Options, Uniqueness

_LONGEST_TYPE = 200
_LONGEST_QUEUE = 100

_is_name = lru_cache(1024)(re.compile(r"[A-Za-z0-9][A-Za-z0-9_.:/-]*").fullmatch)
"""Remembers: the same few names come again and again. Long texts must not come here, which it would keep."""


def type_name(text: str) -> bool:
    """Whether a type may be called so."""
    return len(text) <= _LONGEST_TYPE and _is_name(text) is not None


def queue_name(text: str) -> bool:
    """Whether a queue may be called so."""
    return len(text) <= _LONGEST_QUEUE and _is_name(text) is not None


MAX_NESTING = 100
MAX_TAGS = 50
MAX_HEADERS = 50

Seconds: TypeAlias = str | int | float
"""A duration as people write it: "30s", "1h30m", or a number of seconds."""


class UniqueRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """At most one job alike. ``by``: ``type``, ``queue``, ``payload``, or ``payload.<path>``."""

    by: tuple[str, ...] = ("type", "payload")
    period: Seconds | None = None
    states: tuple[str, ...] | None = None


class JobRequest(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """The body of ``POST /jobs``, and what the SDK builds. Only ``type`` is required."""

    type: str
    payload: msgspec.Raw = msgspec.Raw(b"{}")
    queue: str = "default"
    priority: int = 5
    delay: Seconds | None = None
    run_at: str | None = None
    timeout: Seconds | None = None
    max_retries: int = 3
    backoff: dict[str, Any] | list[Any] | None = None
    idempotency_key: str | None = None
    idempotency_ttl: Seconds | None = None
    unique: UniqueRequest | None = None
    tags: tuple[str, ...] = ()
    headers: dict[str, str] | None = None
    expires_at: str | None = None
    expires_in: Seconds | None = None
    cron: str | None = None
    timezone: str | None = None
    schedule: str | None = None


class Bounds(msgspec.Struct, frozen=True):
    """Limits that a deployment sets (bytes)."""

    max_payload: int = 1 << 20
    max_result: int = 1 << 20


DEFAULT_BOUNDS = Bounds()
_UNBOUNDED = Bounds(max_payload=1 << 62)


def validate(request: JobRequest, job_id: str, bounds: Bounds = DEFAULT_BOUNDS, at: str = "") -> NewJob:
    """The request as a job to insert. Raises ``Invalid`` with every wrong field, each path beginning with ``at``."""
    found = _Findings(at)
    if not type_name(request.type):
        found.add("type", NAME_RULE.format("type", _LONGEST_TYPE))
    if not queue_name(request.queue):
        found.add("queue", NAME_RULE.format("queue", _LONGEST_QUEUE))
    if not 1 <= request.priority <= 10:
        found.add("priority", "must be between 1 and 10; 10 runs first")
    if not 0 <= request.max_retries <= 1000:
        found.add("max_retries", "must be between 0 and 1000")
    payload = bytes(request.payload)
    if problem := json_problem(payload, bounds.max_payload):
        found.add("payload", problem)
    job = NewJob(
        id=job_id,
        type=request.type,
        payload=payload,
        queue=request.queue,
        priority=request.priority,
        max_retries=request.max_retries,
    )
    _times(request, job, found)
    _options(request, job, found)
    if request.idempotency_key is not None:
        _idempotency(request, job, found)
    elif request.idempotency_ttl is not None:
        found.add("idempotency_ttl", "needs an idempotency_key")
    if request.unique is not None:
        _unique(request.unique, job, found)
    if request.cron is None:
        for name in ("timezone", "schedule"):
            if getattr(request, name) is not None:
                found.add(name, "needs cron")
    found.check()
    return job


def json_problem(raw: bytes, most: int) -> str | None:
    """Why this JSON text cannot be kept, or None: size, NUL characters, lone surrogates, numbers, nesting."""
    if len(raw) > most:
        return f"is {len(raw)} bytes; the limit is {most} (FLUX_MAX_PAYLOAD)"
    if len(raw) <= 4 and raw in (b"{}", b"[]", b"null", b"true"):
        return None
    try:
        value = _anything(raw)
    except RecursionError:
        return f"is nested deeper than {MAX_NESTING} levels"
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        return f"cannot be kept as JSON: {error}"
    if raw.count(b"[") + raw.count(b"{") > MAX_NESTING and _depth(value) > MAX_NESTING:
        return f"is nested deeper than {MAX_NESTING} levels"
    if b"\\u0000" in raw and any(isinstance(leaf, str) and "\0" in leaf for leaf in _leaves(value)):
        return "has a NUL character, which no store can keep"
    return None


def encode_value(value: object) -> bytes:
    """A Python value as JSON. Raises ``ValueError`` with the reason when JSON has no form for it."""
    try:
        raw = _encode(value)
    except RecursionError:
        raise ValueError(f"is nested deeper than {MAX_NESTING} levels") from None
    except (TypeError, ValueError, OverflowError) as error:
        raise ValueError(str(error)) from None
    if b"null" in raw and any(isinstance(leaf, float) and not isfinite(leaf) for leaf in _leaves(value)):
        raise ValueError("NaN and infinity have no form in JSON")
    return raw


def _plain(value: object) -> object:
    # what only a run of a workflow will know, written as an expression
    written = getattr(type(value), "__flux_json__", None)
    if written is not None:
        return written(value)
    # pydantic models, without importing pydantic
    dump = getattr(value, "model_dump", None)
    if callable(dump):
        return dump(mode="json")
    raise TypeError(f"{type(value).__name__} has no form in JSON")


_encode = msgspec.json.Encoder(enc_hook=_plain).encode
_anything = msgspec.json.Decoder().decode


class _Findings:
    """The wrong fields so far."""

    __slots__ = ("at", "errors")

    def __init__(self, at: str) -> None:
        self.at = at
        self.errors: list[FieldError] | None = None

    def add(self, field: str, message: str) -> None:
        if self.errors is None:
            self.errors = []
        self.errors.append(FieldError(self.at + field, message))

    def duration(self, field: str, value: Seconds | None, least: int, rule: str) -> int | None:
        if value is None:
            return None
        try:
            us = parse_duration(value)
        except ValueError as error:
            self.add(field, str(error))
            return None
        if us < least:
            self.add(field, rule)
            return None
        return us

    def instant(self, field: str, value: str | None) -> int | None:
        if value is None:
            return None
        try:
            return parse_instant(value)
        except ValueError as error:
            self.add(field, str(error))
            return None

    def check(self) -> None:
        if self.errors:
            raise Invalid(self.errors)


NAME_RULE = (
    "a {} begins with a letter or digit, goes on with letters, digits and _ . : / -, at most {} characters"
)


def _times(request: JobRequest, job: NewJob, found: _Findings) -> None:
    if request.delay is not None:
        job.delay = found.duration("delay", request.delay, 0, "must not be negative") or 0
        if request.run_at is not None:
            found.add("run_at", "delay and run_at exclude each other: give one of them")
    if request.run_at is not None:
        job.run_at = found.instant("run_at", request.run_at)
    if request.timeout is not None:
        job.timeout = found.duration("timeout", request.timeout, 1, "must be positive")
    if request.expires_at is not None:
        job.expires_at = found.instant("expires_at", request.expires_at)
        if request.expires_in is not None:
            found.add("expires_in", "expires_at and expires_in exclude each other: give one of them")
    if request.expires_in is not None:
        job.expires_in = found.duration("expires_in", request.expires_in, 1, "must be positive")


def _options(request: JobRequest, job: NewJob, found: _Findings) -> None:
    if not (request.tags or request.headers or request.backoff is not None):
        return
    check_tags(request.tags, found.add)
    headers = request.headers or {}
    if len(headers) > MAX_HEADERS:
        found.add("headers", f"at most {MAX_HEADERS} headers")
    for name, value in headers.items():
        if not name or len(name) > 200 or len(value) > 4096 or "\0" in name or "\0" in value:
            found.add(
                f"headers.{name[:50]}",
                "a name has 1 to 200 characters, a value at most 4,096, none of them NUL",
            )
    backoff = None
    if request.backoff is not None:
        try:
            backoff = msgspec.Raw(msgspec.json.encode(Backoff.parse(request.backoff).to_json()))
        except BackoffError as error:
            found.add(error.field, error.message)
    job.options = Options(tags=tuple(request.tags), headers=headers, backoff=backoff)


def check_tags(tags: tuple[str, ...], refuse: Any) -> None:
    """Tell ``refuse(field, message)`` of tags that cannot be kept."""
    if len(tags) > MAX_TAGS:
        refuse("tags", f"at most {MAX_TAGS} tags")
    for i, tag in enumerate(tags):
        if not 1 <= len(tag) <= 100 or "\0" in tag:
            refuse(f"tags[{i}]", "a tag has 1 to 100 characters, none of them NUL")


def _idempotency(request: JobRequest, job: NewJob, found: _Findings) -> None:
    key = request.idempotency_key
    assert key is not None
    if not 1 <= len(key) <= 255 or "\0" in key:
        found.add("idempotency_key", "must have 1 to 255 characters, none of them NUL")
        return
    ttl = found.duration("idempotency_ttl", request.idempotency_ttl, 1, "must be positive")
    job.idempotency = Idempotency(key, fingerprint(request), ttl)
    job.options = msgspec.structs.replace(job.options, idempotency_key=key)


def fingerprint(request: JobRequest) -> str:
    """Two requests have the same fingerprint when they ask for the same (the key itself left out)."""
    asked = msgspec.to_builtins(request, builtin_types=(msgspec.Raw,))
    asked["payload"] = _decoded(bytes(request.payload))
    for name in ("idempotency_key", "idempotency_ttl"):
        asked.pop(name)
    return _digest(asked)


def _unique(unique: UniqueRequest, job: NewJob, found: _Findings) -> None:
    parts: dict[str, object] = {}
    if not unique.by:
        found.add("unique.by", "names at least one of type, queue, payload, payload.<path>")
    for by in unique.by:
        if by in ("type", "queue"):
            parts[by] = getattr(job, by)
        elif by == "payload":
            parts[by] = _decoded(job.payload)
        elif by.startswith("payload.") and len(by) > 8:
            parts[by] = at_path(_decoded(job.payload), by[8:])
        else:
            found.add("unique.by", f"{by!r} is not one of type, queue, payload, payload.<path>")
    period = found.duration("unique.period", unique.period, 1, "must be positive")
    states = unique.states
    if states is None:
        # Without a period: as long as the job lives. With one: a success counts too, a failure frees the way.
        kept = LIVE if unique.period is None else LIVE | {JobState.SUCCEEDED}
        states = tuple(sorted(kept))
    for state in states:
        if state not in JobState._value2member_map_:
            found.add("unique.states", f"{state!r} is not a state; the states are {', '.join(JobState)}")
    if not states:
        found.add("unique.states", "names at least one state")
    if found.errors is None:
        job.unique = Uniqueness(_digest(parts), states, period)
        job.options = msgspec.structs.replace(job.options, unique=msgspec.Raw(msgspec.json.encode(unique)))


def at_path(value: object, path: str) -> object:
    """The value at a dotted path (numbers index lists); None where there is none."""
    for step in path.split("."):
        if isinstance(value, dict):
            value = value.get(step)
        elif isinstance(value, list) and step.isdecimal() and int(step) < len(value):
            value = value[int(step)]
        else:
            return None
    return value


def _digest(value: object) -> str:
    return blake2b(msgspec.json.encode(value, order="deterministic"), digest_size=16).hexdigest()


def _decoded(raw: bytes) -> object:
    # A text that is not JSON has been refused already; its digest does not matter.
    try:
        return msgspec.json.decode(raw)
    except (msgspec.DecodeError, RecursionError):
        return None


def _leaves(value: object) -> Iterator[object]:
    """Every value that holds no others, keys included; without recursion, since depth is the sender's choice."""
    waiting = [value]
    while waiting:
        outer = waiting.pop()
        if isinstance(outer, dict):
            yield from outer
            waiting.extend(outer.values())
        elif isinstance(outer, (list, tuple, set, frozenset)):
            waiting.extend(outer)
        else:
            yield outer


def _depth(value: object) -> int:
    deepest, level = 0, [value]
    while level:
        deepest += 1
        level = [
            inner
            for outer in level
            if isinstance(outer, (dict, list))
            for inner in (outer.values() if isinstance(outer, dict) else outer)
            if isinstance(inner, (dict, list))
        ]
    return deepest


_FIELDS = {field.name: field for field in msgspec.structs.fields(JobRequest)}


def parse_job(raw: bytes | msgspec.Raw, at: str = "") -> JobRequest:
    """Read a request from JSON. Raises ``Invalid`` with every wrong field, ``msgspec.DecodeError`` for bad JSON."""
    try:
        return _decoder.decode(raw)
    except msgspec.ValidationError:
        pass
    except RecursionError:
        raise Invalid.one(at + "payload", f"is nested deeper than {MAX_NESTING} levels") from None
    return _by_field(raw, at)


_decoder = msgspec.json.Decoder(JobRequest)


def _by_field(raw: bytes | msgspec.Raw, at: str) -> JobRequest:
    """The slow path: each field by itself, so that all wrong ones are named at once. Raises ``Invalid``."""
    try:
        given = msgspec.json.decode(raw, type=dict[str, msgspec.Raw])
    except msgspec.ValidationError:
        raise Invalid.one(at.rstrip(".") or "body", "must be a JSON object with at least a type") from None
    except RecursionError:
        raise Invalid.one(at + "payload", f"is nested deeper than {MAX_NESTING} levels") from None
    errors: list[FieldError] = []
    good: dict[str, Any] = {}
    for name, value in given.items():
        field = _FIELDS.get(name)
        if field is None:
            errors.append(FieldError(at + name, f"is not a field of a job{_did_you_mean(name)}"))
            continue
        if means_default(field, value):
            continue
        try:
            good[name] = msgspec.json.decode(value, type=field.type)
        except msgspec.ValidationError as error:
            errors.append(wrong_kind(name, value, error, at))
        except RecursionError:
            errors.append(FieldError(at + name, f"is nested deeper than {MAX_NESTING} levels"))
    if "type" not in given:
        errors.append(FieldError(at + "type", "is required: the job type that a handler serves"))
    if not errors:
        return JobRequest(**good)  # nothing but nulls that mean the default
    raise Invalid(errors + _wrong_values(good, given, at))


def means_default(field: msgspec.structs.FieldInfo, value: bytes | msgspec.Raw) -> bool:
    """Whether a field is given as null although it is never null: then it is as if it were left out."""
    return bytes(value) == b"null" and not field.required and field.type is not msgspec.Raw


def _wrong_values(good: dict[str, Any], given: dict[str, msgspec.Raw], at: str) -> list[FieldError]:
    """What is wrong with the fields of the right kind, without what only follows from the others."""
    good.setdefault("type", "x")
    if "idempotency_ttl" in good:
        good.setdefault("idempotency_key", "x")  # it may be of the wrong kind, or come as a header
    if "cron" in given and good.get("cron") is None:
        for name in ("timezone", "schedule"):
            good.pop(name, None)
    try:
        # Too large a payload is another answer than a wrong field, and its bound is not known here.
        validate(JobRequest(**good), "", _UNBOUNDED, at)
    except Invalid as refused:
        return refused.errors
    return []


def wrong_kind(
    name: str, value: bytes | msgspec.Raw, error: msgspec.ValidationError, at: str = ""
) -> FieldError:
    """What is wrong with a field that does not decode, named down to the inner field or key."""
    message, _, inner = str(error).partition(" - at `$")
    inner = inner.rstrip("`")
    if message.startswith("Object contains unknown field `"):
        unknown = message.split("`")[1]
        return FieldError(f"{at}{name}{inner}.{unknown[:50]}", f"is not a field of {name}")
    if inner == "[...]":
        # msgspec does not say which key of an object it was.
        for key, one in msgspec.json.decode(value, type=dict[str, msgspec.Raw]).items():
            if not bytes(one).startswith(b'"'):
                inner = f".{key[:50]}"
                break
    return FieldError(at + name + inner, in_json_words(message))


_JSON_WORDS = {"str": "string", "int": "integer", "float": "number", "bool": "boolean"}


def in_json_words(message: str) -> str:
    """What a decoder says of a value, as the second half of a sentence and without the words of Python."""
    words = re.sub(r"\b(str|int|float|bool)\b", lambda found: _JSON_WORDS[found[0]], message)
    return words[:1].lower() + words[1:]


def _did_you_mean(name: str) -> str:
    from difflib import get_close_matches

    close = get_close_matches(name, _FIELDS, n=1)
    return f"; did you mean {close[0]}?" if close else f"; the fields are {', '.join(_FIELDS)}"


__all__ = [
    "NO_OPTIONS",
    "Bounds",
    "JobRequest",
    "UniqueRequest",
    "check_tags",
    "encode_value",
    "fingerprint",
    "in_json_words",
    "json_problem",
    "means_default",
    "parse_job",
    "validate",
    "wrong_kind",
]
