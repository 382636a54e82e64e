"""People's verbs on jobs: cancel, retry, change. Each one call is one transaction."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from flux.domain.job import WAITING, JobState
from flux.engine.ports import Change, Changed
from flux.stores.postgres.clock import clock
from flux.stores.postgres.database import Database
from flux.stores.postgres.ending import SQL as FINISH
from flux.stores.postgres.ending import end, standing
from flux.stores.postgres.errors import overtaken
from flux.stores.postgres.events import EventLog
from flux.stores.postgres.inserting import SQL as INSERT
from flux.stores.postgres.inserting import lock_keys
from flux.stores.postgres.session import Session
from flux.stores.postgres.sql import Statements
from flux.stores.standing import STEP, Ending, Standing, cancelled_error

SQL = Statements("edits.sql")

MISSING = Changed(None, False, "There is no such job.")


async def cancel(
    session: Session, database: Database, known: Sequence[str], ids: Sequence[str], reason: str | None
) -> list[Changed]:
    """Waiting jobs end at once; running ones are asked to."""
    namespace = database.namespace
    live = await standing(session, namespace, known)
    # After the lock: what was being ended when it was waited for has ended now.
    done = await _ended(session, namespace, known)
    events = EventLog(namespace, await clock(session, database))
    await withdraw(session, namespace, live.values(), reason, events)
    await events.write(session)
    answers: list[Changed] = []
    for id in ids:
        job = live.get(id)
        if job is not None and job.state is JobState.RUNNING:
            answers.append(Changed(JobState.RUNNING, True))
        elif job is not None:
            answers.append(Changed(JobState.CANCELLED, True))
            del live[id]
            done[id] = JobState.CANCELLED
        elif id in done:
            answers.append(Changed(done[id], False, f"The job has already ended as {done[id]}."))
        else:
            answers.append(MISSING)
    return answers


async def withdraw(
    session: Session, namespace: str, jobs: Iterable[Standing], reason: str | None, events: EventLog
) -> None:
    """Cancel live jobs, whether they wait or run."""
    waiting: list[Ending] = []
    running: list[str] = []
    for job in jobs:
        if job.state is JobState.RUNNING:
            running.append(job.id)
        else:
            # Its start, if there was one, is in its attempts.
            waiting.append(Ending(job, JobState.CANCELLED, None, error=cancelled_error(reason)))
    await end(session, namespace, events.at, waiting, events)
    if running:
        await session.run(FINISH["request_cancel"], namespace=namespace, ids=running, reason=reason)


async def retry(
    session: Session, database: Database, known: Sequence[str], ids: Sequence[str]
) -> list[Changed]:
    """Dead and cancelled jobs become available with as many attempts as at first."""
    namespace = database.namespace
    keys = await session.fetch(SQL["wanted_keys"], namespace=namespace, ids=known)
    await lock_keys(session, namespace, [row[0] for row in keys])
    await session.fetch(SQL["lock_done"], namespace=namespace, ids=known)
    now = await clock(session, database)
    done = {
        str(row[0]): row[1:]
        for row in await session.fetch(SQL["read_retryable"], namespace=namespace, ids=known, now=now)
    }
    live = await standing(session, namespace, known)
    events = EventLog(namespace, now)
    answers: list[Changed] = []
    back: dict[str, None] = {}
    taken: dict[str, str] = {}
    for id in ids:
        if id in back:
            answers.append(Changed(JobState.AVAILABLE, True))
            continue
        if id in live:
            state = live[id].state
            answers.append(
                Changed(state, False, f"The job is {state}; only dead and cancelled jobs can be retried.")
            )
            continue
        if id not in done:
            answers.append(MISSING)
            continue
        state, type, queue, workflow_id, key, holder = done.pop(id)
        state = JobState(state)
        if state not in (JobState.DEAD, JobState.CANCELLED):
            answers.append(
                Changed(state, False, f"The job is {state}; only dead and cancelled jobs can be retried.")
            )
        elif workflow_id is not None:
            answers.append(Changed(state, False, STEP))
        elif holder is not None or (key is not None and key in taken):
            holder = holder or "a job retried just now"
            answers.append(
                Changed(state, False, f"Its unique key {key!r} is held by another job ({holder}).")
            )
        else:
            back[id] = None
            if key is not None:
                taken[key] = id
            events.job(JobState.AVAILABLE, id, type, queue)
            answers.append(Changed(JobState.AVAILABLE, True))
    if taken:
        wanted = {"keys": list(taken), "ids": list(taken.values())}
        if await session.run(SQL["retake_unique"], namespace=namespace, now=now, **wanted) < len(taken):
            raise overtaken()
    if back:
        chosen = list(back)
        await session.run(SQL["keep_last_attempt"], namespace=namespace, ids=chosen)
        await session.run(SQL["back_to_live"], namespace=namespace, ids=chosen, now=now)
        await events.write(session)
    return answers


async def change(session: Session, database: Database, job_id: str, wish: Change) -> Changed:
    """Edit a waiting job."""
    namespace = database.namespace
    row = await session.row(SQL["lock_editable"], namespace=namespace, id=job_id)
    if row is None:
        for state in (await _ended(session, namespace, [job_id])).values():
            return Changed(state, False, f"The job has already ended as {state}.")
        return MISSING
    state, type, queue, run_at, max_retries, attempt_limit, options, *rest = row
    timeout, expires_at, payload, priority, attempt = rest
    state = JobState(state)
    if state not in WAITING:
        return Changed(state, False, f"The job is {state}; only a waiting job can be changed.")
    now = await clock(session, database)
    if wish.max_retries is not msgspec.UNSET:
        # A job that waits has an attempt before it, whatever it has used up.
        attempt_limit = max(attempt_limit + wish.max_retries - max_retries, attempt + 1)
        max_retries = wish.max_retries
    if wish.run_at is not msgspec.UNSET:
        run_at = wish.run_at
        # A scheduled or retrying job whose time has come is made available by promotion, like any other.
        if state is JobState.AVAILABLE and run_at > now:
            state = JobState.SCHEDULED
    if wish.tags is not msgspec.UNSET:
        kept: dict[str, Any] = msgspec.json.decode(options or b"{}")
        options = msgspec.json.encode(kept | {"tags": wish.tags})
    queue = _or(wish.queue, queue)
    await session.run(
        SQL["edit"],
        namespace=namespace,
        id=job_id,
        payload=_or(wish.payload, payload),
        queue=queue,
        priority=_or(wish.priority, priority),
        run_at=run_at,
        timeout=_or(wish.timeout, timeout),
        max_retries=max_retries,
        attempt_limit=attempt_limit,
        expires_at=_or(wish.expires_at, expires_at),
        options=options,
        state=state,
    )
    if wish.queue is not msgspec.UNSET:
        await session.run(INSERT["insert_queues"], namespace=namespace, names=[queue])
    events = EventLog(namespace, now)
    events.job(state, job_id, type, queue)
    await events.write(session)
    return Changed(state, True)


async def _ended(session: Session, namespace: str, ids: Sequence[str]) -> dict[str, JobState]:
    rows = await session.fetch(SQL["read_done_states"], namespace=namespace, ids=ids)
    return {str(id): JobState(state) for id, state in rows}


def _or(wish: Any, value: Any) -> Any:
    return value if wish is msgspec.UNSET else wish
