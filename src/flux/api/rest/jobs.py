"""``/jobs``: submit, read, change, cancel, retry, copy, wait."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import msgspec

from flux.api import bodies, examples, filters
from flux.api.http import Answer, Call, encode
from flux.api.operations import BASE, Body, Operation, Parameter, Reply
from flux.api.patience import ended_or_now
from flux.api.rest.parameters import BOOLEAN, CURSOR, DURATION, FILTERS, IDEMPOTENCY_KEY, limit
from flux.api.views import JobOut, instant
from flux.domain.duration import SECOND, parse_duration
from flux.domain.errors import Invalid
from flux.domain.job import FINAL
from flux.domain.request import JobRequest
from flux.engine.jobs import ChangeRequest

if TYPE_CHECKING:
    from flux.api.app import Api

LONGEST_WAIT = 300.0
_LOCATION = f"{BASE}/jobs/".encode()
_REPLAYED = (b"idempotent-replayed", b"true")
_DUPLICATE = (b"unique-duplicate", b"true")


class JobList(msgspec.Struct):
    """A page of jobs, newest first. ``searched_until``: where a search without an index stopped early."""

    jobs: list[JobOut]
    next_cursor: str | None
    searched_until: str | None


class CancelRequest(msgspec.Struct, forbid_unknown_fields=True):
    """Why a job is cancelled."""

    reason: str | None = None


class JobsResource:
    """The calls on single jobs, and their list."""

    def __init__(self, api: Api) -> None:
        self._api = api
        self._jobs = api.engine.jobs
        self._around = api.surroundings
        self._max_payload = api.engine.bounds.max_payload
        self._limit = bodies.single_limit(self._max_payload)

    async def submit(self, call: Call) -> Answer:
        """``POST /jobs``."""
        request = bodies.read_job(await call.body(self._limit), self._max_payload)
        key = call.header(b"idempotency-key")
        if key is not None:
            if request.idempotency_key not in (None, key):
                raise Invalid.one(
                    "idempotency_key", "differs from the header Idempotency-Key: give one of them"
                )
            request.idempotency_key = key
        submitted = await self._jobs.submit(request)
        body = encode(await self._around.enqueued(submitted.job))
        location = (b"location", _LOCATION + submitted.job.id.encode())
        if submitted.how == "created":
            return Answer(201, body, (location,))
        return Answer(200, body, (location, _REPLAYED if submitted.how == "replayed" else _DUPLICATE))

    async def list(self, call: Call) -> Answer:
        """``GET /jobs``."""
        wanted = filters.from_query(call)
        most, full = call.number("limit", 50, 1, 500), call.flag("full")
        page = await self._jobs.list(wanted, most, call.one("cursor"), full)
        jobs = await self._around.jobs(page.jobs, full)
        return Answer.json(JobList(jobs, page.next_cursor, instant(page.searched_until)))

    async def get(self, call: Call) -> Answer:
        """``GET /jobs/{id}``."""
        return Answer.json(await self._around.job(await self._jobs.get(call.path["id"])))

    async def change(self, call: Call) -> Answer:
        """``PATCH /jobs/{id}``."""
        edits = await self._edits(call)
        if not any(getattr(edits, name) is not msgspec.UNSET for name in edits.__struct_fields__):
            raise Invalid.one("body", f"changes nothing; give one of {', '.join(edits.__struct_fields__)}")
        return Answer.json(await self._around.job(await self._jobs.change(call.path["id"], edits)))

    async def rerun(self, call: Call) -> Answer:
        """``POST /jobs/{id}/rerun``."""
        copy = await self._jobs.rerun(call.path["id"], await self._edits(call))
        location = (b"location", _LOCATION + copy.id.encode())
        return Answer.json(await self._around.enqueued(copy), 201, (location,))

    async def cancel(self, call: Call) -> Answer:
        """``DELETE /jobs/{id}``."""
        body = await call.body(self._limit)
        reason = call.one("reason")
        if body:
            reason = bodies.read(body, CancelRequest).reason or reason
        check_reason(reason)
        return Answer.json(await self._around.job(await self._jobs.cancel(call.path["id"], reason)))

    async def retry(self, call: Call) -> Answer:
        """``POST /jobs/{id}/retry``."""
        await bodies.read_action(call, bodies.NoFields)
        return Answer.json(await self._around.job(await self._jobs.retry(call.path["id"])))

    async def wait(self, call: Call) -> Answer:
        """``GET /jobs/{id}/wait``."""
        seconds = read_seconds(call.one("timeout"))
        id = call.path["id"]
        job = await ended_or_now(self._api, call, self._jobs.wait(id, seconds), lambda: self._jobs.get(id))
        return Answer.json(await self._around.job(job), 200 if job.state in FINAL else 202)

    async def _edits(self, call: Call) -> ChangeRequest:
        body = await call.body(self._limit)
        edits = bodies.read(body, ChangeRequest) if body else ChangeRequest()
        if isinstance(edits.payload, msgspec.Raw) and len(bytes(edits.payload)) > self._max_payload:
            raise bodies.payload_too_large("payload", len(bytes(edits.payload)), self._max_payload)
        return edits


def check_reason(reason: str | None) -> None:
    """Raise ``Invalid`` for a reason that cannot be kept."""
    if reason is not None and (len(reason) > 1000 or "\0" in reason):
        raise Invalid.one("reason", "has at most 1,000 characters, none of them NUL")


def read_seconds(text: str | None) -> float:
    """How long to wait, from the query. Raises ``Invalid``."""
    if text is None:
        return 30.0
    try:
        plain = float(text) if text.replace(".", "", 1).isdecimal() and text.isascii() else text
        seconds = parse_duration(plain) / SECOND
    except ValueError as error:
        raise Invalid.one("timeout", str(error)) from None
    if not (math.isfinite(seconds) and 0 <= seconds <= LONGEST_WAIT):
        raise Invalid.one("timeout", "must be between 0s and 5m")
    return seconds


def operations(api: Api) -> list[Operation]:
    """The operations on jobs."""
    jobs = JobsResource(api)
    one = f"{BASE}/jobs/{{id}}"
    job = Reply("The job.", JobOut, examples.JOB)
    return [
        Operation(
            method="POST",
            path=f"{BASE}/jobs",
            name="enqueueJob",
            group="Jobs",
            summary="Enqueue a job",
            about="The answer is sent after the commit. With `cron` a schedule is made, which starts after the "
            "`delay`, and its first occurrence is answered. `idempotency_key` and `unique` then stand for the "
            "schedule: asking again is answered with its occurrence that waits (else its newest).",
            handler=jobs.submit,
            query=(IDEMPOTENCY_KEY,),
            body=Body(JobRequest, examples.JOB_IN, about="Only `type` is required."),
            replies={
                201: Reply(
                    "The job was accepted.", JobOut, examples.JOB, headers={"Location": "Where the job is."}
                ),
                200: Reply(
                    "The job was there already: its idempotency key or its uniqueness stands for it.",
                    JobOut,
                    examples.JOB,
                    headers={
                        "Location": "Where the job is.",
                        "Idempotent-Replayed": "`true` when the idempotency key was used before.",
                        "Unique-Duplicate": "`true` when a unique job already stands for this one.",
                    },
                ),
            },
            problems=(400, 409, 413, 415, 422, 429),
        ),
        Operation(
            method="GET",
            path=f"{BASE}/jobs",
            name="listJobs",
            group="Jobs",
            summary="List jobs, newest first",
            about="A filter that no index serves looks at a bounded number of the newest jobs and says how far it "
            "looked (`searched_until`).",
            handler=jobs.list,
            query=(
                *FILTERS,
                limit(500, 50),
                CURSOR,
                Parameter("full", "With payload, result and attempts.", BOOLEAN, False),
            ),
            replies={
                200: Reply(
                    "A page of jobs.",
                    JobList,
                    {"jobs": [examples.JOB_IN_LIST], "next_cursor": None, "searched_until": None},
                )
            },
            problems=(422,),
        ),
        Operation(
            method="GET",
            path=one,
            name="getJob",
            group="Jobs",
            summary="Read a job with its attempts",
            handler=jobs.get,
            replies={200: Reply("The job.", JobOut, examples.JOB_DONE)},
            problems=(404,),
        ),
        Operation(
            method="PATCH",
            path=one,
            name="changeJob",
            group="Jobs",
            summary="Change a job that waits",
            handler=jobs.change,
            body=Body(
                ChangeRequest, {"priority": 9, "run_at": examples.AT}, about="Only what is given is changed."
            ),
            replies={200: job},
            problems=(400, 404, 409, 413, 415, 422),
        ),
        Operation(
            method="DELETE",
            path=one,
            name="cancelJob",
            group="Jobs",
            summary="Cancel a job",
            about="Final at once when the job waits. When it runs, `cancel_requested` is set and its handler hears of "
            "it.",
            handler=jobs.cancel,
            query=(Parameter("reason", "Why; kept as the job's error.", example="ordered twice"),),
            body=Body(CancelRequest, {"reason": "ordered twice"}, required=False),
            replies={200: Reply("The job, cancelled or asked to stop.", JobOut, examples.CANCELLED)},
            problems=(400, 404, 409, 413, 415, 422),
        ),
        Operation(
            method="POST",
            path=f"{one}/retry",
            name="retryJob",
            group="Jobs",
            summary="Retry a dead or cancelled job",
            about="It becomes available again with as many attempts as at first.",
            handler=jobs.retry,
            replies={200: job},
            problems=(404, 409, *bodies.ACTION_PROBLEMS),
        ),
        Operation(
            method="POST",
            path=f"{one}/rerun",
            name="rerunJob",
            group="Jobs",
            summary="Run a finished job again as a copy",
            handler=jobs.rerun,
            body=Body(
                ChangeRequest,
                {"queue": "email", "priority": 9},
                required=False,
                about="What the copy has different.",
            ),
            replies={
                201: Reply("The copy.", JobOut, examples.JOB, headers={"Location": "Where the copy is."})
            },
            problems=(404, 409, 429, *bodies.ACTION_PROBLEMS),
        ),
        Operation(
            method="GET",
            path=f"{one}/wait",
            name="waitForJob",
            group="Jobs",
            summary="Wait until a job is final",
            handler=jobs.wait,
            query=(
                Parameter("timeout", "How long to wait, at most 5m.", {**DURATION, "default": "30s"}, "30s"),
            ),
            replies={
                200: Reply("The job is final.", JobOut, examples.JOB_DONE),
                202: Reply("It is not; this is how it stands.", JobOut, examples.JOB),
            },
            problems=(404, 422),
        ),
    ]
