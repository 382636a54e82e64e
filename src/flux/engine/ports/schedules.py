"""Schedules and their occurrences."""

from __future__ import annotations

from typing import Protocol

import msgspec

from flux.domain.job import Idempotency, Inserted, NewJob

PARKED = "Paused by Flux, which could not plan it: "
"""How the note of a schedule begins that promotion has paused; what it said before follows on the next line."""


class Schedule(msgspec.Struct, kw_only=True):
    """A stored schedule. ``spec`` is the JSON of ``ScheduleSpec``; ``version`` counts its changes.

    A ``next_fire_at`` without a ``next_job_id`` is a fire time that has its occurrence already: promotion goes on from
    it when it comes. Both are None when nothing follows any more. ``forgotten`` is the newest of its jobs that the
    store does not keep any more, and how it ended.
    """

    id: str
    name: str
    spec: bytes
    paused: bool
    declared: bool = False
    version: int = 1
    created_at: int = 0
    updated_at: int = 0
    next_job_id: str | None = None
    next_fire_at: int | None = None
    last_fire_at: int | None = None
    note: str | None = None
    forgotten: Inserted | None = None


class Schedules(Protocol):
    """Rules and their pending occurrences, which change together."""

    async def put(
        self, schedule: Schedule, pending: NewJob | None, expect: int | None, key: Idempotency | None = None
    ) -> Schedule:
        """Create or replace by name, and replace its pending occurrence, in one transaction.

        ``expect`` is the version it must have (0: must not exist yet; None: whatever); else ``Conflict``. When an
        occurrence for the same fire time already exists nothing is added: two processes never make it twice. The answer
        has no ``next_job_id`` then.

        ``key`` is asked first, and held in the same transaction, under the schedule's id in place of a job's: for its
        ttl, at most until the schedule is deleted. Does it stand for this request already, nothing changes and the
        schedule that it stands for is answered (its id is not that of ``schedule``); for another, a job's or a
        schedule's: ``KeyTaken``. Looking for jobs by the key finds the pending occurrence.
        """
        ...

    async def get(self, name: str) -> Schedule | None:
        """By name."""
        ...

    async def delete(self, name: str) -> bool:
        """Delete the rule and withdraw its pending occurrence; occurrences that ran stay."""
        ...

    async def occurrences(self, schedule_id: str, limit: int) -> list[tuple[int, str, str]]:
        """The newest (fire time, job id, state), newest first."""
        ...

    async def list(self, after: str | None, limit: int) -> list[Schedule]:
        """In the order of names."""
        ...
