"""What stands around waiting jobs: queues and workers, read once for many answers."""

from __future__ import annotations

import time
from typing import Any

from flux.api.views import JobOut, instant, job_out
from flux.domain.errors import Unavailable
from flux.domain.job import WAITING, Job, JobState
from flux.engine.ports import QueueView, Store, WorkerView
from flux.engine.waiting import waiting_for

ENQUEUEING = 1.0
"""Seconds that a look around may be old for the answer to an enqueue: 4,000 a second must not look around each."""


class Surroundings:
    """Writes jobs as JSON with the sentence that says what they wait for."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._looked_at = float("-inf")
        self._changes = 0
        self._seen = 0
        self._ahead = 0
        self._queues: dict[str, QueueView] = {}
        self._workers: list[WorkerView] = []
        self._alike: dict[tuple[str, str], dict[str, Any] | None] = {}

    def changed(self) -> None:
        """What this server just committed must show in its next answer, however young the last look is."""
        self._changes += 1

    async def job(self, job: Job) -> JobOut:
        """One job in full."""
        if job.state not in WAITING:
            return job_out(job)
        await self._look()
        return job_out(job, self._waiting_for(job))

    async def enqueued(self, job: Job) -> JobOut:
        """A job that was just accepted. It stands; an answer must not fail because looking around does."""
        if self._seen != self._changes or time.monotonic() - self._looked_at > ENQUEUEING:
            # Marked before the reads: callers that come meanwhile take what is there instead of reading too.
            self._looked_at = time.monotonic()
            try:
                await self._look()
            except Unavailable:
                return job_out(job)
        if job.state is not JobState.AVAILABLE:
            return job_out(job, self._waiting_for(job) if job.state in WAITING else None)
        # What a new job waits for is the same for all of its kind until the next look.
        kind = (job.queue, job.type)
        if kind not in self._alike:
            self._alike[kind] = self._waiting_for(job)
        return job_out(job, self._alike[kind])

    async def jobs(self, jobs: list[Job], full: bool) -> list[JobOut]:
        """Many jobs of a list."""
        if any(job.state in WAITING for job in jobs):
            await self._look()
        return [
            job_out(job, self._waiting_for(job) if job.state in WAITING else None, full=full) for job in jobs
        ]

    def _waiting_for(self, job: Job) -> dict[str, Any] | None:
        now = time.time_ns() // 1000 + self._ahead
        found = waiting_for(job, self._queues.get(job.queue), self._workers, now)
        if found is not None:
            for name in ("until", "since"):
                if found.get(name) is not None:
                    found[name] = instant(found[name])
        return found

    async def _look(self) -> None:
        changes = self._changes
        queues = await self._store.queues.list()
        workers = await self._store.queries.workers()
        ahead = await self._store.now() - time.time_ns() // 1000
        if changes < self._seen:
            return  # it began before a change that a later look has seen
        self._seen = changes
        self._alike = {}
        self._queues = {view.settings.name: view for view in queues}
        self._workers = workers
        self._ahead = ahead
        self._looked_at = time.monotonic()
