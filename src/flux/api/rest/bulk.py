"""``POST /jobs/retry`` and ``/jobs/cancel``: one verb for all jobs of a filter."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from flux.api import bodies, filters
from flux.api.http import Answer, Call
from flux.api.operations import BASE, Body, Operation, Reply
from flux.api.rest.jobs import check_reason
from flux.domain.errors import Invalid
from flux.domain.job import LIVE, JobState
from flux.engine.ports import JobFilter

if TYPE_CHECKING:
    from flux.api.app import Api

_LIMIT = 64 << 10
_RETRYABLE = frozenset({JobState.DEAD, JobState.CANCELLED})


class Count(msgspec.Struct):
    """How many jobs it was done to."""

    count: int


class BulkResource:
    """The calls for many jobs that are there."""

    def __init__(self, api: Api) -> None:
        self._jobs = api.engine.jobs

    async def retry(self, call: Call) -> Answer:
        """``POST /jobs/retry``."""
        bulk = await self._read(call)
        if bulk.reason is not None:
            raise Invalid.one("reason", "belongs to a cancel")
        wanted = filters.from_body(bulk)
        _check_states(wanted, _RETRYABLE, "retried")
        return Answer.json(Count(await self._jobs.retry_all(wanted)))

    async def cancel(self, call: Call) -> Answer:
        """``POST /jobs/cancel``."""
        bulk = await self._read(call)
        check_reason(bulk.reason)
        wanted = filters.from_body(bulk)
        _check_states(wanted, LIVE, "cancelled")
        return Answer.json(Count(await self._jobs.cancel_all(wanted, bulk.reason)))

    async def _read(self, call: Call) -> filters.BulkFilter:
        body = await call.body(_LIMIT)
        # No body at all means no filter; it is refused with the words that say how to mean every job.
        return bodies.read(body, filters.BulkFilter) if body.strip() else filters.BulkFilter()


def _check_states(wanted: JobFilter, may: frozenset[JobState], verb: str) -> None:
    """Refuse a state in which nothing is to be done, rather than answer that it was done to none."""
    if wrong := [state for state in wanted.states if state not in may]:
        names = " and ".join(sorted(may))
        raise Invalid.one("state", f"a job that is {wrong[0]} cannot be {verb}; those can that are {names}")


def operations(api: Api) -> list[Operation]:
    """The operations in bulk."""
    bulk = BulkResource(api)
    about = (
        'The body is a filter with the names of `GET /jobs`; `{"all": true}` means every job, and a body without any '
        "filter is refused. "
    )
    count = Reply("How many jobs it was done to.", Count, {"count": 42})
    return [
        Operation(
            method="POST",
            path=f"{BASE}/jobs/retry",
            name="retryJobs",
            group="Jobs",
            summary="Retry all dead jobs of a filter",
            about=about + "Cancelled ones are retried when `state` names them.",
            handler=bulk.retry,
            body=Body(filters.BulkFilter, {"queue": "email", "error": "ConnectionError"}),
            replies={200: count},
            problems=bodies.ACTION_PROBLEMS,
        ),
        Operation(
            method="POST",
            path=f"{BASE}/jobs/cancel",
            name="cancelJobs",
            group="Jobs",
            summary="Cancel all jobs of a filter that have not ended",
            about=about + "`reason` is kept as their error.",
            handler=bulk.cancel,
            body=Body(filters.BulkFilter, {"tag": "welcome", "reason": "the campaign was withdrawn"}),
            replies={200: count},
            problems=bodies.ACTION_PROBLEMS,
        ),
    ]
