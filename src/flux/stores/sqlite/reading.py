"""Short reads for people: one job, pages of jobs, logs, workers, numbers over time, events. None scans a table."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence
from typing import Final, TypeAlias, TypeVar

import msgspec

from flux.domain.duration import HOUR
from flux.domain.job import Attempt, Job, JobState, LogLine
from flux.engine.ports import Event, JobFilter, JobPage, RollupRow, RunningJob, WorkerInfo, WorkerView
from flux.stores.listing import plan_listing
from flux.stores.pages import LAST, read_cursor, read_event_id, time_or_none, write_cursor
from flux.stores.sqlite.database import Database
from flux.stores.sqlite.events import EventLog
from flux.stores.sqlite.listing import in_documents
from flux.stores.sqlite.rows import read_jobs, select_jobs
from flux.stores.sqlite.searching import Search

T = TypeVar("T")
List: TypeAlias = list[T]  # inside the class the name is taken by the verb

_LEAN: Final = select_jobs(full=False)
_FULL: Final = select_jobs(full=True)

_FULL_CHUNK: Final = 25
_FULL_BYTES: Final = 16 << 20
"""A page with payloads and results ends early once it is this large."""

_MOST_WORKERS: Final = 10_000


class SqliteQueries:
    """The port ``Queries``."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._namespace = database.namespace

    # --- jobs --------------------------------------------------------------------------------------------------

    async def get(self, job_id: str) -> Job | None:
        """One job with everything."""
        jobs = await self._database.read(lambda connection: self._jobs(connection, [job_id], _FULL))
        return jobs[0] if jobs else None

    async def attempts(self, job_id: str) -> List[Attempt]:
        """The attempts of a job, oldest first."""
        job = await self.get(job_id)
        return [] if job is None or job.attempts is None else job.attempts

    async def states(self, ids: Sequence[str]) -> dict[str, JobState]:
        """The states of those ids that exist."""
        parameters = {"namespace": self._namespace, "ids": _text([*ids])}
        text = await self._database.read(lambda connection: _fetch(connection, _STATES, parameters))
        return dict(msgspec.json.decode(text, type=List[tuple[str, JobState]]))

    async def count(self, states: Sequence[JobState], queue: str | None, most: int) -> dict[JobState, int]:
        """How many jobs are in each of these final states, unless more than ``most`` are."""
        sql = _COUNT if queue is None else _COUNT_OF_QUEUE

        def work(connection: sqlite3.Connection) -> dict[JobState, int]:
            found = {}
            for state in states:
                parameters = {"namespace": self._namespace, "state": state, "queue": queue, "limit": most + 1}
                looked_at, count = connection.execute(sql, parameters).fetchone()
                if looked_at <= most:
                    found[state] = count
            return found

        return await self._database.read(work)

    async def list(self, filter: JobFilter, limit: int, cursor: str | None, full: bool) -> JobPage:
        """A page, newest first. Raises ``Invalid`` for a bad cursor."""
        listing = plan_listing(filter, in_documents)
        high = LAST if cursor is None else read_cursor(cursor)

        def work(connection: sqlite3.Connection) -> JobPage:
            found = Search(connection, self._namespace, listing, high, limit + 1).run()
            ids, more = found.ids[:limit], len(found.ids) > limit
            jobs = self._page(connection, ids, full)
            if len(jobs) < len(ids):  # the page became too large
                ids, more = [job.id for job in jobs], True
            if more:
                return JobPage(jobs, write_cursor(ids[-1]))
            if found.floor is not None:
                return JobPage(jobs, write_cursor(found.floor), time_or_none(found.floor))
            return JobPage(jobs, None)

        return await self._database.read(work)

    def _page(self, connection: sqlite3.Connection, ids: Sequence[str], full: bool) -> List[Job]:
        if not full:
            return self._jobs(connection, ids, _LEAN)
        jobs: List[Job] = []
        size = 0
        for start in range(0, len(ids), _FULL_CHUNK):
            jobs += self._jobs(connection, ids[start : start + _FULL_CHUNK], _FULL)
            size += sum(len(job.payload or b"") + len(job.result or b"") for job in jobs[start:])
            if size > _FULL_BYTES:
                break
        return jobs

    def _jobs(self, connection: sqlite3.Connection, ids: Sequence[str], sql: str) -> List[Job]:
        if not ids:
            return []
        text = _fetch(connection, sql, {"namespace": self._namespace, "ids": _text([*ids])})
        found = {job.id: job for job in read_jobs(text)}
        return [found[id] for id in ids if id in found]

    async def logs(self, job_id: str, after: int, limit: int) -> List[tuple[int, int, LogLine]]:
        """(sequence, attempt, line), oldest first."""
        parameters = {"namespace": self._namespace, "job_id": job_id, "after": after, "limit": limit}
        text = await self._database.read(lambda connection: _fetch(connection, _LOGS, parameters))
        return msgspec.json.decode(text, type=List[tuple[int, int, LogLine]])

    # --- workers -----------------------------------------------------------------------------------------------

    async def workers(self, running: int = 0) -> List[WorkerView]:
        """Workers that live or were seen within the last hour, newest first; with up to ``running`` jobs of each."""
        now = self._database.now()
        parameters = {
            "namespace": self._namespace,
            "since": now - HOUR,
            "now": now,
            "most": _MOST_WORKERS,
            "running": running,
        }
        text = await self._database.read(lambda connection: _fetch(connection, _WORKERS, parameters))
        return [_worker(row, now) for row in msgspec.json.decode(text, type=List[_WorkerRow])]

    async def drain(self, worker_id: str) -> bool:
        """Ask a worker to finish and leave; False when it does not live."""

        def work(connection: sqlite3.Connection) -> bool:
            now = self._database.now()
            worker = {"namespace": self._namespace, "id": worker_id}
            row = connection.execute(_IS_DRAINING, worker | {"now": now}).fetchone()
            if row is None:
                return False
            if not row[0]:
                connection.execute(_DRAIN, worker)
                events = EventLog(self._namespace, now)
                events.other("worker", worker_id, "draining")
                events.write(connection)
            return True

        return await self._database.write(work)

    # --- numbers over time -------------------------------------------------------------------------------------

    async def rollups(self, since: int, step: int = 1, until: int | None = None) -> List[RollupRow]:
        """Finished jobs by slot, added up by steps."""
        end = (1 << 63) - 1 if until is None else until
        parameters = {"namespace": self._namespace, "since": since, "step": step, "until": end}
        text = await self._database.read(lambda connection: _fetch(connection, _ROLLUPS, parameters))
        return [
            RollupRow(*row)
            for row in msgspec.json.decode(text, type=list[tuple[int, str, str, str, str, int, int, int]])
        ]

    async def depths(self, since: int, step: int = 1) -> List[tuple[int, str, str, int]]:
        """(slot, queue, state, depth), of each step the last sample."""
        parameters = {"namespace": self._namespace, "since": since, "step": step}
        text = await self._database.read(lambda connection: _fetch(connection, _DEPTHS, parameters))
        return msgspec.json.decode(text, type=list[tuple[int, str, str, int]])

    # --- events ------------------------------------------------------------------------------------------------

    async def events(self, after: str | None, limit: int) -> List[Event]:
        """Events after the id, oldest first; None: only the newest one. Raises ``Invalid`` for a bad id."""
        if after is None:
            parameters = {"namespace": self._namespace}
            text = await self._database.read(lambda connection: _fetch(connection, _NEWEST_EVENT, parameters))
            return _events(text)[-1:]
        sequence, index = read_event_id(after)
        asked = {"namespace": self._namespace, "sequence": sequence, "limit": limit}
        text = await self._database.read(lambda connection: _fetch(connection, _EVENTS, asked))
        return _events(text, sequence, index)[:limit]


# --- rows ---------------------------------------------------------------------------------------------------------


class _WorkerRow(msgspec.Struct, array_like=True):
    id: str
    host: str
    pid: int
    version: str
    queues: str
    types: str
    slots: int
    busy: int
    started_at: int
    seen_at: int
    lease_until: int
    drain: int
    running: tuple[RunningJob, ...]


class _EventRow(msgspec.Struct, array_like=True):
    sequence: int
    at: int
    subject: str
    state: str
    items: list[tuple[str, str | None, str | None]]


def _worker(row: _WorkerRow, now: int) -> WorkerView:
    return WorkerView(
        info=WorkerInfo(
            id=row.id,
            host=row.host,
            pid=row.pid,
            version=row.version,
            queues=row.queues,
            types=msgspec.json.decode(row.types, type=tuple[str, ...]),
            slots=row.slots,
        ),
        started_at=row.started_at,
        seen_at=row.seen_at,
        lease_until=row.lease_until,
        busy=row.busy,
        draining=bool(row.drain),
        alive=row.lease_until > now,
        running=row.running,
    )


def _events(text: str, sequence: int = -1, index: int = -1) -> list[Event]:
    """The single events of rows, those up to ``sequence.index`` left out."""
    return [
        Event(f"{row.sequence}.{number}", row.at, row.subject, key, row.state, type, queue)
        for row in msgspec.json.decode(text, type=list[_EventRow])
        for number, (key, type, queue) in enumerate(row.items)
        if row.sequence != sequence or number > index
    ]


def _fetch(connection: sqlite3.Connection, sql: str, parameters: Mapping[str, object]) -> str:
    text: str = connection.execute(sql, parameters).fetchone()[0]
    return text


def _text(value: object) -> str:
    return msgspec.json.encode(value).decode()


# --- statements ---------------------------------------------------------------------------------------------------

_STATES = """SELECT json_group_array(json_array(id, state)) FROM (
    SELECT id, state FROM live WHERE namespace = :namespace AND id IN (SELECT value FROM json_each(:ids))
    UNION ALL
    SELECT id, state FROM done WHERE namespace = :namespace AND id IN (SELECT value FROM json_each(:ids)))"""

_COUNT = """SELECT count(*), count(*) FROM (
    SELECT 1 FROM done INDEXED BY done_lanes WHERE namespace = :namespace AND state = :state LIMIT :limit)"""

_COUNT_OF_QUEUE = """SELECT count(*), coalesce(sum(queue = :queue), 0) FROM (
    SELECT queue FROM done INDEXED BY done_lanes WHERE namespace = :namespace AND state = :state LIMIT :limit)"""

_LOGS = """SELECT json_group_array(json_array(sequence, attempt, json_array(at, level, text))) FROM (
    SELECT * FROM logs WHERE namespace = :namespace AND job_id = :job_id AND sequence > :after
    ORDER BY sequence LIMIT :limit)"""

# What runs is counted, since a worker says it only with its heartbeats.
_WORKERS = """SELECT json_group_array(json_array(
    id, host, pid, version, queues, types, slots,
    (SELECT count(*) FROM live INDEXED BY live_running
      WHERE namespace = :namespace AND worker_id = w.id AND state = 'running'),
    started_at, seen_at, lease_until, drain, json((
        SELECT json_group_array(json_array(id, type, queue, attempt, started_at)) FROM (
            SELECT * FROM live INDEXED BY live_running
             WHERE namespace = :namespace AND worker_id = w.id AND state = 'running'
             ORDER BY started_at, id LIMIT :running))))) FROM (
    SELECT * FROM workers WHERE namespace = :namespace AND (lease_until > :now OR seen_at > :since)
    ORDER BY started_at DESC, id DESC LIMIT :most) AS w"""

_IS_DRAINING = "SELECT drain FROM workers WHERE namespace = :namespace AND id = :id AND lease_until > :now"

_DRAIN = "UPDATE workers SET drain = 1 WHERE namespace = :namespace AND id = :id"

_ROLLUPS = """SELECT json_group_array(json_array(start, queue, type, outcome, kind, wait_bucket, run_bucket, number))
    FROM (SELECT slot - slot % :step AS start, queue, type, outcome, kind, wait_bucket, run_bucket,
        sum(count) AS number
    FROM rollups WHERE namespace = :namespace AND slot >= :since AND slot < :until
    GROUP BY 1, 2, 3, 4, 5, 6, 7 ORDER BY 1)"""

# The distinct slots come by seeking from one to the next, so that a sample of a thousand queues is one step.
_DEPTHS = """WITH RECURSIVE sample(slot) AS (
    SELECT (SELECT min(slot) FROM depths WHERE namespace = :namespace AND slot >= :since)
    UNION ALL
    SELECT (SELECT min(d.slot) FROM depths AS d WHERE d.namespace = :namespace AND d.slot > sample.slot)
    FROM sample WHERE sample.slot IS NOT NULL),
last(slot) AS (SELECT max(slot) FROM sample WHERE slot IS NOT NULL GROUP BY slot / :step)
SELECT json_group_array(json_array(d.slot, d.queue, d.state, d.depth))
    FROM last CROSS JOIN depths AS d ON d.namespace = :namespace AND d.slot = last.slot"""

_NEWEST_EVENT = """SELECT json_group_array(json_array(sequence, at, subject, state, json(items))) FROM (
    SELECT * FROM events WHERE namespace = :namespace ORDER BY sequence DESC LIMIT 1)"""

_EVENTS = """SELECT json_group_array(json_array(sequence, at, subject, state, json(items))) FROM (
    SELECT * FROM events WHERE sequence >= :sequence AND namespace = :namespace ORDER BY sequence LIMIT :limit + 1)"""
