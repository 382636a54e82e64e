"""``@flux.schedule(...)``: schedules declared in code, reconciled with the stored ones when a worker starts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, TypedDict

import msgspec

from flux.domain.errors import Invalid
from flux.domain.request import JobRequest
from flux.engine.schedule_request import JOB_FIELDS, ScheduleRequest, validate_schedule
from flux.sdk.errors import DeclarationError
from flux.sdk.requests import Duration, Instant, schedule_field


class ScheduleOptions(TypedDict, total=False):
    """How a declared schedule fires. One of the cron expression, ``every`` and ``at`` says when."""

    every: Duration | None
    """An interval: "15m"; on full multiples since the epoch, or since ``start_at``."""
    at: Instant | None
    """One instant."""
    timezone: str | None
    """Whose clocks a cron expression reads: "Europe/Berlin"; UTC when nothing is said."""
    name: str
    """Its name in lists; the job type when nothing is said. A second schedule of one handler needs its own."""
    misfire: Literal["run_once", "skip", "run_all"]
    misfire_grace: Duration
    overlap: Literal["allow", "skip", "cancel_previous"]
    jitter: Duration
    start_at: Instant | None
    end_at: Instant | None
    paused: bool
    note: str | None
    payload: Mapping[str, Any] | None
    """Arguments whose names are also options of the schedule; others may stand as keywords."""


def declare_schedule(
    template: JobRequest, payload: bytes, cron: str | None, options: Mapping[str, Any]
) -> ScheduleRequest:
    """The schedule that the declaration asks for. Raises ``DeclarationError``."""
    what = f"@flux.schedule on {template.type}"
    if template.unique is not None:
        raise DeclarationError(f"{what}: its handler is unique; use overlap= of the schedule instead")
    fields: dict[str, Any] = {name: getattr(template, name) for name in JOB_FIELDS}
    fields |= {"name": template.type.replace("/", "-")[:100], "payload": msgspec.Raw(payload), "cron": cron}
    try:
        fields |= {name: schedule_field(name, value) for name, value in options.items()}
        request = ScheduleRequest(**fields)
        validate_schedule(request)
    except Invalid as refused:
        raise DeclarationError(
            f"{what}: " + "; ".join(f"{e.field}: {e.message}" for e in refused.errors)
        ) from None
    except ValueError as error:
        raise DeclarationError(f"{what}: {error}") from None
    return request
