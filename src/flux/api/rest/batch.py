"""``POST /jobs/batch``: many jobs in one transaction."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from flux.api import bodies, examples
from flux.api.http import Answer, Call
from flux.api.operations import BASE, Body, Operation, Reply
from flux.domain.errors import FieldError, Invalid
from flux.domain.job import JobState
from flux.domain.request import JobRequest, parse_job, validate

if TYPE_CHECKING:
    from flux.api.app import Api

MOST = 10_000
_MOST_ERRORS = 100


class BatchRequest(msgspec.Struct, forbid_unknown_fields=True):
    """Up to 10,000 jobs, all or none."""

    jobs: list[JobRequest]


class _RawBatch(msgspec.Struct, forbid_unknown_fields=True):
    jobs: list[msgspec.Raw]


class Accepted(msgspec.Struct):
    """One accepted job."""

    id: str
    state: JobState


class BatchAccepted(msgspec.Struct):
    """The jobs, in the order in which they were given."""

    jobs: list[Accepted]


_whole = msgspec.json.Decoder(BatchRequest)


class BatchResource:
    """The call for many jobs."""

    def __init__(self, api: Api) -> None:
        self._jobs = api.engine.jobs
        self._bounds = api.engine.bounds
        self._max_payload = api.engine.bounds.max_payload
        self._limit = bodies.batch_limit(self._max_payload)

    async def submit(self, call: Call) -> Answer:
        """``POST /jobs/batch``."""
        if call.header(b"idempotency-key") is not None:
            raise Invalid.one(
                "Idempotency-Key", "a batch has no key of its own: give each job an idempotency_key instead"
            )
        requests = self._read(await call.body(self._limit))
        if len(requests) > MOST:
            raise Invalid.one("jobs", f"has {len(requests)} jobs; at most {MOST} in one transaction")
        self._check_payloads(requests)
        inserted = await self._jobs.submit_many(requests)
        return Answer.json(BatchAccepted([Accepted(job.id, job.state) for job in inserted]), 201)

    def _read(self, body: bytes) -> list[JobRequest]:
        try:
            return _whole.decode(body).jobs
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            return self._read_each(body)

    def _read_each(self, body: bytes) -> list[JobRequest]:
        """The slow path, which finds every wrong field of every job."""
        raw = bodies.read(body, _RawBatch).jobs
        requests: list[JobRequest] = []
        errors: list[FieldError] = []
        for index, item in enumerate(raw):
            try:
                request = parse_job(item, f"jobs[{index}].")
                requests.append(request)
                validate(request, "", self._bounds, f"jobs[{index}].")
            except Invalid as refused:
                errors.extend(refused.errors)
            except (msgspec.DecodeError, UnicodeDecodeError) as error:
                errors.append(FieldError(f"jobs[{index}]", f"cannot be kept as JSON: {error}"))
            if len(errors) >= _MOST_ERRORS:
                break
        if errors:
            raise Invalid(errors)
        return requests

    def _check_payloads(self, requests: list[JobRequest]) -> None:
        for index, request in enumerate(requests):
            size = len(memoryview(request.payload))
            if size > self._max_payload:
                raise bodies.payload_too_large(f"jobs[{index}].payload", size, self._max_payload)


def operations(api: Api) -> list[Operation]:
    """The operation on batches."""
    batch = BatchResource(api)
    mib = bodies.batch_limit(api.engine.bounds.max_payload) >> 20
    return [
        Operation(
            method="POST",
            path=f"{BASE}/jobs/batch",
            name="enqueueJobs",
            group="Jobs",
            summary="Enqueue many jobs in one transaction",
            about=f"Up to {MOST:,} jobs and {mib} MiB, all or none; errors name the index, like `jobs[3].priority`. "
            "A job whose idempotency key or uniqueness stands already is answered with the job that is there.",
            handler=batch.submit,
            body=Body(BatchRequest, {"jobs": [examples.JOB_IN, {"type": "report"}]}),
            replies={
                201: Reply(
                    "All were accepted.",
                    BatchAccepted,
                    {"jobs": [{"id": examples.ID, "state": "available"}]},
                )
            },
            problems=(400, 409, 413, 415, 422, 429),
        )
    ]
