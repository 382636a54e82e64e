"""Enqueue: a validated job is committed, then hinted. The id is given only after the commit."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence

from flux.domain.errors import FluxError, InDoubt, Invalid, Unavailable
from flux.domain.ids import IdSource
from flux.domain.job import Inserted, JobState, NewJob
from flux.domain.request import Bounds, JobRequest, validate
from flux.engine.batcher import Batcher
from flux.engine.capture import shared_task
from flux.engine.depth import DepthGauge
from flux.engine.ports import Broker, Here, Hint, Store

logger = logging.getLogger("flux.enqueue")

MOST_AT_ONCE = 10_000
"""The most jobs of one atomic batch."""

GROUP_COMMIT = 10_000
"""The most jobs that share a commit: a longer one would keep other processes from the store."""


ASK_AGAIN = (0.0, 0.1, 0.4, 1.0)
"""Seconds before each time that a commit in doubt is sent again; a caller waits for no more than their sum."""


class Enqueuer:
    """Puts jobs into the store: validation, depth limits, group commit, and the hint after the commit."""

    def __init__(
        self, store: Store, broker: Broker, ids: IdSource, bounds: Bounds, depth: DepthGauge
    ) -> None:
        self._broker = broker
        self._ids = ids
        self._bounds = bounds
        self._depth = depth
        self._jobs = store.jobs
        self._hinting: set[asyncio.Task[None]] = set()
        self._batcher: Batcher[Sequence[NewJob], list[Inserted]] = Batcher(
            self._store_and_hint, GROUP_COMMIT, len
        )

    def prepare(self, request: JobRequest, at: str = "") -> NewJob:
        """Validate one request. Raises ``Invalid``."""
        return validate(request, self._ids.new(), self._bounds, at)

    def prepare_all(self, requests: Sequence[JobRequest]) -> list[NewJob]:
        """Validate a batch; every wrong field of every member is named. Raises ``Invalid``."""
        if len(requests) > MOST_AT_ONCE:
            raise Invalid.one("jobs", f"has {len(requests)} jobs; at most {MOST_AT_ONCE} in one transaction")
        jobs, errors = [], []
        ids = self._ids.many(len(requests))
        for index, (request, id) in enumerate(zip(requests, ids, strict=True)):
            try:
                jobs.append(validate(request, id, self._bounds, f"jobs[{index}]."))
            except Invalid as refused:
                errors.extend(refused.errors)
                if len(errors) >= 100:
                    break
            if request.cron is not None:
                errors.extend(Invalid.one(f"jobs[{index}].cron", "a batch makes no schedules").errors)
        if errors:
            raise Invalid(errors)
        return jobs

    async def insert(self, jobs: Sequence[NewJob]) -> list[Inserted]:
        """Commit these jobs, all or none, and hint them.

        Raises ``Conflict`` (an idempotency key that stands for another request), ``TooDeep`` (a queue at its maximum
        depth), ``Unavailable`` (the store is away; nothing was stored, or, when the answer to the commit was lost,
        everything: the same jobs again, or an idempotency key, get the answer then).
        """
        if not jobs:
            return []
        await self._depth.admit(jobs)
        return await self._batcher.submit(jobs)

    async def _store_and_hint(self, batches: list[Sequence[NewJob]]) -> list[list[Inserted] | FluxError]:
        answers = await self._store(batches)
        # Before the callers are told: a worker may be waiting for it, and a caller may be gone.
        hints = [
            hint
            for jobs, answer in zip(batches, answers, strict=True)
            if isinstance(answer, list)
            for hint in _hints(jobs, answer)
        ]
        await self.hint(hints)
        return answers

    async def _store(self, batches: list[Sequence[NewJob]]) -> list[list[Inserted] | FluxError]:
        """One commit. When its answer is lost the same jobs are sent again: what was kept answers as it did then."""
        try:
            return await self._jobs.insert(batches)
        except InDoubt as doubt:
            logger.warning("%s The same jobs are sent again, to find out", doubt)
            for pause in ASK_AGAIN:
                await asyncio.sleep(pause)
                try:
                    return await self._jobs.insert(batches)
                except Unavailable:
                    continue
            raise

    async def insert_within(
        self, connection: object, jobs: Sequence[NewJob], here: Here | None = None
    ) -> list[Inserted]:
        """Store these jobs in the transaction that is open on ``connection``; hint them when that is over.

        Raises as ``insert`` and as ``Jobs.insert_within`` do.
        """
        if not jobs:
            return []
        await self._depth.admit(jobs)

        def ended(inserted: list[Inserted]) -> None:
            if hints := _hints(jobs, inserted):
                task = shared_task(self.hint(hints))
                self._hinting.add(task)
                task.add_done_callback(self._hinting.discard)

        return await self._jobs.insert_within(connection, jobs, ended, here)

    async def hint(self, hints: Sequence[Hint]) -> None:
        """Tell the broker of available jobs, once they are committed."""
        if not hints:
            return
        try:
            await self._broker.publish(hints)
        except FluxError as error:
            # Accepted all the same: the dispatcher hints what the store holds.
            logger.warning("hints not published, the dispatcher will repeat them: %s", error)

    async def poke(self) -> None:
        """Tell the broker that there are more available jobs, once they are committed, without naming them."""
        await self._broker.poke()

    async def drain(self) -> None:
        """Return when everything handed over has been committed or refused."""
        await self._batcher.drain()
        if self._hinting:
            await asyncio.wait(self._hinting)


def _hints(jobs: Sequence[NewJob], inserted: Sequence[Inserted]) -> list[Hint]:
    return [
        Hint(answer.id, job.queue, job.priority)
        for job, answer in zip(jobs, inserted, strict=True)
        if answer.how == "created" and answer.state is JobState.AVAILABLE
    ]
