"""A job as the document that ``--json`` prints."""

from __future__ import annotations

from typing import Any

import msgspec

from flux.api.views import instant, job_out
from flux.domain.job import Job


def job_document(job: Job, waiting_for: dict[str, Any] | None = None, *, full: bool = True) -> dict[str, Any]:
    """A job just as REST answers it."""
    if waiting_for is not None:
        times = {name: instant(waiting_for[name]) for name in ("until", "since") if name in waiting_for}
        waiting_for = waiting_for | times
    document: dict[str, Any] = msgspec.to_builtins(
        job_out(job, waiting_for, full=full), builtin_types=(msgspec.Raw,)
    )
    return document
