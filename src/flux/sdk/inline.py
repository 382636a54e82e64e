"""A stand-in for the store in tests: what is enqueued runs at once, in this process, for one attempt."""

from __future__ import annotations

import asyncio
import inspect
import random
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from flux.domain.errors import Conflict, NotFound
from flux.domain.ids import IdSource
from flux.domain.job import FINAL, Inserted, Job, JobState, NewJob, as_job
from flux.domain.request import DEFAULT_BOUNDS, JobRequest, validate
from flux.engine import ending
from flux.engine.context import Context
from flux.engine.handler import Handler, Mode
from flux.engine.ports import Here
from flux.sdk.direct import LoggingDesk, stand_in_job
from flux.sdk.doors import Accepted

if TYPE_CHECKING:
    from flux.sdk.app import Flux


class InlineDoor:
    """Runs jobs where they are enqueued. A delay is not waited for, and a failure is final."""

    def __init__(self, flux: Flux, raise_errors: bool) -> None:
        self.jobs: dict[str, Job] = {}
        self._flux = flux
        self._raise = raise_errors
        self._random = random.Random()
        self._ids = IdSource(_wall, self._random)

    async def submit(self, requests: Sequence[JobRequest]) -> Sequence[Accepted]:
        """See ``Door``."""
        jobs = [
            validate(request, self._ids.new(), DEFAULT_BOUNDS, f"jobs[{index}]." if len(requests) > 1 else "")
            for index, request in enumerate(requests)
        ]
        for job in jobs:
            now = _wall()
            self.jobs[job.id] = as_job(job, Inserted(job.id, JobState.AVAILABLE, now, now))
        return [await self._run(job) for job in jobs]

    async def submit_within(
        self, connection: object, here: Here | None, requests: Sequence[JobRequest]
    ) -> Sequence[Accepted]:
        """See ``Door``. They run at once, as all do here, and not after a commit."""
        return await self.submit(requests)

    async def _run(self, new: NewJob) -> Job:
        declared = self._flux.job_handler(new.type)
        job = self.jobs[new.id]
        if declared is None:
            return job  # as with the store: it waits for somebody who knows its type
        claimed = stand_in_job(new.type, new.payload, new.id)
        claimed.queue, claimed.priority = new.queue, new.priority
        claimed.options = msgspec.json.encode(new.options).decode()
        job.state, job.attempt, job.started_at = JobState.RUNNING, 1, _wall()
        try:
            with self._flux.at_home():
                value = await _call(declared.handler, Context(claimed, LoggingDesk()))
            end = ending.of_value(value, DEFAULT_BOUNDS.max_result)
        except Exception as error:
            if self._raise:
                raise
            end = ending.of_exception(error, declared.handler.no_retry)
        outcome = ending.outcome_of(end, claimed, self._random.random())
        job.state, job.result, job.error = outcome.state, outcome.result, outcome.error
        job.finished_at = _wall()
        return job

    async def get(self, job_id: str) -> Job:
        """See ``Door``."""
        job = self.jobs.get(job_id)
        if job is None:
            raise NotFound(f"there is no job {job_id}")
        return job

    async def cancel(self, job_id: str, reason: str | None) -> Job:
        """See ``Door``."""
        job = await self.get(job_id)
        if job.state in FINAL:
            raise Conflict(f"job {job_id} is {job.state} and cannot be cancelled")
        job.state, job.error = JobState.CANCELLED, ending.cancelled(reason).error
        return job

    async def retry(self, job_id: str) -> Job:
        """See ``Door``: it runs again at once."""
        job = await self.get(job_id)
        if job.state not in (JobState.DEAD, JobState.CANCELLED):
            raise Conflict(
                f"job {job_id} is {job.state} and cannot be retried; only dead and cancelled ones can be"
            )
        again = NewJob(
            id=job.id, type=job.type, payload=job.payload or b"{}", queue=job.queue, options=job.options
        )
        return await self._run(again)

    async def wait(self, job_id: str, timeout: float) -> Job:
        """See ``Door``: nothing changes by waiting."""
        return await self.get(job_id)

    async def close(self) -> None:
        """See ``Door``."""


async def _call(handler: Handler, ctx: Context) -> Any:
    if handler.call_chunk is not None:
        chunk = [ctx]
        if handler.mode is Mode.THREAD:
            values = await asyncio.to_thread(handler.call_chunk, chunk)
        else:
            values = await handler.call_chunk(chunk)
        value = None if values is None else values[0]
        if isinstance(value, BaseException):
            raise value
        return value
    if handler.mode is Mode.ASYNC:
        return await handler.call(ctx)
    value = await asyncio.to_thread(handler.call, ctx)
    return await value if inspect.isawaitable(value) else value


def _wall() -> int:
    return time.time_ns() // 1000
