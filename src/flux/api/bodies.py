"""JSON bodies read into structs, and what is said when they cannot be."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from typing import Any, TypeVar

import msgspec

from flux.api.http import Call, too_large
from flux.api.problems import Problem
from flux.domain.errors import FieldError, Invalid
from flux.domain.request import MAX_NESTING, JobRequest, in_json_words, parse_job

T = TypeVar("T")

_MOST_ERRORS = 100

OVERHEAD = 64 << 10
"""Bytes that a body may have besides one payload of the largest size."""
BATCH_BYTES = 64 << 20
"""The most bytes of a batch, whatever the largest payload (at least four of those fit)."""

ACTION_BYTES = 64 << 10
"""The most bytes of a body that only says how to do something."""
ACTION_PROBLEMS = (400, 403, 413, 415, 422)
"""What may be wrong with one."""


def single_limit(max_payload: int) -> int:
    """The most bytes of a body with one job."""
    return max_payload + OVERHEAD


def batch_limit(max_payload: int) -> int:
    """The most bytes of a body with many jobs."""
    return max(BATCH_BYTES, 4 * single_limit(max_payload))


def read_job(body: bytes, max_payload: int) -> JobRequest:
    """A job's request. Raises ``Invalid`` with every wrong field, ``Problem`` 400 (malformed) and 413 (payload)."""
    try:
        request = parse_job(body)
    except Invalid:
        check_json(body)
        raise
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise malformed(body, error) from None
    if len(bytes(request.payload)) > max_payload:
        raise payload_too_large("payload", len(bytes(request.payload)), max_payload)
    return request


def read(body: bytes, type: type[T]) -> T:
    """A body as a struct. Raises ``Invalid``, ``Problem`` 400."""
    try:
        return msgspec.json.decode(body, type=type)
    except msgspec.ValidationError as error:
        check_json(body)
        raise _every_wrong_field(body, type, error) from None
    except RecursionError:
        raise Invalid.one("body", f"is nested deeper than {MAX_NESTING} levels") from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise malformed(body, error) from None


class NoFields(msgspec.Struct, forbid_unknown_fields=True):
    """The body of a call that takes none."""


async def read_action(call: Call, type: type[T]) -> T:
    """The small body of a call that needs none: nothing at all is an object without fields. Raises as ``read``."""
    body = await call.body(ACTION_BYTES)
    return read(body if body.strip() else b"{}", type)


def check_json(body: bytes) -> None:
    """Raise ``Problem`` 400 or ``Invalid`` for a text that is no JSON: a decoder stops at the first wrong field."""
    try:
        msgspec.json.decode(body, type=msgspec.Raw)
    except RecursionError:
        return  # whoever reads it says which field is nested too deep
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise malformed(body, error) from None


def payload_too_large(field: str, size: int, limit: int) -> Problem:
    """The problem of a payload past FLUX_MAX_PAYLOAD."""
    message = f"is {size} bytes; the limit is {limit} (FLUX_MAX_PAYLOAD)"
    return Problem(413, f"{field} {message}", errors=[FieldError(field, message)])


def malformed(body: bytes, error: Exception) -> Exception:
    """What to answer for a text that does not parse.

    NaN, infinities and lone surrogates are not malformed for many writers of JSON (Python's own among them), so they
    are refused as the field that has them: 422.
    """
    if not body.strip():
        return Problem(400, "the body is empty; it must be JSON")
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):
        text = str(error)
        return Problem(400, text if text.startswith("JSON is malformed") else f"JSON is malformed: {text}")
    errors = [
        FieldError(field.encode(errors="replace").decode(), problem)
        for field, inner in _fields(value)
        if (problem := _unkeepable(inner))
    ]
    return Invalid(errors[:_MOST_ERRORS] or [FieldError("body", f"cannot be kept as JSON: {error}")])


def _fields(value: Any, at: str = "") -> Iterator[tuple[str, Any]]:
    """The fields of a body, by name; in a batch those of each of its jobs."""
    if not isinstance(value, dict):
        yield at.rstrip(".") or "body", value
        return
    for name, inner in value.items():
        if name == "jobs" and isinstance(inner, list) and not at:
            for index, job in enumerate(inner):
                yield from _fields(job, f"jobs[{index}].")
        else:
            yield at + name[:100], inner


def _unkeepable(value: Any) -> str | None:
    stack = [value]
    while stack:
        inner = stack.pop()
        if isinstance(inner, float) and not math.isfinite(inner):
            return "has NaN or infinity, which JSON has no form for"
        if isinstance(inner, str) and not inner.isascii() and not _encodable(inner):
            return "has half of a surrogate pair, which is no character"
        if isinstance(inner, dict):
            stack.extend(inner)
            stack.extend(inner.values())
        elif isinstance(inner, list):
            stack.extend(inner)
    return None


def _encodable(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _every_wrong_field(body: bytes, type: Any, first: msgspec.ValidationError) -> Invalid:
    """The slow path: each field by itself, so that all wrong ones are named at once."""
    try:
        given = msgspec.json.decode(body, type=dict[str, msgspec.Raw])
    except msgspec.ValidationError:
        return Invalid.one("body", "must be a JSON object")
    known = {field.encode_name: field for field in msgspec.structs.fields(type)}
    errors = []
    for name, value in given.items():
        if name not in known:
            there = f"the fields are {', '.join(known)}" if known else "this call takes none"
            errors.append(FieldError(name[:100], f"is not a field here; {there}"))
            continue
        try:
            msgspec.json.decode(value, type=known[name].type)
        except (msgspec.ValidationError, RecursionError) as error:
            message, _, inner = str(error).partition(" - at `$")
            errors.append(FieldError(name + inner.rstrip("`"), in_json_words(message)))
    errors += [
        FieldError(name, "is required") for name, f in known.items() if f.required and name not in given
    ]
    return Invalid(errors or [FieldError("body", str(first))])


__all__ = [
    "NoFields",
    "batch_limit",
    "check_json",
    "malformed",
    "payload_too_large",
    "read",
    "read_action",
    "read_job",
    "single_limit",
    "too_large",
]
