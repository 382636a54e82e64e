"""Reading for people."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import msgspec

from flux.domain.job import Attempt, Job, JobState, LogLine
from flux.engine.ports.leases import WorkerInfo


class JobFilter(msgspec.Struct, kw_only=True):
    """Which jobs a person wants to see; empty: all."""

    states: tuple[JobState, ...] = ()
    queue: str | None = None
    type: str | None = None
    tag: str | None = None
    key: str | None = None
    error: str | None = None
    worker_id: str | None = None
    workflow_id: str | None = None
    schedule_id: str | None = None
    created_after: int | None = None
    created_before: int | None = None
    payload: tuple[tuple[str, str], ...] = ()
    """(path, value): the value at the dotted path, as JSON text or as a bare string, equals ``value``."""


class JobPage(msgspec.Struct):
    """A page of jobs, newest first. ``searched_until``: a bounded search stopped at jobs created then (µs)."""

    jobs: list[Job]
    next_cursor: str | None
    searched_until: int | None = None


class RunningJob(msgspec.Struct, frozen=True, array_like=True):
    """A job that runs, in a few words."""

    id: str
    type: str
    queue: str
    attempt: int
    started_at: int


class WorkerView(msgspec.Struct, kw_only=True):
    """A worker as people see it. ``busy``: how many jobs run under it, counted as it was read; ``running``: some of
    them, those that started first."""

    info: WorkerInfo
    started_at: int
    seen_at: int
    lease_until: int
    busy: int
    draining: bool
    alive: bool
    running: tuple[RunningJob, ...] = ()


class RollupRow(msgspec.Struct, frozen=True):
    """Finished jobs of one time slot, by quarter-octave buckets of waiting and running time (``domain.stats``)."""

    slot: int
    queue: str
    type: str
    outcome: str
    kind: str
    wait_bucket: int
    run_bucket: int
    count: int


class Event(msgspec.Struct, frozen=True):
    """One change. ``id`` orders all events ("<batch>.<index>"); ``subject`` is job, queue, worker or schedule.

    ``key`` is the job's id, or the name of the queue, worker or schedule; ``state`` what it came to.
    """

    id: str
    at: int
    subject: str
    key: str
    state: str
    type: str | None = None
    queue: str | None = None


class Queries(Protocol):
    """Short reads for people; none scans a table."""

    async def get(self, job_id: str) -> Job | None:
        """One job with everything, its attempts included."""
        ...

    async def states(self, ids: Sequence[str]) -> dict[str, JobState]:
        """The states of those of ``ids`` that exist; what waiting for results asks."""
        ...

    async def attempts(self, job_id: str) -> list[Attempt]:
        """The attempts of a job, oldest first, the one that runs included."""
        ...

    async def logs(self, job_id: str, after: int, limit: int) -> list[tuple[int, int, LogLine]]:
        """(sequence, attempt, line) after the sequence number ``after``, oldest first."""
        ...

    async def workers(self, running: int = 0) -> list[WorkerView]:
        """Workers that live or were seen within the last hour, newest first; with up to ``running`` jobs of each."""
        ...

    async def drain(self, worker_id: str) -> bool:
        """Ask a worker to finish and leave; False when it does not live."""
        ...

    async def rollups(self, since: int, step: int = 1, until: int | None = None) -> list[RollupRow]:
        """Finished jobs by slot, from ``since`` to before ``until``, added up by steps of ``step`` microseconds."""
        ...

    async def depths(self, since: int, step: int = 1) -> list[tuple[int, str, str, int]]:
        """Sampled depth over time: (slot, queue, state, depth); of each ``step`` microseconds the last sample."""
        ...

    async def events(self, after: str | None, limit: int) -> list[Event]:
        """Events after the id, oldest first; None: only the newest one, to start from."""
        ...

    async def count(self, states: Sequence[JobState], queue: str | None, most: int) -> dict[JobState, int]:
        """How many jobs are in each of these final states, in a queue or in all; of a state that more than ``most``
        jobs are in nothing is said."""
        ...

    async def list(self, filter: JobFilter, limit: int, cursor: str | None, full: bool) -> JobPage:
        """A page, newest first; ``full`` adds payload, result and attempts. Raises ``Invalid`` for a bad cursor."""
        ...
