"""Refusals as RFC 9457 ``application/problem+json``: the one form of every answer that is no success."""

from __future__ import annotations

import logging
from uuid import uuid4

import msgspec

from flux.domain.duration import SECOND
from flux.domain.errors import (
    Conflict,
    DataRefused,
    FieldError,
    Invalid,
    NotFound,
    SchemaMismatch,
    TooDeep,
    Unavailable,
)

logger = logging.getLogger("flux.api")

PROBLEM_JSON = b"application/problem+json"

KINDS: dict[int, tuple[str, str]] = {
    400: ("malformed", "Malformed request"),
    401: ("unauthenticated", "Not signed in"),
    403: ("forbidden", "Not allowed"),
    404: ("not-found", "Not found"),
    405: ("method-not-allowed", "Method not allowed"),
    409: ("conflict", "Conflict"),
    413: ("too-large", "Body too large"),
    415: ("unsupported-media-type", "Unsupported media type"),
    422: ("invalid", "Invalid fields"),
    429: ("too-deep", "Queue at its maximum depth"),
    500: ("unexpected", "Unexpected error"),
    503: ("unavailable", "Not available now"),
}
"""Status -> (the last part of its ``type``, its ``title``)."""


class ProblemBody(msgspec.Struct, omit_defaults=True):
    """What is wrong, for programs (``type``, ``errors``) and for people (``title``, ``detail``)."""

    type: str
    title: str
    status: int
    detail: str
    errors: list[FieldError] | msgspec.UnsetType = msgspec.UNSET
    instance: str | msgspec.UnsetType = msgspec.UNSET


class Problem(Exception):
    """A refusal that only HTTP knows, such as a wrong content type."""

    def __init__(
        self,
        status: int,
        detail: str,
        headers: tuple[tuple[bytes, bytes], ...] = (),
        errors: list[FieldError] | None = None,
    ) -> None:
        self.status = status
        self.detail = detail
        self.headers = headers
        self.errors = errors
        super().__init__(detail)


class Refusal(msgspec.Struct, frozen=True):
    """A problem ready to be sent."""

    status: int
    body: bytes
    headers: tuple[tuple[bytes, bytes], ...] = ()


def refusal(error: Exception) -> Refusal:
    """The answer that an error deserves; what nobody foresaw is logged and answered without its inside."""
    if (found := foreseen(error)) is not None:
        return found
    instance = f"urn:uuid:{uuid4()}"
    logger.error("unexpected error %s", instance, exc_info=error)
    return _refusal(500, "something went wrong here; the server's log names it", instance=instance)


def foreseen(error: Exception) -> Refusal | None:
    """The answer to an error that is somebody's to mend; None for one of our own."""
    match error:
        case Problem():
            return _refusal(error.status, error.detail, error.headers, error.errors)
        case Invalid():
            return _refusal(422, _summary(error.errors), errors=error.errors)
        case NotFound():
            return _refusal(404, str(error))
        case Conflict():
            return _refusal(409, str(error))
        case TooDeep():
            return _refusal(429, str(error), _retry_after(-(-error.retry_after // SECOND)))
        case Unavailable() | SchemaMismatch():
            return _refusal(503, str(error) or "the store is away", _retry_after(1))
        case DataRefused():
            return _refusal(422, f"the store cannot keep this: {error}")
    return None


def _refusal(
    status: int,
    detail: str,
    headers: tuple[tuple[bytes, bytes], ...] = (),
    errors: list[FieldError] | None = None,
    instance: str | None = None,
) -> Refusal:
    kind, title = KINDS[status]
    body = ProblemBody(
        type=f"urn:flux:problem:{kind}",
        title=title,
        status=status,
        detail=detail,
        errors=msgspec.UNSET if errors is None else errors,
        instance=instance or msgspec.UNSET,
    )
    return Refusal(status, msgspec.json.encode(body), headers)


def _retry_after(seconds: int) -> tuple[tuple[bytes, bytes], ...]:
    return ((b"retry-after", str(max(seconds, 1)).encode()),)


def _summary(errors: list[FieldError]) -> str:
    first = f"{errors[0].field}: {errors[0].message}" if errors else "the request"
    return first if len(errors) < 2 else f"{first} (and {len(errors) - 1} more)"
