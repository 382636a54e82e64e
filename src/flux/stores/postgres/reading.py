"""Short reads for people: one job, pages of jobs, logs, workers, numbers over time, events. None scans a table."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, TypeAlias, TypeVar

import msgspec

from flux.domain.job import Attempt, Job, JobState, LogLine
from flux.engine.ports import Event, JobFilter, JobPage, RollupRow, RunningJob, WorkerInfo, WorkerView
from flux.stores.listing import plan_listing
from flux.stores.pages import LAST, read_cursor, time_or_none, write_cursor
from flux.stores.postgres.clock import clock
from flux.stores.postgres.database import Database
from flux.stores.postgres.events import EventLog
from flux.stores.postgres.following import EventReader
from flux.stores.postgres.listing import in_documents
from flux.stores.postgres.rows import SQL, read_jobs
from flux.stores.postgres.searching import Search
from flux.stores.postgres.session import Record, Session
from flux.stores.postgres.sql import is_uuid

T = TypeVar("T")
List: TypeAlias = list[T]  # inside the class the name is taken by the verb

_FULL_CHUNK: Final = 25
_FULL_BYTES: Final = 16 << 20
"""A page with payloads and results ends early once it is this large."""

_running: Final = msgspec.json.Decoder(tuple[RunningJob, ...])

_MOST_WORKERS: Final = 10_000
_FOREVER: Final = (1 << 63) - 1


class PostgresQueries:
    """The port ``Queries``."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._namespace = database.namespace
        self._events = EventReader(database)

    # --- jobs --------------------------------------------------------------------------------------------------

    async def get(self, job_id: str) -> Job | None:
        """One job with everything."""
        if not is_uuid(job_id):
            return None
        jobs = await self._database.calm(
            lambda session: read_jobs(session, self._namespace, [job_id], full=True)
        )
        return jobs[0] if jobs else None

    async def attempts(self, job_id: str) -> List[Attempt]:
        """The attempts of a job, oldest first."""
        job = await self.get(job_id)
        return [] if job is None or job.attempts is None else job.attempts

    async def states(self, ids: Sequence[str]) -> dict[str, JobState]:
        """The states of those ids that exist."""
        known = [id for id in ids if is_uuid(id)]
        if not known:
            return {}
        rows = await self._database.statement(SQL["states"], namespace=self._namespace, ids=known)
        return {str(id): JobState(state) for id, state in rows}

    async def count(self, states: Sequence[JobState], queue: str | None, most: int) -> dict[JobState, int]:
        """How many jobs are in each of these final states, unless more than ``most`` are."""

        async def work(session: Session) -> dict[JobState, int]:
            found = {}
            for state in states:
                row = await session.row(
                    SQL["count_state"], namespace=self._namespace, state=state, queue=queue, limit=most + 1
                )
                if row is not None and row[0] <= most:
                    found[state] = row[1]
            return found

        return await self._database.calm(work)

    async def list(self, filter: JobFilter, limit: int, cursor: str | None, full: bool) -> JobPage:
        """A page, newest first. Raises ``Invalid`` for a bad cursor."""
        listing = plan_listing(filter, in_documents)
        high = LAST if cursor is None else read_cursor(cursor)

        async def work(session: Session) -> JobPage:
            found = await Search(session, self._namespace, listing, high, limit + 1).run()
            ids, more = found.ids[:limit], len(found.ids) > limit
            jobs, seen = await self._page(session, ids, full)
            if seen < len(ids):  # the page became too large
                ids, more = ids[:seen], True
            if more:
                return JobPage(jobs, write_cursor(ids[-1]))
            if found.floor is not None:
                return JobPage(jobs, write_cursor(found.floor), time_or_none(found.floor))
            return JobPage(jobs, None)

        return await self._database.calm(work)

    async def _page(self, session: Session, ids: Sequence[str], full: bool) -> tuple[List[Job], int]:
        """The jobs, and how many of the ids they stand for: one may have been forgotten since it was found."""
        if not full:
            return await read_jobs(session, self._namespace, ids, full=False), len(ids)
        jobs: List[Job] = []
        size = 0
        for start in range(0, len(ids), _FULL_CHUNK):
            chunk = await read_jobs(session, self._namespace, ids[start : start + _FULL_CHUNK], full=True)
            jobs += chunk
            size += sum(len(job.payload or b"") + len(job.result or b"") for job in chunk)
            if size > _FULL_BYTES:
                return jobs, min(start + _FULL_CHUNK, len(ids))
        return jobs, len(ids)

    async def logs(self, job_id: str, after: int, limit: int) -> List[tuple[int, int, LogLine]]:
        """(sequence, attempt, line), oldest first."""
        if not is_uuid(job_id):
            return []
        rows = await self._database.statement(
            SQL["logs"], namespace=self._namespace, id=job_id, after=after, limit=limit
        )
        return [(row[0], row[1], LogLine(row[2], row[3], row[4])) for row in rows]

    # --- workers -----------------------------------------------------------------------------------------------

    async def workers(self, running: int = 0) -> List[WorkerView]:
        """Workers that live or were seen within the last hour, newest first; with up to ``running`` jobs of each."""
        rows = await self._database.statement(
            SQL["workers"],
            namespace=self._namespace,
            now=self._database.now(),
            limit=_MOST_WORKERS,
            running=running,
        )
        return [_worker(row) for row in rows]

    async def drain(self, worker_id: str) -> bool:
        """Ask a worker to finish and leave; False when it does not live."""

        async def work(session: Session) -> bool:
            now = await clock(session, self._database)
            worker = {"namespace": self._namespace, "id": worker_id}
            row = await session.row(SQL["lock_worker"], now=now, **worker)
            if row is None:
                return False
            if not row[0]:
                await session.run(SQL["drain"], **worker)
                events = EventLog(self._namespace, now)
                events.other("worker", worker_id, "draining")
                await events.write(session)
            return True

        return await self._database.calm(work)

    # --- numbers over time -------------------------------------------------------------------------------------

    async def rollups(self, since: int, step: int = 1, until: int | None = None) -> List[RollupRow]:
        """Finished jobs by slot, added up by steps."""
        end = _FOREVER if until is None else until
        rows = await self._database.statement(
            SQL["rollups"], namespace=self._namespace, since=since, step=step, until=end
        )
        return [RollupRow(*row) for row in rows]

    async def depths(self, since: int, step: int = 1) -> List[tuple[int, str, str, int]]:
        """(slot, queue, state, depth), of each step the last sample."""
        rows = await self._database.statement(
            SQL["depths"], namespace=self._namespace, since=since, step=step
        )
        return [tuple(row) for row in rows]

    # --- events ------------------------------------------------------------------------------------------------

    async def events(self, after: str | None, limit: int) -> List[Event]:
        """Events after the id, oldest first; None: only the newest one. Raises ``Invalid`` for a bad id."""
        return await (self._events.newest() if after is None else self._events.after(after, limit))


def _worker(row: Record) -> WorkerView:
    return WorkerView(
        info=WorkerInfo(
            id=row["id"],
            host=row["host"],
            pid=row["pid"],
            version=row["version"],
            queues=row["queues"],
            types=tuple(row["types"]),
            slots=row["slots"],
        ),
        started_at=row["started_at"],
        seen_at=row["seen_at"],
        lease_until=row["lease_until"],
        busy=row["busy"],
        draining=row["drain"],
        alive=row["lease_until"] > row["now"],
        running=() if row["running"] is None else _running.decode(row["running"]),
    )
