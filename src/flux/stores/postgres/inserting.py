"""Enqueue: new jobs become rows, keys decide which of them are new."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import msgspec

from flux.domain.errors import Conflict, DataRefused, FluxError, KeyTaken
from flux.domain.job import NO_OPTIONS, Idempotency, Inserted, JobState, NewJob
from flux.stores.postgres.errors import overtaken
from flux.stores.postgres.events import EventLog
from flux.stores.postgres.session import Session
from flux.stores.postgres.sql import Statements

SQL = Statements("insert.sql")

COPY_FROM = 200
"""From so many rows on, COPY and its round trips cost less than one statement with arrays."""

_COLUMNS = [
    "id",
    "type",
    "queue",
    "priority",
    "state",
    "run_at",
    "max_retries",
    "payload",
    "timeout",
    "expires_at",
    "options",
    "fire_at",
    "schedule_id",
    "workflow_id",
    "unique_key",
    "idempotency_key",
]
_PARAMETERS = [
    "ids",
    "types",
    "queues",
    "priorities",
    "states",
    "run_ats",
    "retries",
    "payloads",
    "timeouts",
    "expiries",
    "options",
    "fire_ats",
    "schedules",
    "workflows",
    "unique_keys",
    "idempotency_keys",
]
_PLAIN = 8
"""The columns of a row that every job has; those behind it are for the few."""

_Row = tuple[Any, ...]
_Known = tuple[str, JobState, int, int]
"""Id, state, created_at and run_at of the job that stands for a key."""


def is_plain(job: NewJob) -> bool:
    """Whether a job asks for nothing but to be stored."""
    return (
        job.timeout is None
        and job.expires_at is None
        and job.expires_in is None
        and job.schedule_id is None
        and job.workflow_id is None
        and job.unique is None
        and job.idempotency is None
        and (job.options is NO_OPTIONS or job.options == NO_OPTIONS)
    )


def plain_values(jobs: Sequence[NewJob]) -> dict[str, Any]:
    """The values of ``insert_plain``."""
    ids = [job.id for job in jobs]
    return {
        "ids": ids,
        "types": [job.type for job in jobs],
        "queues": [job.queue for job in jobs],
        "priorities": [job.priority for job in jobs],
        "retries": [job.max_retries for job in jobs],
        "payloads": [job.payload for job in jobs],
        "delays": [job.delay for job in jobs],
        "run_ats": [job.run_at for job in jobs],
        "first": min(ids),
        "last": max(ids),
    }


def created(job: NewJob, now: int) -> Inserted:
    """The answer for a job that is new."""
    run_at = now + job.delay if job.run_at is None else job.run_at
    return Inserted(job.id, JobState.AVAILABLE if run_at <= now else JobState.SCHEDULED, now, run_at)


class Inserter:
    """Inserts of one transaction, at one instant of the store's clock."""

    copy_from = COPY_FROM

    def __init__(self, session: Session, namespace: str, now: int) -> None:
        self._session = session
        self._namespace = namespace
        self._now = now
        self.events = EventLog(namespace, now)

    async def store(self, batches: Sequence[Sequence[NewJob]]) -> list[list[Inserted] | FluxError]:
        """Batches, each of them all or none as far as keys decide; what the database refuses refuses all."""
        rows: list[_Row] = []
        if not any(job.idempotency or job.unique for batch in batches for job in batch):
            answers: list[list[Inserted] | FluxError] = []
            for batch in batches:
                rows += [self._row(job) for job in batch]
                answers.append([created(job, self._now) for job in batch])
        else:
            answers, rows = await self._keyed(batches)
        await self._insert(rows)
        return answers

    async def occurrence(self, schedule_id: str, job: NewJob) -> bool:
        """The job of a fire time, unless that has one already.

        Always ``scheduled``, however late it is: promotion asks the policies and plans what follows.
        """
        fire_at = job.options.fire_at
        assert fire_at is not None  # what makes it an occurrence
        values = {"schedule_id": schedule_id, "fire_at": fire_at, "job_id": job.id}
        if not await self._session.run(SQL["hold_occurrence"], namespace=self._namespace, **values):
            return False
        run_at = fire_at if job.run_at is None else job.run_at
        mine = msgspec.structs.replace(job, schedule_id=schedule_id, run_at=run_at)
        await self.name_queues([job.queue])
        await self._insert([self._row(mine, "scheduled")])
        return True

    async def holder(self, key: Idempotency) -> str | None:
        """The id for which a key, which must be locked, stands already. Raises ``KeyTaken`` for another request's."""
        row = await self._session.row(
            SQL["find_idempotency"], namespace=self._namespace, keys=[key.key], now=self._now
        )
        if row is None:
            return None
        if row[1] != key.fingerprint:
            raise _taken(key.key, str(row[2]))
        return str(row[2])

    async def hold(self, key: Idempotency, schedule_id: str) -> None:
        """Let a key stand for a schedule."""
        kept = await self._session.run(
            SQL["hold_for_schedule"],
            namespace=self._namespace,
            now=self._now,
            key=key.key,
            fingerprint=key.fingerprint,
            id=schedule_id,
            expires_at=None if key.ttl is None else self._now + key.ttl,
        )
        if not kept:
            raise overtaken()

    async def name_queues(self, names: Sequence[str]) -> None:
        """Queues exist from their first job on."""
        if names:
            await self._session.run(SQL["insert_queues"], namespace=self._namespace, names=names)

    async def _insert(self, rows: Sequence[_Row]) -> None:
        if not rows:
            return
        if len(rows) >= self.copy_from:
            width = _PLAIN if all(row[_PLAIN:] == _NOTHING_SPECIAL for row in rows) else len(_COLUMNS)
            await self._copy(rows, width)
        else:
            values = dict(zip(_PARAMETERS, zip(*rows, strict=True), strict=True))
            await self._session.run(SQL["insert_live"], namespace=self._namespace, now=self._now, **values)
        await self._refuse_ended([row[0] for row in rows])
        for row in rows:
            self.events.job(row[4], row[0], row[1], row[2])

    async def _copy(self, rows: Sequence[_Row], width: int) -> None:
        columns = [*_COLUMNS[:width], "namespace", "created_at", "attempt_limit"]
        shared = (self._namespace, self._now)
        await self._session.copy("live", columns, [(*row[:width], *shared, row[6] + 1) for row in rows])

    async def _refuse_ended(self, ids: list[str]) -> None:
        session, namespace = self._session, self._namespace
        values = {"first": min(ids), "last": max(ids)}
        if await session.value(SQL["find_ended_between"], namespace=namespace, **values) is None:
            return
        ended = await session.value(SQL["find_ended"], namespace=namespace, ids=ids)
        if ended is not None:
            raise DataRefused(f"The database refused a row: there is a finished job with the id {ended}.")

    def _row(self, job: NewJob, state: str | None = None) -> _Row:
        now = self._now
        run_at = now + job.delay if job.run_at is None else job.run_at
        if state is None:
            state = "available" if run_at <= now else "scheduled"
        expires_at = job.expires_at
        if expires_at is None and job.expires_in is not None:
            expires_at = now + job.expires_in
        options = job.options
        return (
            job.id,
            job.type,
            job.queue,
            job.priority,
            state,
            run_at,
            job.max_retries,
            job.payload,
            job.timeout,
            expires_at,
            None if options is NO_OPTIONS or options == NO_OPTIONS else msgspec.json.encode(options),
            options.fire_at,
            job.schedule_id,
            job.workflow_id,
            None if job.unique is None else job.unique.key,
            None if job.idempotency is None else job.idempotency.key,
        )

    # --- keys -------------------------------------------------------------------------------------------------

    async def _keyed(
        self, batches: Sequence[Sequence[NewJob]]
    ) -> tuple[list[list[Inserted] | FluxError], list[_Row]]:
        """Answers, and the rows of the jobs that are new. The keys are ours until the commit."""
        idempotent = {
            job.idempotency.key for batch in batches for job in batch if job.idempotency is not None
        }
        unique = {job.unique.key for batch in batches for job in batch if job.unique is not None}
        await self._take_keys(idempotent, unique)
        desk = _Desk(self._now)
        asked = {"namespace": self._namespace, "now": self._now}
        if idempotent:
            for row in await self._session.fetch(SQL["find_idempotency"], keys=list(idempotent), **asked):
                desk.keys[row[0]] = (row[1], (str(row[2]), JobState(row[3]), row[4], row[5]))
        if unique:
            for row in await self._session.fetch(SQL["find_unique"], keys=list(unique), **asked):
                desk.holders[row[0]] = (str(row[1]), JobState(row[2]), row[3], row[4])
        answers: list[list[Inserted] | FluxError] = []
        fresh: list[NewJob] = []
        for batch in batches:
            try:
                answer, new = desk.decide(batch)
            except Conflict as error:
                answers.append(error)
                continue
            answers.append(answer)
            fresh += new
        await self._hold(desk)
        return answers, [self._row(job) for job in fresh]

    async def _take_keys(self, idempotent: Collection[str], unique: Collection[str]) -> None:
        keys = [*(f"i {key}" for key in idempotent), *(f"u {key}" for key in unique)]
        await lock_keys(self._session, self._namespace, keys)

    async def _hold(self, desk: _Desk) -> None:
        kept = 0
        if desk.held:
            keys, fingerprints, ids, expiries, made, run_ats = zip(*desk.held.values(), strict=True)
            kept += await self._session.run(
                SQL["hold_idempotency"],
                namespace=self._namespace,
                now=self._now,
                keys=keys,
                fingerprints=fingerprints,
                ids=ids,
                expiries=expiries,
                created=made,
                run_ats=run_ats,
            )
        if desk.taken:
            keys, ids, states, expiries = zip(*desk.taken.values(), strict=True)
            kept += await self._session.run(
                SQL["hold_unique"],
                namespace=self._namespace,
                now=self._now,
                keys=keys,
                ids=ids,
                states=states,
                expiries=expiries,
            )
        if kept < len(desk.held) + len(desk.taken):
            raise overtaken()


class _Desk:
    """Decides who gets a key: pure, once it knows who has them."""

    def __init__(self, now: int) -> None:
        self._now = now
        self.keys: dict[str, tuple[str, _Known]] = {}
        self.holders: dict[str, _Known] = {}
        self.held: dict[str, tuple[Any, ...]] = {}
        self.taken: dict[str, tuple[Any, ...]] = {}

    def decide(self, batch: Sequence[NewJob]) -> tuple[list[Inserted], list[NewJob]]:
        """The answers to a batch, and those of it that are new. A ``Conflict`` leaves everything as it was."""
        if len(batch) == 1:
            return self._decide(batch)  # it is refused before it has changed anything
        keys, holders = dict(self.keys), dict(self.holders)
        held, taken = dict(self.held), dict(self.taken)
        try:
            return self._decide(batch)
        except Conflict:
            self.keys, self.holders, self.held, self.taken = keys, holders, held, taken
            raise

    def _decide(self, batch: Sequence[NewJob]) -> tuple[list[Inserted], list[NewJob]]:
        answers: list[Inserted] = []
        fresh: list[NewJob] = []
        for index, job in enumerate(batch):
            wish = job.idempotency
            if wish is not None and wish.key in self.keys:
                fingerprint, known = self.keys[wish.key]
                if fingerprint != wish.fingerprint:
                    raise _taken(wish.key, known[0], f"jobs[{index}]: " if len(batch) > 1 else "")
                answers.append(_told(job, known, "replayed"))
                continue
            unique = job.unique
            if unique is not None and unique.key in self.holders:
                answer = _told(job, self.holders[unique.key], "duplicate")
            else:
                answer = created(job, self._now)
                fresh.append(job)
                if unique is not None:
                    until = None if unique.period is None else self._now + unique.period
                    self.taken[unique.key] = (unique.key, job.id, ",".join(unique.states), until)
                    if answer.state in unique.states and (unique.period is None or unique.period > 0):
                        self.holders[unique.key] = (answer.id, answer.state, answer.created_at, answer.run_at)
            answers.append(answer)
            if wish is not None:
                # A duplicate's key stands for the job that was there: the same request gets the same answer again.
                self.keys[wish.key] = (
                    wish.fingerprint,
                    (answer.id, answer.state, answer.created_at, answer.run_at),
                )
                expires_at = None if wish.ttl is None else self._now + wish.ttl
                self.held[wish.key] = (
                    wish.key,
                    wish.fingerprint,
                    answer.id,
                    expires_at,
                    answer.created_at,
                    answer.run_at,
                )
        return answers, fresh


def _told(job: NewJob, known: _Known, how: str) -> Inserted:
    """The job that stands for a key. It is this very one when it is sent again after its answer was lost."""
    return Inserted(*known, "created" if known[0] == job.id else how)


def _taken(key: str, id: str, at: str = "") -> KeyTaken:
    return KeyTaken(f"{at}the idempotency key {key!r} already stands for another request, that of {id}.")


_NOTHING_SPECIAL = (None,) * (len(_COLUMNS) - _PLAIN)


async def lock_keys(session: Session, namespace: str, keys: Sequence[str]) -> None:
    """Have these keys to oneself until the commit. Must come first: what is read afterwards is as it stands then."""
    if keys:
        await session.value(SQL["lock_keys"], namespace=namespace, keys=list(keys))
