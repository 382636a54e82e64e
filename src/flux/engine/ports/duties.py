"""What the leader does."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import msgspec

from flux.domain.job import AttemptOutcome, JobState, NewJob
from flux.engine.ports.lanes import Lane
from flux.engine.ports.schedules import Schedule


class DueOccurrence(msgspec.Struct, frozen=True):
    """An occurrence that has come due: its job, its schedule (None: deleted), and whether an earlier one lives.

    ``run_at`` is when its job was to start, which people may change; None when only what follows is asked for, since
    the job of ``fire_at`` is gone or goes its own way (``job_id`` may be "" then).
    """

    job_id: str
    fire_at: int
    schedule: Schedule | None
    previous_alive: bool
    now: int
    run_at: int | None = None


class OccurrencePlan(msgspec.Struct, frozen=True, kw_only=True):
    """What becomes of a due occurrence: it runs or is cancelled (with the reason), and what follows it."""

    run: bool
    reason: str | None = None
    following: tuple[NewJob, ...] = ()
    cancel_previous: bool = False


class Promoted(msgspec.Struct, frozen=True):
    """What one pass of promotion did: how many jobs became available, and how late the latest was (µs)."""

    count: int
    lag: int = 0


class Rescued(msgspec.Struct, frozen=True):
    """A job that was taken back: from whom, why (``lost`` or ``timeout``), and the state it came to."""

    job_id: str
    type: str
    worker_id: str | None
    why: AttemptOutcome
    state: JobState


class Retention(msgspec.Struct, frozen=True):
    """How long finished jobs are kept: by age (µs, by final state) and by number; None: no bound.

    A workflow is kept by age alone (a failed one as long as a dead job), and its jobs as long as itself.
    """

    succeeded: int | None
    dead: int | None
    cancelled: int | None
    most: int | None


class Duties(Protocol):
    """What the leader does; every write checks its ``epoch`` and raises ``NotLeader`` when another one leads."""

    async def lead(self, holder: str, lease: int) -> int | None:
        """Take or renew the leadership for ``lease`` microseconds: the epoch, or None when another holds it."""
        ...

    async def resign(self, holder: str) -> None:
        """Give the leadership up, so that a stand-by takes over without waiting."""
        ...

    async def next_due(self) -> int | None:
        """When (store's clock) anything comes due next: a start, an expiry, a deadline, the end of a lease."""
        ...

    async def promote_due(
        self, epoch: int, limit: int, plan: Callable[[DueOccurrence], OccurrencePlan]
    ) -> Promoted:
        """``scheduled``/``retrying`` -> ``available`` for what is due, by age; occurrences go by ``plan`` (pure).

        What follows is ``scheduled``, however late it is: it is planned in its turn. A schedule whose next occurrence
        is gone, moved or started early goes on at ``next_fire_at`` nevertheless. When all that follows has its
        occurrence already, the plan is asked what comes after that. A plan that raises cancels its occurrence and
        pauses its schedule, with a note that begins with ``PARKED``; everything else goes on.
        """
        ...

    async def expire(self, epoch: int, limit: int) -> int:
        """Cancel (kind ``expired``) jobs never started by their ``expires_at``."""
        ...

    async def rescue_lost(self, epoch: int, grace: int, limit: int) -> list[Rescued]:
        """Take back running jobs without a live worker, and any past deadline + ``grace``."""
        ...

    async def waiting_types(self) -> list[tuple[str, str, int]]:
        """(type, queue, available since) of available jobs whose type no live worker of the queue knows.

        Empty while no worker is alive: then it is the workers that are missing, not the type.
        """
        ...

    async def bury(self, epoch: int, type: str, queue: str, available_before: int, limit: int) -> int:
        """Available jobs of a type that nobody knows -> ``dead`` (kind ``unknown_type``)."""
        ...

    async def prune(self, epoch: int, retention: Retention, limit: int) -> bool:
        """Forget finished jobs past retention, and keys, events, rollups and workers past theirs.

        Up to ``limit`` jobs at once, and of the others a like chunk: True when there may be more to forget.
        """
        ...

    async def lanes(self) -> list[Lane]:
        """The lanes that have available jobs, those of paused queues left out."""
        ...

    async def offerable(self, lane: Lane, after: str | None, limit: int) -> list[str]:
        """The ids of the lane's available jobs that have not expired, oldest first, up to ``limit``.

        ``after`` leaves out that id and all before it; None: from the oldest on.
        """
        ...

    async def sample_depth(self, epoch: int) -> None:
        """Write down how deep each queue is, for people and for ``max_depth``; nothing when it is as it was."""
        ...
