"""Enqueue in one transaction: new jobs become rows, keys decide which of them are new."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import Any

import msgspec

from flux.domain.errors import DataRefused, FluxError, KeyTaken
from flux.domain.job import NO_OPTIONS, Idempotency, Inserted, JobState, NewJob
from flux.stores.sqlite.events import EventLog
from flux.stores.sqlite.sql import Statements, decoder, json_text, one_value

SQL = Statements("insert.sql")

REFUSED = (
    sqlite3.IntegrityError,
    sqlite3.DataError,
    sqlite3.InterfaceError,
    sqlite3.ProgrammingError,
    OverflowError,
    UnicodeError,
)
"""What SQLite and its driver raise for the data of a row, and never for the state of the file."""

_PLAIN = 9
"""The columns of a row that every job has; those behind it are for the few."""

_NOTHING_SPECIAL = (None,) * 7

_FIRST_STATES = {str(state): state for state in (JobState.AVAILABLE, JobState.SCHEDULED)}

_Found = tuple[str, str, str, JobState, int, int]
_find_keys = decoder(list[_Found])
_find_holders = decoder(list[tuple[str, str, JobState, int, int]])
_find_known = decoder(list[tuple[str, str, str, JobState, int, int]])


def refused(error: BaseException) -> DataRefused:
    """The driver's complaint as ours."""
    return DataRefused(f"The database refused a row: {error}.")


class Inserter:
    """One enqueue: batches, each of them all or none, at one instant of the store's clock."""

    def __init__(self, namespace: str, now: int) -> None:
        self._namespace = namespace
        self._now = now
        self.events = EventLog(namespace, now)

    def plain(
        self, connection: sqlite3.Connection, batches: Sequence[Sequence[NewJob]]
    ) -> list[list[Inserted] | FluxError]:
        """Batches without keys, as one. Raises one of ``REFUSED`` without saying for which of them."""
        rows: list[tuple[Any, ...]] = []
        answers: list[list[Inserted] | FluxError] = []
        for batch in batches:
            mine = [self._row(job) for job in batch]
            rows += mine
            answers.append([self._created(row) for row in mine])
        self._refuse_ended(connection, rows)
        self._store(connection, rows)
        return answers

    def careful(
        self, connection: sqlite3.Connection, batches: Sequence[Sequence[NewJob]]
    ) -> list[list[Inserted] | FluxError]:
        """Each batch by itself: one that is refused leaves the others as they are."""
        answers: list[list[Inserted] | FluxError] = []
        for batch in batches:
            connection.execute("SAVEPOINT batch")
            try:
                answer, rows = self._batch(connection, batch)
                self._store(connection, rows)
                answers.append(answer)
            except FluxError as error:
                connection.execute("ROLLBACK TO batch")
                answers.append(error)
            except REFUSED as error:
                connection.execute("ROLLBACK TO batch")
                answers.append(refused(error))
            connection.execute("RELEASE batch")
        return answers

    def occurrence(self, connection: sqlite3.Connection, schedule_id: str, job: NewJob) -> bool:
        """The job of a fire time, unless that has one already; in the transaction of something else.

        Always ``scheduled``, however late it is: promotion asks the policies and plans what follows.
        """
        fire_at = job.options.fire_at
        assert fire_at is not None  # what makes it an occurrence
        values = (self._namespace, schedule_id, fire_at, job.id)
        if not connection.execute(SQL["hold_occurrence"], values).rowcount:
            return False
        run_at = fire_at if job.run_at is None else job.run_at
        mine = msgspec.structs.replace(job, schedule_id=schedule_id, run_at=run_at)
        SQL.many["insert_queues"].run(connection, (self._namespace,), [(job.queue,)])
        rows = [self._row(mine, "scheduled")]
        self._refuse_ended(connection, rows)
        self._store(connection, rows)
        return True

    def holder(self, connection: sqlite3.Connection, key: Idempotency) -> str | None:
        """The id for which a key stands already. Raises ``KeyTaken`` when that is of another request."""
        for _, fingerprint, id, *_ in self._find(connection, "find_idempotency", [key.key], _find_keys):
            if fingerprint != key.fingerprint:
                raise _taken(key.key, id)
            return str(id)
        return None

    def hold(self, connection: sqlite3.Connection, key: Idempotency, schedule_id: str) -> None:
        """Let a key stand for a schedule. It needs a state of its own, having none of a job to show."""
        row = (key.key, key.fingerprint, schedule_id, self._until(key), JobState.SCHEDULED, *[self._now] * 2)
        SQL.many["hold_idempotency"].run(connection, (self._namespace,), [row])

    def _until(self, key: Idempotency) -> int | None:
        return None if key.ttl is None else self._now + key.ttl

    def _refuse_ended(self, connection: sqlite3.Connection, rows: list[tuple[Any, ...]]) -> None:
        """A job that has ended is in another table, which no constraint of this one sees."""
        ended = one_value(
            connection, SQL["find_ended"], (self._namespace, json_text([row[0] for row in rows]))
        )
        if ended is not None:
            raise DataRefused(f"The database refused a row: there is a finished job with the id {ended}.")

    def _store(self, connection: sqlite3.Connection, rows: list[tuple[Any, ...]]) -> None:
        shared = (self._namespace, self._now)
        if all(row[_PLAIN:] == _NOTHING_SPECIAL for row in rows):
            SQL.many["insert_plain"].run(connection, shared, [row[:_PLAIN] for row in rows])
        else:
            SQL.many["insert_live"].run(connection, shared, rows)
        for state in _FIRST_STATES:
            self.events.jobs(state, [row[:3] for row in rows if row[4] == state])

    def _row(self, job: NewJob, state: str | None = None) -> tuple[Any, ...]:
        now = self._now
        run_at = now + job.delay if job.run_at is None else job.run_at
        if state is None:
            state = "available" if run_at <= now else "scheduled"
        expires_at = job.expires_at
        if expires_at is None and job.expires_in is not None:
            expires_at = now + job.expires_in
        return (
            job.id,
            job.type,
            job.queue,
            job.priority,
            state,
            run_at,
            job.max_retries + 1,
            job.max_retries,
            job.payload.decode(),
            job.timeout,
            expires_at,
            None if job.options is NO_OPTIONS or job.options == NO_OPTIONS else json_text(job.options),
            job.schedule_id,
            job.workflow_id,
            None if job.unique is None else job.unique.key,
            None if job.idempotency is None else job.idempotency.key,
        )

    def _created(self, row: tuple[Any, ...]) -> Inserted:
        return Inserted(row[0], _FIRST_STATES[row[4]], self._now, row[5])

    # --- keys -------------------------------------------------------------------------------------------------

    def _batch(
        self, connection: sqlite3.Connection, batch: Sequence[NewJob]
    ) -> tuple[list[Inserted], list[tuple[Any, ...]]]:
        """The answers, and the rows of the jobs that are new."""
        stored = self._stored(connection, batch)
        keys = {found[0]: found for found in self._keys(connection, batch)}
        holders = {found[0]: found[1:] for found in self._holders(connection, batch)}
        answers: list[Inserted] = []
        rows: list[tuple[Any, ...]] = []
        held: list[tuple[Any, ...]] = []
        taken: list[tuple[Any, ...]] = []
        for index, job in enumerate(batch):
            wish = job.idempotency
            if wish is not None and wish.key in keys:
                _, fingerprint, id, state, created_at, run_at = keys[wish.key]
                if fingerprint != wish.fingerprint:
                    raise _taken(wish.key, id, f"jobs[{index}]: " if len(batch) > 1 else "")
                # This very job, when it is sent again after its answer was lost.
                how = "created" if id == job.id else "replayed"
                answers.append(Inserted(id, state, created_at, run_at, how))
                continue
            if job.id in stored:
                answers.append(stored[job.id])
                continue
            unique = job.unique
            if unique is not None and unique.key in holders:
                id, state, created_at, run_at = holders[unique.key]
                answer = Inserted(id, state, created_at, run_at, "duplicate")
            else:
                row = self._row(job)
                rows.append(row)
                answer = self._created(row)
                if unique is not None:
                    taken.append(
                        (
                            unique.key,
                            job.id,
                            json_text(unique.states),
                            None if unique.period is None else self._now + unique.period,
                        )
                    )
                    if answer.state in unique.states and (unique.period is None or unique.period > 0):
                        holders[unique.key] = (answer.id, answer.state, answer.created_at, answer.run_at)
            answers.append(answer)
            if wish is not None:
                # A duplicate's key stands for the job that was there: the same request gets the same answer again.
                known = (answer.id, answer.state, answer.created_at, answer.run_at)
                keys[wish.key] = (wish.key, wish.fingerprint, *known)
                held.append((wish.key, wish.fingerprint, answer.id, self._until(wish), None, *known[2:]))
        shared = (self._namespace,)
        SQL.many["hold_idempotency"].run(connection, shared, held)
        SQL.many["hold_unique"].run(connection, shared, taken)
        return answers, rows

    def _stored(self, connection: sqlite3.Connection, batch: Sequence[NewJob]) -> dict[str, Inserted]:
        """What is stored already: its insert was committed and its answer lost, so that it gets the answer now.

        Raises ``DataRefused`` for a job that only has the id of another one.
        """
        text = one_value(
            connection, SQL["find_known"], (self._namespace, json_text([job.id for job in batch]))
        )
        known = {found[0]: found[1:] for found in _find_known(text)}
        answers: dict[str, Inserted] = {}
        for job in batch:
            if job.id in known:
                type, payload, state, created_at, run_at = known[job.id]
                if (type, payload) != (job.type, job.payload.decode()):
                    raise DataRefused(
                        f"The database refused a row: there is another job with the id {job.id}."
                    )
                answers[job.id] = Inserted(job.id, state, created_at, run_at)
        return answers

    def _keys(self, connection: sqlite3.Connection, batch: Sequence[NewJob]) -> list[_Found]:
        keys = [job.idempotency.key for job in batch if job.idempotency is not None]
        return self._find(connection, "find_idempotency", keys, _find_keys)

    def _holders(self, connection: sqlite3.Connection, batch: Sequence[NewJob]) -> list[Any]:
        keys = [job.unique.key for job in batch if job.unique is not None]
        return self._find(connection, "find_unique", keys, _find_holders)

    def _find(
        self, connection: sqlite3.Connection, statement: str, keys: list[str], decode: Any
    ) -> list[Any]:
        if not keys:
            return []
        text = one_value(connection, SQL[statement], (self._namespace, json_text(keys), self._now))
        found: list[Any] = decode(text)
        return found


def _taken(key: str, id: str, at: str = "") -> KeyTaken:
    return KeyTaken(f"{at}the idempotency key {key!r} already stands for another request, that of {id}.")


def has_keys(batches: Sequence[Sequence[NewJob]]) -> bool:
    """Whether any job asks for more than to be stored."""
    return any(job.idempotency is not None or job.unique is not None for batch in batches for job in batch)
