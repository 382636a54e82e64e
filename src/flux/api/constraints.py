"""What the schemas of requests say beyond the types of their fields: bounds, patterns, shapes."""

from __future__ import annotations

from typing import Any, Final

from flux.api.schemas import REF
from flux.domain.backoff import DEFAULT
from flux.domain.request import MAX_TAGS
from flux.domain.schedule import Misfire, Overlap

_NAME: Final = "^[A-Za-z0-9][A-Za-z0-9_.:/-]*$"

_DURATION: Final[dict[str, Any]] = {
    "anyOf": [{"type": "string", "examples": ["30s", "1h30m", "250ms"]}, {"type": "number"}]
}
_JITTER: Final = {"type": "number", "minimum": 0, "maximum": 1}
_DELAYS: Final = {"type": "array", "items": _DURATION, "minItems": 1, "maxItems": 100}


def _shape(kind: str, **fields: Any) -> dict[str, Any]:
    required = ["kind"] if kind != "exponential" else []
    return {
        "type": "object",
        "properties": {"kind": {"const": kind}, **fields, "jitter": _JITTER},
        "required": [*required, *(["delays"] if "delays" in fields else [])],
        "additionalProperties": False,
    }


_BACKOFF: Final[dict[str, Any]] = {
    "title": "Backoff",
    "description": "How long each retry waits: by a formula from `base` up to `max`, or a list of delays whose last "
    "one repeats. `jitter` spreads each delay by that part of it.",
    "anyOf": [
        _shape(
            "exponential",
            base=_DURATION,
            max=_DURATION,
            factor={"type": "number", "minimum": 1, "maximum": 1000},
        ),
        _shape("linear", base=_DURATION, max=_DURATION),
        _shape("constant", base=_DURATION),
        _shape("list", delays=_DELAYS),
        _DELAYS,
    ],
    "examples": [DEFAULT.to_json(), ["10s", "1m", "10m"]],
}

_OF_JOBS: Final[dict[str, dict[str, Any]]] = {
    "type": {"pattern": _NAME, "maxLength": 200},
    "queue": {"pattern": _NAME, "maxLength": 100},
    "priority": {"minimum": 1, "maximum": 10, "description": "10 runs first."},
    "max_retries": {"minimum": 0, "maximum": 1000},
    "tags": {"maxItems": MAX_TAGS},
    "idempotency_key": {"minLength": 1, "maxLength": 255},
    "run_at": {"format": "date-time"},
    "expires_at": {"format": "date-time"},
}
_OF_SCHEDULES: Final[dict[str, dict[str, Any]]] = {
    **_OF_JOBS,
    "name": {"pattern": "^[A-Za-z0-9][A-Za-z0-9_.:-]*$", "maxLength": 100},
    "misfire": {"enum": [*Misfire, None]},
    "overlap": {"enum": [*Overlap, None]},
    "at": {"format": "date-time"},
    "start_at": {"format": "date-time"},
    "end_at": {"format": "date-time"},
}
_REQUESTS: Final = {
    "JobRequest": _OF_JOBS,
    "ChangeRequest": _OF_JOBS,
    "ScheduleRequest": _OF_SCHEDULES,
    "SchedulePatch": _OF_SCHEDULES,
}
_NULL: Final = {"type": "null"}


def constrain(schemas: dict[str, Any]) -> None:
    """Add them to the schemas of requests, in place."""
    schemas["Backoff"] = _BACKOFF
    for name, known in _REQUESTS.items():
        schema = schemas.get(name)
        if schema is None:
            continue
        for field, found in schema["properties"].items():
            if field == "backoff":
                found["anyOf"] = [{"$ref": REF.format(name="Backoff")}, _NULL]
                continue
            # A field that is not required may be null, which is its default; a payload is anything, also null.
            if name != "ChangeRequest" and field not in schema["required"] and "type" in found:
                found = {"anyOf": [{"type": found.pop("type")} | _items(found), _NULL], **found}
            schema["properties"][field] = found | known.get(field, {})


def _items(found: dict[str, Any]) -> dict[str, Any]:
    """The part of a schema that goes with its type."""
    return {"items": found.pop("items")} if "items" in found else {}
