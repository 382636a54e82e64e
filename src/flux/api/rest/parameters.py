"""Query parameters and headers that several resources take."""

from __future__ import annotations

from typing import Any

from flux.api import examples
from flux.api.operations import Parameter
from flux.domain.job import JobState

DURATION: dict[str, Any] = {"type": "string", "description": 'A duration such as "30s", or seconds.'}
INSTANT: dict[str, Any] = {"type": "string", "format": "date-time"}
BOOLEAN: dict[str, Any] = {"type": "boolean", "default": False}

CURSOR = Parameter(
    "cursor", "Where to go on: the `next_cursor` of the page before.", example="AZNqPnscfD6aXi9LbY4KHA"
)

IDEMPOTENCY_KEY = Parameter(
    "Idempotency-Key",
    "The same as the field `idempotency_key`: a repeated request is answered with the first one's job.",
    {"type": "string", "minLength": 1, "maxLength": 255},
    "welcome-4711",
    header=True,
)

FILTERS = (
    Parameter(
        "state",
        "One or more states (repeat the parameter, or separate them by commas).",
        {"type": "array", "items": {"type": "string", "enum": list(JobState)}},
        ["dead"],
        repeatable=True,
    ),
    Parameter("queue", "Jobs of this queue.", example="email"),
    Parameter("type", "Jobs of this type.", example="email"),
    Parameter("tag", "Jobs that carry this tag.", example="welcome"),
    Parameter("key", "The job with this idempotency key.", example="welcome-4711"),
    Parameter("error", "Jobs whose error has this text, or this cause.", example="ConnectionError"),
    Parameter("worker_id", "Jobs that this worker runs or ran.", example=examples.WORKER),
    Parameter("workflow_id", "Jobs of this workflow run.", example=examples.ID),
    Parameter("schedule_id", "Occurrences of this schedule.", example=examples.ID),
    Parameter("created_after", "Jobs created at this time or later.", INSTANT, examples.AT),
    Parameter("created_before", "Jobs created before this time.", INSTANT, examples.AT),
    Parameter(
        "payload.*",
        "`payload.<path>=value`: jobs whose payload has this value at the dotted path.",
        {"type": "object", "additionalProperties": {"type": "string"}},
        {"payload.to": "user@example.com"},
    ),
)


def limit(most: int, default: int) -> Parameter:
    """How many at most."""
    schema = {"type": "integer", "minimum": 1, "maximum": most, "default": default}
    return Parameter("limit", "How many at most.", schema, default)
