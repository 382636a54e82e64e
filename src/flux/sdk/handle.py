"""The handle of one job: wait for its result, look at it, cancel it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import msgspec

from flux.domain.job import FINAL, Job, JobState
from flux.sdk.errors import JobCancelled, JobFailed

if TYPE_CHECKING:
    from flux.sdk.app import Flux

R = TypeVar("R")

LONGEST_WAIT = 60.0
"""Seconds of one wait; without a timeout it is repeated until the job ends."""

_any = msgspec.json.Decoder()


class JobHandle(Generic[R]):
    """One job that was accepted. Cheap: it holds the id and asks the store when asked itself."""

    __slots__ = ("_decoder", "_flux", "id")

    def __init__(self, flux: Flux, job_id: str, decoder: msgspec.json.Decoder[Any] | None = None) -> None:
        self.id = job_id
        self._flux = flux
        self._decoder = decoder or _any

    def __repr__(self) -> str:
        return f"JobHandle({self.id!r})"

    async def result(self, timeout: float | None = None) -> R:
        """Wait until the job ends and return what its handler returned, by the handler's return annotation.

        ``timeout`` is in seconds; None waits as long as it takes. Raises ``JobFailed`` when the job is dead (``.error``
        says why), ``JobCancelled`` when it was cancelled, expired or skipped, ``TimeoutError`` when it still lives.
        """
        return self.result_of(await self.wait(timeout))

    async def wait(self, timeout: float | None = None) -> Job:
        """Wait until the job ends, however it ends; ``timeout`` in seconds. Raises ``TimeoutError``, ``NotFound``."""
        loop = asyncio.get_running_loop()
        deadline = None if timeout is None else loop.time() + timeout
        while True:
            left = LONGEST_WAIT if deadline is None else max(0.0, deadline - loop.time())
            job = await self._flux.wait(self.id, min(left, LONGEST_WAIT))
            if job.state in FINAL:
                return job
            if deadline is not None and loop.time() >= deadline:
                raise TimeoutError(f"job {self.id} ({job.type}) is still {job.state} after {timeout} s")

    def result_of(self, job: Job) -> R:
        """The result of this job as it was read. Raises as ``result`` does."""
        if job.state is JobState.DEAD:
            raise JobFailed(job)
        if job.state is not JobState.SUCCEEDED:
            raise JobCancelled(job)
        try:
            value: R = self._decoder.decode(job.result or b"null")
        except msgspec.ValidationError as error:
            raise TypeError(
                f"the result of job {job.id} is not what {job.type} is annotated to return: {error}"
            ) from None
        return value

    async def get(self) -> Job:
        """The job as it stands, with everything. Raises ``NotFound``."""
        return await self._flux.get(self.id)

    async def state(self) -> JobState:
        """The state it is in now. Raises ``NotFound``."""
        return (await self.get()).state

    async def cancel(self, reason: str | None = None) -> Job:
        """Cancel it: at once when it waits, as a request when it runs. Raises ``Conflict`` when it has ended."""
        return await self._flux.cancel(self.id, reason)

    async def retry(self) -> Job:
        """Make it available again. Raises ``Conflict`` unless it is dead or cancelled."""
        return await self._flux.retry(self.id)

    def result_sync(self, timeout: float | None = None) -> R:
        """``result`` from synchronous code. Raises ``RuntimeError`` in a running event loop: it would block it."""
        self._flux.portal.refuse_in_a_loop("result_sync", "await job.result()")
        return self._flux.portal.run(lambda: self.result(timeout))
