"""What the end of an attempt writes, whoever ended it: its worker, the rescuer, a person or the clock."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from flux.domain import stats
from flux.domain.job import JobState, LogLine, Outcome
from flux.domain.workflow.states import StepState
from flux.stores.postgres.clock import clock
from flux.stores.postgres.database import Database
from flux.stores.postgres.events import EventLog
from flux.stores.postgres.releasing import release
from flux.stores.postgres.session import Session
from flux.stores.postgres.sql import Statements
from flux.stores.releasing import ended_step, ended_steps
from flux.stores.standing import Ending, Ledger, Standing, settle

SQL = Statements("finish.sql")


async def standing(
    session: Session, namespace: str, ids: Iterable[str], *, wait: bool = True
) -> dict[str, Standing]:
    """The live ones of these jobs, which stay as they are until the end of the transaction.

    Without ``wait`` those that somebody else has locked are left out.
    """
    statement = SQL["lock_standing" if wait else "lock_standing_free"]
    found = {}
    for row in await session.fetch(statement, namespace=namespace, ids=list(ids)):
        id, state, *rest = row
        found[str(id)] = Standing(str(id), JobState(state), *rest)
    return found


async def settle_outcomes(
    session: Session, database: Database, outcomes: Sequence[Outcome]
) -> list[JobState | None]:
    """Apply outcomes of any kind; for each the state its job came to, or None when the claim was no longer the one."""
    namespace = database.namespace
    running = await standing(session, namespace, [outcome.job_id for outcome in outcomes])
    now = await clock(session, database)
    settled = settle(running, outcomes, now)
    events = EventLog(namespace, now)
    await end(session, namespace, now, settled.endings, events)
    await keep_logs(session, namespace, settled.logs)
    await events.write(session)
    return settled.answers


async def end_succeeded(
    session: Session,
    database: Database,
    ids: Sequence[str],
    claims: Sequence[int],
    results: Sequence[bytes | None],
) -> list[str]:
    """End jobs that have succeeded, of workflows or not, and release what waits for them: those that were ours.

    They come in the order of ids.
    """
    namespace = database.namespace
    [row] = await session.fetch(
        SQL["finish_succeeded"],
        namespace=namespace,
        now=database.now(),
        ids=ids,
        claims=claims,
        results=results,
        steps=True,
    )
    ours = [str(id) for id in row["ids"]]
    session.wrote = session.wrote or bool(ours)
    if row["steps"]:
        events = EventLog(namespace, row["now"])
        steps = zip(row["workflows"], row["steps"], strict=True)
        ended = sorted(ended_step(id, number, StepState.SUCCEEDED) for id, number in steps)
        await release(session, namespace, row["now"], ended, events)
        await events.write(session)
    return ours


async def end(
    session: Session, namespace: str, now: int, endings: Sequence[Ending], events: EventLog
) -> None:
    """Apply endings, and what they release. Each job is live and locked, stands as its ``Standing`` says, and appears
    once. The caller writes the events at the end of his transaction."""
    ledger = Ledger(sorted(endings, key=lambda ending: ending.job.id), now, bytes)
    for ending in endings:
        events.job(ending.state, ending.job.id, ending.job.type, ending.job.queue)
    if ledger.waits:
        ids, states, run_ats, errors, backs = zip(*ledger.waits, strict=True)
        await session.run(
            SQL["wait_again"],
            namespace=namespace,
            ids=ids,
            states=states,
            run_ats=run_ats,
            errors=errors,
            backs=backs,
        )
    if ledger.attempts:
        ids, numbers, workers, started, hows, errors = zip(*ledger.attempts, strict=True)
        await session.run(
            SQL["insert_attempts"],
            namespace=namespace,
            now=now,
            ids=ids,
            numbers=numbers,
            workers=workers,
            started=started,
            outcomes=hows,
            errors=errors,
        )
    if ledger.finals:
        ids, states, hows, results, errors = zip(*ledger.finals, strict=True)
        await session.run(
            SQL["move_to_done"],
            namespace=namespace,
            now=now,
            ids=ids,
            states=states,
            hows=hows,
            results=results,
            errors=errors,
        )
        queues, types, outcomes, kinds, waits, runs = zip(*ledger.rollups, strict=True)
        await session.run(
            SQL["count_rollups"],
            namespace=namespace,
            slot=stats.slot_of(now),
            queues=queues,
            types=types,
            outcomes=outcomes,
            kinds=kinds,
            waits=waits,
            runs=runs,
            counts=list(ledger.rollups.values()),
        )
        await release(session, namespace, now, ended_steps(endings), events)


async def keep_logs(
    session: Session, namespace: str, lines: Sequence[tuple[str, int, Sequence[LogLine]]]
) -> None:
    """Append (job, attempt, lines)."""
    rows = [(id, attempt, line.at, line.level, line.text) for id, attempt, mine in lines for line in mine]
    if not rows:
        return
    ids, attempts, ats, levels, texts = zip(*rows, strict=True)
    await session.run(
        SQL["insert_logs"],
        namespace=namespace,
        ids=ids,
        attempts=attempts,
        ats=ats,
        levels=levels,
        texts=texts,
    )
