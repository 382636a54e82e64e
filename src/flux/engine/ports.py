"""What the engine asks of the outside, in the verbs of the domain: one port a subject.

Every verb takes batches and is one transaction. A transition names the state it leaves, so "nothing happened" is an
ordinary answer and never an error. All times that decide are the store's clock. Verbs raise ``Unavailable`` when the
store cannot be used (nothing was half-done, except that the answer to a commit may be lost: every verb is safe to
repeat), and the errors named in their docstrings.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Protocol

import msgspec

from flux.domain.errors import FluxError
from flux.domain.job import (
    Attempt,
    AttemptOutcome,
    ClaimedJob,
    Idempotency,
    Inserted,
    Job,
    JobState,
    LogLine,
    NewJob,
    Outcome,
)
from flux.domain.schema import Phase


class Clock(Protocol):
    """This process's clocks, both in microseconds."""

    def now(self) -> int:
        """Wall time since the Unix epoch; for showing and for naming ids, never for deciding who owns what."""
        ...

    def monotonic(self) -> int:
        """A clock that never steps and that goes on while the machine is suspended (CLOCK_BOOTTIME)."""
        ...


# --- jobs -------------------------------------------------------------------------------------------------------


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
    """What a running attempt has to say before its end. JSON bytes; None leaves what is stored."""

    job_id: str
    claim_id: int
    attempt: int
    progress: bytes | None = None
    checkpoint: bytes | None = None
    logs: list[LogLine] | None = None


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


# --- a handler's own transactions --------------------------------------------------------------------------------


class Transaction(Protocol):
    """A transaction of a handler, in which its job's success commits together with what it wrote."""

    @property
    def connection(self) -> Any:
        """The driver's connection, for the handler."""
        ...

    async def complete(self, job_id: str, claim_id: int, result: bytes) -> bool:
        """End the job as succeeded and commit, in that order with nothing between.

        False: the claim was no longer ours, and everything was rolled back. Raises ``InDoubt`` when the answer to the
        commit was lost, and what the driver raises when the database refused it (then it was rolled back).
        """
        ...

    async def rollback(self) -> None:
        """Undo everything; never raises."""
        ...


class Transactions(Protocol):
    """Transactions for handlers."""

    async def begin(self, isolation: str) -> Transaction:
        """On a connection of its own; who finds none waits his turn. Raises ``Unavailable``, or ``FluxError`` of a
        store that has none."""
        ...

    async def kept(self, job_id: str, claim_id: int) -> bool | None:
        """What became of a commit whose answer was lost, once that is over: True when the job has succeeded under this
        claim, False when it still runs under it, None when the job is somebody else's. Raises ``Unavailable``."""
        ...


# --- leases -----------------------------------------------------------------------------------------------------


class WorkerInfo(msgspec.Struct, kw_only=True):
    """A worker as it registers."""

    id: str
    host: str
    pid: int
    version: str
    queues: str
    types: tuple[str, ...]
    slots: int


class Renewal(msgspec.Struct, frozen=True):
    """The answer to a heartbeat: jobs of this worker whose cancel is wanted, and whether it should leave."""

    cancels: tuple[str, ...] = ()
    drain: bool = False


class Leases(Protocol):
    """Who is alive, and until when."""

    async def register(self, worker: WorkerInfo, lease: int) -> None:
        """Begin a lease of ``lease`` microseconds under a new id."""
        ...

    async def renew(self, worker_id: str, lease: int, busy: int) -> Renewal:
        """Extend the lease; ``busy`` is what the worker takes itself to run. Raises ``LeaseLost`` when it is over."""
        ...

    async def orders(self, worker_id: str) -> Renewal:
        """What ``renew`` would answer, read without renewing: so that a cancel arrives before the next heartbeat."""
        ...

    async def leave(self, worker_id: str) -> None:
        """End the lease at once; jobs still under it are rescued without waiting."""
        ...

    async def close(self) -> None:
        """Give back the connection."""
        ...


# --- the leader's duties ----------------------------------------------------------------------------------------


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
    """How long finished jobs are kept: by age (µs, by final state) and by number; None: no bound."""

    succeeded: int | None
    dead: int | None
    cancelled: int | None
    most: int | None


class Lane(msgspec.Struct, frozen=True):
    """The available jobs of one queue and priority, and the place of their hints at a broker that holds some."""

    queue: str
    priority: int


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


# --- schedules and queues ---------------------------------------------------------------------------------------


PARKED = "Paused by Flux, which could not plan it: "
"""How the note of a schedule begins that promotion has paused; what it said before follows on the next line."""


class Schedule(msgspec.Struct, kw_only=True):
    """A stored schedule. ``spec`` is the JSON of ``ScheduleSpec``; ``version`` counts its changes.

    A ``next_fire_at`` without a ``next_job_id`` is a fire time that has its occurrence already: promotion goes on from
    it when it comes. Both are None when nothing follows any more.
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


class QueueSettings(msgspec.Struct, kw_only=True):
    """What people set on a queue. ``max_depth`` bounds its waiting jobs (None: no bound)."""

    name: str
    paused: bool = False
    paused_at: int | None = None
    paused_by: str | None = None
    max_depth: int | None = None


class QueueView(msgspec.Struct, kw_only=True):
    """A queue as people see it: settings, depth by state (sampled each second), oldest available job's ``run_at``."""

    settings: QueueSettings
    depth: dict[str, int]
    oldest: int | None
    sampled_at: int | None


class Queues(Protocol):
    """Queues and what people set on them. A queue exists from its first job or setting on."""

    async def set(
        self, name: str, *, paused: bool | None, by: str | None, max_depth: int | None, clear_depth: bool
    ) -> QueueSettings:
        """Change settings; None leaves one as it is, ``clear_depth`` lifts the bound."""
        ...

    async def list(self) -> list[QueueView]:
        """All queues, by name."""
        ...


# --- reading for people -----------------------------------------------------------------------------------------


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


class WorkerView(msgspec.Struct, kw_only=True):
    """A worker as people see it. ``busy``: how many jobs run under it, counted as it was read."""

    info: WorkerInfo
    started_at: int
    seen_at: int
    lease_until: int
    busy: int
    draining: bool
    alive: bool


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

    async def workers(self) -> list[WorkerView]:
        """Workers that live or were seen within the last hour, newest first."""
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


class Changes(Protocol):
    """Wake-ups: something was committed that may concern a waiter. May be early, late or for nothing; never needed
    for correctness, since every waiter also has a longest sleep."""

    def version(self) -> int:
        """A number that grows with every change seen."""
        ...

    async def wait(self, seen: int, timeout: float) -> int:
        """Return the version once it is past ``seen``, or after ``timeout`` seconds."""
        ...


class StoreHealth(msgspec.Struct, kw_only=True):
    """What ``/health/db`` and ``flux doctor`` tell."""

    ok: bool
    detail: str
    durable: bool
    size: int | None = None


class Store(Protocol):
    """The truth: all ports on one database."""

    jobs: Jobs
    duties: Duties
    schedules: Schedules
    queues: Queues
    queries: Queries
    leases: Leases
    changes: Changes
    transactions: Transactions

    async def open(self) -> None:
        """Connect and check the schema. Raises ``SchemaMismatch``, ``Unavailable``."""
        ...

    async def close(self) -> None:
        """Finish what is under way and disconnect."""
        ...

    async def now(self) -> int:
        """The store's clock."""
        ...

    async def health(self) -> StoreHealth:
        """Try a real write path check; never raises."""
        ...

    def lease_connection(self) -> Leases:
        """Leases on a connection of their own, for the heartbeat's thread and its event loop (opened lazily there)."""
        ...

    async def migrate(self, target: int | None = None, phase: Phase | None = None) -> list[str]:
        """Bring the schema to ``target`` (None: newest), safe with several starters; the names of what ran.

        Upwards, only what is of ``phase`` (None: of both). Raises ``Invalid``, ``SchemaMismatch``.
        """
        ...

    async def schema(self) -> list[tuple[str, bool]]:
        """(migration, applied) in order."""
        ...


# --- broker -----------------------------------------------------------------------------------------------------


class Hint(msgspec.Struct, frozen=True):
    """ "Job J may be runnable", for the lane (queue, priority)."""

    job_id: str
    queue: str
    priority: int


class Offer(msgspec.Struct, frozen=True):
    """What a broker hands a worker: ids to claim, or None: "look by policy".

    ``receipts`` are the broker's own: by what it knows each of the ids again.
    """

    ids: tuple[str, ...] | None
    receipts: tuple[Any, ...] = ()


class Broker(Protocol):
    """Carries hints. Losing, repeating or delaying one costs time and never a job."""

    @property
    def name(self) -> str:
        """What it is, for health and logs: ``store``, ``redis``."""
        ...

    @property
    def lanes(self) -> Lanes | None:
        """Where it holds hints for the dispatcher to look after; None when it holds none."""
        ...

    async def open(self) -> None:
        """Connect. One that is away is no error; one that must not be used as it is set up raises ``FluxError``."""
        ...

    async def close(self) -> None:
        """Give back what was not claimed, and disconnect."""
        ...

    async def publish(self, hints: Sequence[Hint]) -> None:
        """Offer hints. A failure is no error for the caller of enqueue: the dispatcher hints again."""
        ...

    async def poke(self) -> None:
        """Jobs have become available that nobody hinted: let the dispatcher look at once. Never fails."""
        ...

    async def receive(self, demand: Demand, timeout: float) -> Offer | None:
        """Wait for something that fits the demand; None after ``timeout`` seconds.

        The highest priority first (with ``lowest_first`` the lowest), at most ``slots`` ids, of each queue at most what
        ``queues`` says.
        """
        ...

    async def acknowledge(self, offer: Offer, demand: Demand, claimed: Sequence[str]) -> None:
        """Of the offer these ids were claimed: drop their hints.

        The others are stale, or for somebody else. As many claimed as demanded: there may be more.
        """
        ...

    async def health(self) -> str | None:
        """None when well, else one sentence."""
        ...


class News(msgspec.Struct, frozen=True):
    """What a dispatcher waits for: lanes that are marked full and run low, and whether it was poked."""

    low: tuple[Lane, ...] = ()
    poked: bool = False


class Lanes(Protocol):
    """The dispatcher's side of a broker that holds hints. All verbs but ``wait`` raise ``Unavailable`` when it is away.

    A lane that is marked full passes the hints of ``publish`` by, so that it is fed in the order of policy alone.
    """

    @property
    def up(self) -> bool:
        """Whether it can be used now. It tells people itself when that changes."""
        ...

    @property
    def width(self) -> int:
        """The most hints that a lane holds."""
        ...

    async def take_over(self) -> None:
        """Offer again what was given to workers that are not heard of any more."""
        ...

    async def full(self) -> dict[Lane, int]:
        """The lanes that are marked full, and how many hints each has passed by since."""
        ...

    async def length(self, lane: Lane) -> int:
        """How many hints it holds, those included that were given out and not acknowledged."""
        ...

    async def held(self, lane: Lane) -> set[str]:
        """The ids that it holds hints of, those given out included."""
        ...

    async def feed(self, lane: Lane, ids: Sequence[str]) -> None:
        """Put hints behind those that it holds, marked or not; past its width they are passed by."""
        ...

    async def mark_full(self, lane: Lane) -> None:
        """From now on only the dispatcher feeds it."""
        ...

    async def reopen(self, lane: Lane, passed_by: int) -> None:
        """Take the mark away, unless it has passed more hints by than these."""
        ...

    async def wait(self, timeout: float) -> News:
        """Return when there is something to do, or after ``timeout`` seconds; never raises."""
        ...
