"""The life of jobs: what it takes, answers and does."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Protocol

import msgspec

from flux.domain.errors import FluxError
from flux.domain.job import ClaimedJob, Inserted, JobState, LogLine, NewJob, Outcome


class Demand(msgspec.Struct, frozen=True, kw_only=True):
    """What a worker has room for.

    ``slots`` is the most it takes in all; ``queues`` the most of each named queue; with ``every_queue`` the queues not
    named are taken too. ``hints`` are the ids a broker offered, or None: by policy (priority, then age).
    ``lowest_first`` turns the policy round, so that priority 1 is slow and not starved.
    """

    worker_id: str
    types: tuple[str, ...]
    slots: int
    queues: dict[str, int] = {}
    every_queue: bool = True
    hints: tuple[str, ...] | None = None
    lowest_first: bool = False


class Held(msgspec.Struct, frozen=True, array_like=True):
    """A running job, as its worker has to name it to finish it."""

    job_id: str
    claim_id: int
    attempt: int


class Note(msgspec.Struct, kw_only=True):
    """What a running attempt has to say before its end. JSON bytes; None leaves what is stored.

    Progress and a checkpoint are a heartbeat too; ``heard``: it is noted even when it comes alone.
    """

    job_id: str
    claim_id: int
    attempt: int
    progress: bytes | None = None
    checkpoint: bytes | None = None
    logs: list[LogLine] | None = None
    heard: bool = False


class Change(msgspec.Struct, kw_only=True):
    """An edit of a waiting job; UNSET leaves a field as it is."""

    payload: bytes | msgspec.UnsetType = msgspec.UNSET
    queue: str | msgspec.UnsetType = msgspec.UNSET
    priority: int | msgspec.UnsetType = msgspec.UNSET
    run_at: int | msgspec.UnsetType = msgspec.UNSET
    timeout: int | msgspec.UnsetType | None = msgspec.UNSET
    max_retries: int | msgspec.UnsetType = msgspec.UNSET
    expires_at: int | msgspec.UnsetType | None = msgspec.UNSET
    tags: tuple[str, ...] | msgspec.UnsetType = msgspec.UNSET


class Changed(msgspec.Struct, frozen=True):
    """What a person's verb found and did: ``state`` after it (None: no such job), and whether it did anything.

    A cancel of a running job answers ``running`` and ``done=True``: the request stands and the handler hears of it.
    """

    state: JobState | None
    done: bool
    why: str | None = None


Here = Callable[[Callable[[], Any]], Awaitable[Any]]
"""Runs a synchronous piece of work in the thread of a synchronous caller, whose connection belongs to it."""


class Jobs(Protocol):
    """The life of jobs: the hot verbs."""

    async def insert(self, batches: Sequence[Sequence[NewJob]]) -> list[list[Inserted] | FluxError]:
        """Store batches in one commit, each of them all or none.

        A batch's answer is its jobs in order, or the error that refused it: ``Conflict`` (an idempotency key that
        stands for another request; its text names the index), ``DataRefused`` (a row the store cannot take; another
        job's id). A job that is stored already, with its type and payload, is this very insert repeated after its
        answer was lost: it is ``created`` in the state it has by now.
        """
        ...

    async def insert_within(
        self,
        connection: object,
        jobs: Sequence[NewJob],
        ended: Callable[[list[Inserted]], None],
        here: Here | None = None,
    ) -> list[Inserted]:
        """Store a batch, all or none, in the transaction that is open on a caller's own connection.

        Where none is open it is a transaction of its own. The jobs exist once that commits; ``ended`` is called with
        the answer in this event loop soon after it did (and may be after a rollback), so that they can be hinted. It
        is a help and no promise. ``here`` is where a synchronous caller's connection may be used; without it, here.

        Raises ``Invalid`` (field ``connection``: of an unknown kind, or to another database), ``Conflict`` as in
        ``insert`` (the transaction is none the worse for it), and what the caller's own driver raises.
        """
        ...

    async def claim(self, demand: Demand) -> list[ClaimedJob]:
        """Move available jobs to ``running`` under this worker's lease. Raises ``LeaseLost``."""
        ...

    async def held(self, worker_id: str) -> list[Held]:
        """What runs under this worker: how it finds jobs of a claim whose answer was lost."""
        ...

    async def finish(self, worker_id: str, outcomes: Sequence[Outcome]) -> list[JobState | None]:
        """Apply outcomes; for each the state its job came to, or None when the claim was no longer ours.

        Raises ``DataRefused`` when a row's data stopped the whole batch (nothing was applied).
        """
        ...

    async def note(self, notes: Sequence[Note]) -> None:
        """Keep progress, checkpoints and log lines of running attempts; of lost claims, quietly nothing."""
        ...

    async def cancel(self, ids: Sequence[str], reason: str | None) -> list[Changed]:
        """Cancel: final at once when waiting, a request when running."""
        ...

    async def retry(self, ids: Sequence[str]) -> list[Changed]:
        """Make dead and cancelled jobs available again with as many attempts as at first."""
        ...

    async def change(self, job_id: str, change: Change) -> Changed:
        """Edit a waiting job."""
        ...
