"""Rows as people read them: a job and its attempts."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

import msgspec

from flux.domain.job import NO_OPTIONS, Attempt, Job, JobError, JobState, Options
from flux.stores.postgres.session import Record, Session
from flux.stores.postgres.sql import Statements

SQL = Statements("reads.sql")

_options = msgspec.json.Decoder(Options)
_error = msgspec.json.Decoder(JobError)


async def read_jobs(session: Session, namespace: str, ids: Sequence[str], full: bool) -> list[Job]:
    """The jobs of these ids that exist, in their order; ``full`` with payload, result and attempts."""
    if not ids:
        return []
    rows = await session.fetch(SQL["jobs_of_live"], namespace=namespace, ids=ids, full=full)
    attempts: dict[str, list[Attempt]] = defaultdict(list)
    if full:
        for row in await session.fetch(SQL["attempts"], namespace=namespace, ids=ids):
            attempts[str(row[0])].append(Attempt(row[1], row[2], row[3], row[4], row[5], read_error(row[6])))
    found = {}
    for row in rows:
        id = str(row["id"])
        found[id] = _job(id, row, _all_attempts(row, attempts[id]) if full else None)
    return [found[id] for id in ids if id in found]


def _job(id: str, row: Record, attempts: list[Attempt] | None) -> Job:
    options = row["options"]
    return Job(
        id=id,
        type=row["type"],
        queue=row["queue"],
        priority=row["priority"],
        state=JobState(row["state"]),
        attempt=row["attempt"],
        attempt_limit=row["attempt_limit"],
        max_retries=row["max_retries"],
        created_at=row["created_at"],
        run_at=row["run_at"],
        payload=row["payload"],
        timeout=row["timeout"],
        expires_at=row["expires_at"],
        started_at=row["started_at"],
        finished_at=row["finished_at"],
        worker_id=row["worker_id"],
        result=row["result"],
        error=read_error(row["error"]),
        progress=row["progress"],
        checkpoint=row["checkpoint"],
        heartbeat_at=row["heartbeat_at"],
        schedule_id=row["schedule_id"],
        workflow_id=row["workflow_id"],
        step=row["step"],
        cancel_requested=row["cancel_requested"],
        options=NO_OPTIONS if options is None else _options.decode(options),
        attempts=attempts,
    )


def _all_attempts(row: Record, earlier: list[Attempt]) -> list[Attempt]:
    """The rows of those that did not end the job, and the last one, which is on the job itself."""
    if row["state"] == JobState.RUNNING:
        last = Attempt(row["attempt"], row["worker_id"], row["started_at"], None, None, None)
    elif row["how"] is not None and row["attempt"]:
        ended, how = row["finished_at"], row["how"]
        error = read_error(row["error"])
        last = Attempt(row["attempt"], row["worker_id"], row["started_at"], ended, how, error)
    else:
        return earlier
    return [*earlier, last]


def read_error(document: bytes | None) -> JobError | None:
    """A stored error."""
    return None if document is None else _error.decode(document)
