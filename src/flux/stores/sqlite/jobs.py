"""The Jobs port: the hot verbs and people's verbs, each a transaction of the database."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from random import Random

from flux.domain.errors import DataRefused, FluxError
from flux.domain.ids import new_claim_id
from flux.domain.job import ClaimedJob, Inserted, JobState, NewJob, Outcome
from flux.engine.ports import Change, Changed, Demand, Held, Here, Note
from flux.stores.sqlite import editing
from flux.stores.sqlite.claiming import SQL as CLAIM
from flux.stores.sqlite.claiming import Claim
from flux.stores.sqlite.database import Database
from flux.stores.sqlite.ending import SQL as FINISH
from flux.stores.sqlite.ending import end, keep_logs, standing
from flux.stores.sqlite.events import EventLog
from flux.stores.sqlite.inserting import SQL as INSERT
from flux.stores.sqlite.inserting import Inserter, has_keys
from flux.stores.sqlite.joining import Joiner
from flux.stores.sqlite.sql import decoder, one_value
from flux.stores.standing import runs_under, settle

_held = decoder(list[Held])


class SqliteJobs:
    """Jobs in one SQLite file."""

    def __init__(self, database: Database, random: Random | None = None) -> None:
        """``random`` makes the fences of claims."""
        self._database = database
        self._namespace = database.namespace
        self._random = random or Random()
        self._queues: set[str] = set()
        self._joiner = Joiner(database)

    # --- the hot verbs ----------------------------------------------------------------------------------------

    async def insert(self, batches: Sequence[Sequence[NewJob]]) -> list[list[Inserted] | FluxError]:
        """See the port. Queues exist from their first job on."""
        named = {job.queue for batch in batches for job in batch}
        unseen = sorted(named - self._queues)
        if has_keys(batches):
            answers = await self._insert(batches, unseen, careful=True)
        else:
            try:
                answers = await self._insert(batches, unseen, careful=False)
            except DataRefused:
                answers = await self._insert(batches, unseen, careful=True)
        self._queues |= named
        return answers

    async def _insert(
        self, batches: Sequence[Sequence[NewJob]], unseen: list[str], *, careful: bool
    ) -> list[list[Inserted] | FluxError]:
        def work(connection: sqlite3.Connection) -> list[list[Inserted] | FluxError]:
            inserter = Inserter(self._namespace, self._database.now())
            answers = (inserter.careful if careful else inserter.plain)(connection, batches)
            INSERT.many["insert_queues"].run(connection, (self._namespace,), [(name,) for name in unseen])
            inserter.events.write(connection)
            return answers

        return await self._database.write(work)

    async def insert_within(
        self,
        connection: object,
        jobs: Sequence[NewJob],
        ended: Callable[[list[Inserted]], None],
        here: Here | None = None,
    ) -> list[Inserted]:
        """See the port. It joins a ``sqlite3.Connection`` to the same file."""
        return await self._joiner.insert(connection, jobs, ended, here)

    async def claim(self, demand: Demand) -> list[ClaimedJob]:
        """See the port."""
        claim_id = new_claim_id(self._random)

        def work(connection: sqlite3.Connection) -> list[ClaimedJob]:
            return Claim(self._namespace, self._database.now(), demand, claim_id).run(connection)

        return await self._database.write(work)

    async def held(self, worker_id: str) -> list[Held]:
        """See the port."""

        def work(connection: sqlite3.Connection) -> list[Held]:
            found: list[Held] = _held(one_value(connection, CLAIM["held"], (self._namespace, worker_id)))
            return found

        return await self._database.read(work)

    async def finish(self, worker_id: str, outcomes: Sequence[Outcome]) -> list[JobState | None]:
        """See the port."""

        def work(connection: sqlite3.Connection) -> list[JobState | None]:
            return self._finish(connection, outcomes)

        return await self._database.write(work)

    def _finish(self, connection: sqlite3.Connection, outcomes: Sequence[Outcome]) -> list[JobState | None]:
        now = self._database.now()
        running = standing(connection, self._namespace, [outcome.job_id for outcome in outcomes])
        settled = settle(running, outcomes, now)
        events = EventLog(self._namespace, now)
        end(connection, self._namespace, now, settled.endings, events)
        keep_logs(connection, self._namespace, settled.logs)
        events.write(connection)
        return settled.answers

    async def note(self, notes: Sequence[Note]) -> None:
        """See the port."""

        def work(connection: sqlite3.Connection) -> None:
            running = standing(connection, self._namespace, [note.job_id for note in notes])
            ours = []
            for note in notes:
                job = running.get(note.job_id)
                if job is not None and runs_under(job, note.claim_id):
                    ours.append(note)
            FINISH.many["keep_progress"].run(
                connection,
                (self._namespace, self._database.now()),
                [
                    (note.job_id, _text(note.progress), _text(note.checkpoint))
                    for note in ours
                    if note.heard or note.progress is not None or note.checkpoint is not None
                ],
            )
            keep_logs(
                connection,
                self._namespace,
                [(note.job_id, note.attempt, note.logs) for note in ours if note.logs],
            )

        await self._database.write(work)

    # --- people's verbs ---------------------------------------------------------------------------------------

    async def cancel(self, ids: Sequence[str], reason: str | None) -> list[Changed]:
        """See the port."""
        return await self._database.write(
            lambda connection: editing.cancel(connection, self._namespace, self._database.now(), ids, reason)
        )

    async def retry(self, ids: Sequence[str]) -> list[Changed]:
        """See the port."""
        return await self._database.write(
            lambda connection: editing.retry(connection, self._namespace, self._database.now(), ids)
        )

    async def change(self, job_id: str, change: Change) -> Changed:
        """See the port."""

        def work(connection: sqlite3.Connection) -> Changed:
            changed = editing.change(connection, self._namespace, self._database.now(), job_id, change)
            if changed.done and isinstance(change.queue, str):
                INSERT.many["insert_queues"].run(connection, (self._namespace,), [(change.queue,)])
            return changed

        return await self._database.write(work)


def _text(document: bytes | None) -> str | None:
    return None if document is None else document.decode()
